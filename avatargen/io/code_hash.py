"""Hash the code that shapes a result: parsed source, without comments, docstrings and layout.

The modules are found by following imports from an entry point, lazy imports too. Folders that only read configuration
or schedule work (`STEERING`) are left out: what they decide is hashed by value. So nothing that computes a number, an
image or a caption may live in them.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from avatargen.config.places import ROOT, cache_folder
from avatargen.io.atomic import read_json, write_json
from avatargen.io.content_hash import digest

PACKAGES = ("avatargen", "eval")
CACHE = "code.json"
"""Remembered hashes and imports of modules, in the cache folder: the Snakefile asks for them at every parse."""
MOST_REMEMBERED = 5000
"""Number of modules, over all versions of the code, at which the cache starts anew."""
STEERING = tuple(f"avatargen.{folder}" for folder in ("__init__", "__main__", "cli", "config", "preflight", "runtime"))


def code_hash(modules: Iterable[str], without: tuple[str, ...] = ()) -> str:
    """Return a hash of modules and of all modules of this project that they import.

    Args:
        modules: dotted names.
        without: module-level constants that do not count.

    Raises:
        ModuleNotFoundError: one of `modules` is not of this project.
    """
    return _code_hash(ROOT, tuple(modules), without)


@cache
def _code_hash(root: Path, modules: tuple[str, ...], without: tuple[str, ...]) -> str:
    for name in modules:
        if _source(name) is None:
            raise ModuleNotFoundError(f"{name}: no such module in {root}")
    files = {name: _source(name) for name in sorted(closure(modules)) if not steers(name)}
    found = digest([(name, source_hash(file.read_bytes(), without)) for name, file in files.items() if file])
    _remembered().save()
    return found


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
    return _hash_of(ast.parse(source), without) if without else _remembered().facts(source)[0]


@cache
def imports_of(name: str) -> frozenset[str]:
    """Return the modules of this project that a module imports, anywhere in it."""
    path = _source(name)
    if path is None:
        return frozenset()
    found: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for level, module, names in _remembered().facts(path.read_bytes())[1]:
        base = importlib.util.resolve_name("." * level + module, package) if level else module
        found |= {base} | {f"{base}.{one}" for one in names}
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


@dataclass
class _Cache:
    """The hash and the imports of each module, by its content; parsing all of them takes a second.

    Attributes:
        known: what the cache's file holds.
        new: what was parsed since.
    """

    known: dict[str, Any]
    new: dict[str, Any] = field(default_factory=dict)

    def facts(self, source: bytes) -> tuple[str, list[list[Any]]]:
        """Return the hash of a module, and what it imports: (dots, module, names) of each statement."""
        key = hashlib.sha256(_KEY + source).hexdigest()
        if key not in self.known:
            tree = ast.parse(source)
            self.known[key] = self.new[key] = [list(_imports(tree)), _hash_of(tree, ())]
        imports, found = self.known[key]
        return found, imports

    def save(self) -> None:
        """Write the cache if it has grown; work is only slower where it cannot be written."""
        if self.new:
            old = read_json(cache_folder() / CACHE)
            with suppress(OSError):
                write_json(cache_folder() / CACHE, {**(old if len(old) < MOST_REMEMBERED else {}), **self.new})
            self.new.clear()


_KEY = f"{sys.version_info[:2]}".encode() + Path(__file__).read_bytes()
"""What the facts depend on besides the source: Python's syntax trees, and the code that reads them."""


@cache
def _remembered() -> _Cache:
    return _Cache(read_json(cache_folder() / CACHE))


def _imports(tree: ast.Module) -> Iterator[list[Any]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ([0, alias.name, []] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield [node.level, node.module or "", [alias.name for alias in node.names]]


def _hash_of(tree: ast.Module, without: tuple[str, ...]) -> str:
    """Return the hash of a syntax tree, whose docstrings are removed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
                node.body = node.body[1:] or [ast.Pass()]
    tree.body = [node for node in tree.body if not _assigns(node, without)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


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
