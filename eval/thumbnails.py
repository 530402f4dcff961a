"""Images small enough to stand inside a report, as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

STILL, SHEET = 160, 1280  # pixels: side of a still's halves, width of a sheet
LARGEST_VIDEO = 400_000  # bytes; a turntable that is larger stays out of the report


def data_uri(content: bytes, mime: str) -> str:
    """A file's content as a URI."""
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def file_uri(path: Path, mime: str) -> str:
    """A file as a URI."""
    return data_uri(path.read_bytes(), mime)


def still(folder: Path) -> str | None:
    """The front view, colour beside clay; None where the avatar was not rendered."""
    try:
        with np.load(folder / "views.npz") as views:
            pair = np.concatenate((views["texture"][0], views["geometry"][0]), axis=1)
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return _webp(Image.fromarray(pair).resize((2 * STILL, STILL), Image.Resampling.LANCZOS), quality=80)


def sheet(folder: Path) -> str | None:
    """The contact sheet; None where there is none."""
    try:
        with Image.open(folder / "sheet.png") as image:
            picture = image.convert("RGB")
    except OSError:
        return None
    size = (SHEET, round(picture.height * SHEET / picture.width))
    return _webp(picture.resize(size, Image.Resampling.LANCZOS) if picture.width > SHEET else picture, quality=72)


def turning(folder: Path) -> str | None:
    """The turntable, as it is; None where there is none, or where it is too large for a report."""
    path = folder / "turntable.mp4"
    if not path.is_file() or path.stat().st_size > LARGEST_VIDEO:
        return None
    return file_uri(path, "video/mp4")


def _webp(image: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=1)
    return data_uri(buffer.getvalue(), "image/webp")
