"""Which results of an earlier run are current: one small JSON file of facts beside each result, written last."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from avatargen.io.atomic import read_json, write_json

RENDER_FACTS, TRUTH_FACTS = "render.json", "truth.json"
VIEW_FILES = ("views.npz", "turntable.mp4", "sheet.png")
"""The files that a render writes for judges and people; see :mod:`eval.turntable`."""


def is_current(folder: Path, name: str, fingerprint: str, products: Iterable[str] = ()) -> bool:
    """Return whether results are current: their facts have this fingerprint, and their files exist.

    Args:
        folder: of the avatar.
        name: file name of the facts. Missing or damaged facts are not current.
        fingerprint: what the facts must carry.
        products: file names that must exist, beside the `files` that the facts list.
    """
    facts = read_json(folder / name)
    files = [*products, *facts.get("files", [])]
    return facts.get("fingerprint") == fingerprint and all((folder / file).is_file() for file in files)


def write_facts(folder: Path, name: str, fingerprint: str, **facts: Any) -> dict[str, Any]:
    """Write facts atomically and return them with their fingerprint.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    content = {"fingerprint": fingerprint, **facts}
    write_json(folder / name, content)
    return content
