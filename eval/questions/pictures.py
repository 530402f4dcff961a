"""Find the pictures that diagnostics left in avatars' folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.diagnostics.files import FOLDER
from eval.questions.base import Evidence


def picture_of(folder: Path, diagnostic: str, name: str) -> Path | None:
    """Return the path of a picture in an avatar's folder; None if it is not there."""
    return next((folder / FOLDER).glob(f"{diagnostic}-{name}.*"), None)


def first_pictures(
    evidence: Evidence, methods: Sequence[str], diagnostic: str, name: str, caption: str
) -> dict[Path, str]:
    """Return the first picture of each method, as far as there is one, with its caption.

    Args:
        evidence: has the folders.
        methods: names of runs.
        diagnostic: its name.
        name: of the picture.
        caption: `{}` stands for the method.
    """
    found: dict[Path, str] = {}
    for run in methods:
        mine = (folder for (method, *_), folder in evidence.folders.items() if method == run)
        path = next((path for folder in mine if (path := picture_of(folder, diagnostic, name))), None)
        if path:
            found[path] = caption.format(run)
    return found
