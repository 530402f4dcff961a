"""Which work of an earlier run still stands: one small JSON file beside each product, written last."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RENDER_FACTS, TRUTH_FACTS = "render.json", "truth.json"
VIEW_FILES = ("views.npz", "turntable.mp4", "sheet.png")
"""What a render writes for judges and people; see :mod:`eval.turntable`."""


def is_current(folder: Path, name: str, fingerprint: str, products: Iterable[str] = ()) -> bool:
    """Whether the facts `name` in `folder` carry `fingerprint`, and `products` and the files they list exist.

    A file that is missing, or damaged, or of another fingerprint, is not current.
    """
    facts = read_facts(folder, name)
    files = [*products, *facts.get("files", [])]
    return facts.get("fingerprint") == fingerprint and all((folder / file).is_file() for file in files)


def read_facts(folder: Path, name: str) -> dict[str, Any]:
    """What `name` says; empty where it is missing or damaged."""
    try:
        facts = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def write_facts(folder: Path, name: str, fingerprint: str, **facts: Any) -> dict[str, Any]:
    """Write `name` atomically and return what it holds."""
    from avatargen.avatar_file import write_json  # imports torch, which those that only ask do without

    content = {"fingerprint": fingerprint, **facts}
    write_json(folder / name, content)
    return content


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when the block ends without an error.

    What a killed process left beside it is removed: a file has one writer at a time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".[0-9]*-{glob.escape(path.name)}"):
        stale.unlink(missing_ok=True)
    partial = path.with_name(f".{os.getpid()}-{path.name}")  # keeps the suffix, which writers go by
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
