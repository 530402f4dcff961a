"""Hash the code that shapes a result: parsed source, without comments, docstrings and layout.

The modules are found by following imports from an entry point, lazy imports too. Folders that only read configuration
or schedule work (`STEERING`) are left out: what they decide is hashed by value. So nothing that computes a number, an
image or a caption may live in them.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from avatargen.config.places import ROOT
from avatargen.io.content_hash import digest

PACKAGES = ("avatargen", "eval")
STEERING = tuple(f"avatargen.{folder}" for folder in ("__init__", "__main__", "cli", "config", "preflight", "runtime"))


def code_hash(modules: Iterable[str], without: tuple[str, ...] = ()) -> str:
    """Return a hash of modules and of all modules of this project that they import.

    Args:
        modules: dotted names.
        without: module-level constants that do not count.

    Raises:
        ModuleNotFoundError: one of `modules` is not of this project.
    """
    modules = tuple(modules)
    for name in modules:
        if _source(name) is None:
            raise ModuleNotFoundError(f"{name}: no such module in {ROOT}")
    files = {name: _source(name) for name in sorted(closure(modules)) if not steers(name)}
    return digest([(name, source_hash(file.read_bytes(), without)) for name, file in files.items() if file])


def steers(name: str) -> bool:
    """Return whether a module only reads configuration or schedules work."""
    return name == "avatargen" or name.startswith(tuple(f"{folder}." for folder in STEERING)) or name in STEERING


@cache
def source_hash(source: bytes, without: tuple[str, ...] = ()) -> str:
    """Return a hash of Python source that comments, docstrings and layout do not change.

    Args:
        source: of one module.
        without: module-level constants that do not count.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
                node.body = node.body[1:] or [ast.Pass()]
    tree.body = [node for node in tree.body if not _assigns(node, without)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


@cache
def imports_of(name: str) -> frozenset[str]:
    """Return the modules of this project that a module imports, anywhere in it."""
    path = _source(name)
    if path is None:
        return frozenset()
    found: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else ""
            base = base or node.module or ""
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return frozenset(name for name in found if name.split(".")[0] in PACKAGES and _source(name) is not None)


@cache
def closure(modules: tuple[str, ...]) -> frozenset[str]:
    """Return the modules and those they import, directly or not; not through those that steer."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or _source(name) is None:
            continue
        seen.add(name)
        waiting += [] if steers(name) else sorted(imports_of(name))
    return frozenset(seen)


def _assigns(node: ast.stmt, names: tuple[str, ...]) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id in names for t in node.targets)


@cache
def _source(name: str) -> Path | None:
    """Return the file of a module of this project."""
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None
