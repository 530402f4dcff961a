"""Images small enough to stand inside a report, as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from PIL import Image

STILL, SHEET, MOVING = (
    132,
    1240,
    132,
)  # pixels: side of a still's halves, width of a sheet, height of a turntable
TURN_FRAMES = 24


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
    return _webp(
        picture.resize(size, Image.Resampling.LANCZOS) if picture.width > SHEET else picture, quality=72
    )


def turning(folder: Path) -> str | None:
    """The turntable as an animation of at most TURN_FRAMES frames; None where there is none."""
    try:
        with imageio.get_reader(folder / "turntable.mp4", "ffmpeg") as reader:
            frames = [Image.fromarray(np.asarray(frame)) for frame in reader]
            seconds = len(frames) / reader.get_meta_data()["fps"]
    except (OSError, ValueError, KeyError, IndexError):
        return None
    some = frames[:: max(1, -(-len(frames) // TURN_FRAMES))]
    some = [frame.resize((2 * MOVING, MOVING), Image.Resampling.LANCZOS) for frame in some]
    buffer = io.BytesIO()
    some[0].save(
        buffer, "WEBP", save_all=True, append_images=some[1:], loop=0, quality=55, method=3,
        duration=round(1000 * seconds / len(some)),
    )  # fmt: skip
    return data_uri(buffer.getvalue(), "image/webp")


def _webp(image: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return data_uri(buffer.getvalue(), "image/webp")
