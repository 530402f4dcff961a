"""Read which 3D heads lie beside the report; kept apart from writing them, which needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from avatargen.io.atomic import read_json

FOLDER, INDEX = "heads", "heads.json"
"""Beside the report: the folder of the files, and what they are."""
CALL = "headFile"
"""The page's function that takes the content of a file."""


class HeadFile(NamedTuple):
    """The file of a head, beside the report.

    Attributes:
        file: its name.
        shared: name of the file that holds what it shares with others.
        size: bytes of the GLB that both make.
    """

    file: str
    shared: str
    size: int


def read_heads(index: Path) -> dict[str, HeadFile]:
    """Return the files by the avatars' folders; none where there is no index."""
    return {place: HeadFile(**facts) for place, facts in read_json(index).items()}


def content_of(path: Path) -> str:
    """Return the base64 that a file holds.

    Raises:
        OSError: the file cannot be read.
    """
    return path.read_text(encoding="ascii").rsplit('"', 2)[1]


def embedded_heads(index: Path, files: list[HeadFile], room: int) -> dict[str, str]:
    """Return the content of the first files, by name, as far as there is room.

    Args:
        index: beside whose folder the files lie.
        files: in the order of the page.
        room: bytes.
    """
    found: dict[str, str] = {}
    for head in files:
        new = [name for name in (head.shared, head.file) if name not in found]
        paths = [index.parent / FOLDER / name for name in new]
        sizes = [path.stat().st_size if path.is_file() else room + 1 for path in paths]
        if sum(sizes) > room:
            break
        room -= sum(sizes)
        found |= {name: content_of(path) for name, path in zip(new, paths, strict=True)}
    return found
