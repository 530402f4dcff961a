"""Images that are small enough for the report, as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from eval.images import read_views

STILL, SMALL, SHEET = 160, 128, 1280  # pixels: side of half of a still and of a stack, greatest width of a picture
SHEET_FILE, VIDEO = "sheet.png", "turntable.mp4"
LARGEST_VIDEO = 400_000  # bytes; a larger turntable is left out of the report


@dataclass(frozen=True)
class Thumbnails:
    """Images of one avatar as data URIs; None where one does not exist."""

    still: str | None
    contact_sheet: str | None
    turntable: str | None

    @classmethod
    def of(cls, folder: Path) -> Thumbnails:
        """Read the images in an avatar's folder."""
        return cls(still(folder), contact_sheet(folder), turntable(folder))


def data_uri(content: bytes, mime: str) -> str:
    """Return the content of a file as a data URI.

    Example:
        >>> data_uri(b"hi", "text/plain")
        'data:text/plain;base64,aGk='
    """
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def file_uri(path: Path, mime: str) -> str:
    """Return a file as a data URI."""
    return data_uri(path.read_bytes(), mime)


def still(folder: Path) -> str | None:
    """Return the front view, colour beside clay; None for an avatar that was not rendered."""
    return _front(folder, (2 * STILL, STILL), axis=1)


def front_stack(folder: Path) -> str | None:
    """Return the front view, colour above clay; None for an avatar that was not rendered."""
    return _front(folder, (SMALL, 2 * SMALL), axis=0)


def _front(folder: Path, size: tuple[int, int], axis: int) -> str | None:
    try:
        views = read_views(folder / "views.npz", ("texture", "geometry"))
        pair = np.concatenate((views["texture"][0], views["geometry"][0]), axis=axis)
    except (OSError, ValueError, KeyError, EOFError):
        return None
    content = webp_bytes(Image.fromarray(pair).resize(size, Image.Resampling.LANCZOS), quality=80)
    return data_uri(content, "image/webp")


def contact_sheet(folder: Path) -> str | None:
    """Return the contact sheet, at most SHEET pixels wide; None where there is none."""
    content = sheet_bytes(folder)
    return data_uri(content, "image/webp") if content else None


def sheet_bytes(folder: Path) -> bytes | None:
    """Return the contact sheet as a WebP, at most SHEET pixels wide; None where there is none."""
    return shrunk(folder / SHEET_FILE, quality=72)


def picture_uri(path: Path) -> str | None:
    """Return a picture, at most SHEET pixels wide; None where there is none."""
    content = shrunk(path, quality=80)
    return data_uri(content, "image/webp") if content else None


def turntable(folder: Path) -> str | None:
    """Return the turntable as it is; None where there is none, or where it exceeds LARGEST_VIDEO."""
    content = video_bytes(folder)
    return data_uri(content, "video/mp4") if content else None


def video_bytes(folder: Path) -> bytes | None:
    """Return the turntable as it is; None where there is none, or where it exceeds LARGEST_VIDEO."""
    path = folder / VIDEO
    return path.read_bytes() if path.is_file() and path.stat().st_size <= LARGEST_VIDEO else None


def shrunk(path: Path, quality: int) -> bytes | None:
    """Return a picture as a WebP, at most SHEET pixels wide; None where there is none."""
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except OSError:
        return None
    size = (SHEET, round(picture.height * SHEET / picture.width))
    return webp_bytes(picture.resize(size, Image.Resampling.LANCZOS) if picture.width > SHEET else picture, quality)


def webp_bytes(image: Image.Image, quality: int) -> bytes:
    """Return a picture as a WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=1)
    return buffer.getvalue()
