"""Keys and files of baked data: a hash of what the code says, and writes that never leave half a file."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def source_hash(package: str, modules: tuple[str, ...], without: tuple[str, ...] = ()) -> str:
    """Twelve hex digits over the parsed source of modules; comments, docstrings and layout do not count.

    Neither do the constants of modules that `without` names.
    """
    digest = hashlib.sha256()
    for module in modules:
        spec = importlib.util.find_spec(f"{package}.{module}")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"{package}.{module}, which decides what is baked, cannot be found")
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            if documented and node.body and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
        tree.body = [node for node in tree.body if not _assigns(node, without)]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def _assigns(node: ast.stmt, names: tuple[str, ...]) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id in names for t in node.targets)


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock beside a file to be made: parallel processes wait for the first instead of all baking.

    It only saves work. Where locks fail (some network disks), all bake and `write_atomically` decides.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write to a temporary neighbour, then rename; readers and parallel writers see all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        write(Path(name))
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
