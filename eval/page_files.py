"""Decide what a page holds and what it links to: files as data URIs while there is room, else as relative addresses."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from eval.thumbnails import data_uri

ROOM = 12_000_000
"""Bytes of pictures and videos in a page; further ones are linked to, and need the results folder."""
HEAD_ROOM = 4_000_000
"""Bytes of 3D heads in a page; further ones are read from beside it."""


class PageFiles:
    """Gives the addresses of files for one page.

    Attributes:
        folder: of the page.
        room: bytes that are left for embedded files.
    """

    def __init__(self, folder: Path, room: int) -> None:
        self.folder, self.room = folder, room

    def href(self, path: Path) -> str | None:
        """Return the address of a file relative to the page; None for one that does not exist.

        Example:
            >>> PageFiles(Path("results/report"), room=0).href(Path("no such file")) is None
            True
        """
        if not path.exists():
            return None
        return quote(Path(os.path.relpath(path, self.folder)).as_posix())

    def embedded(self, content: bytes | None, mime: str) -> str | None:
        """Return content as a data URI; None where there is none, or no room."""
        if content is None or len(content) > self.room:
            return None
        self.room -= len(content)
        return data_uri(content, mime)

    def either(self, content: bytes | None, mime: str, path: Path) -> str | None:
        """Return content as a data URI while there is room, else the address of a file that shows the same."""
        return self.embedded(content, mime) or (self.href(path) if content is not None else None)
