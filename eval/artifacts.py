"""Which work of an earlier run still stands: one small JSON file beside each product, written last."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from avatargen.io.atomic import read_json, write_json

RENDER_FACTS, TRUTH_FACTS = "render.json", "truth.json"
VIEW_FILES = ("views.npz", "turntable.mp4", "sheet.png")
"""What a render writes for judges and people; see :mod:`eval.turntable`."""


def is_current(folder: Path, name: str, fingerprint: str, products: Iterable[str] = ()) -> bool:
    """Whether the facts `name` in `folder` carry `fingerprint`, and `products` and the files they list exist.

    A file that is missing, or damaged, or of another fingerprint, is not current.
    """
    facts = read_json(folder / name)
    files = [*products, *facts.get("files", [])]
    return facts.get("fingerprint") == fingerprint and all((folder / file).is_file() for file in files)


def write_facts(folder: Path, name: str, fingerprint: str, **facts: Any) -> dict[str, Any]:
    """Write `name` atomically and return what it holds."""
    content = {"fingerprint": fingerprint, **facts}
    write_json(folder / name, content)
    return content
