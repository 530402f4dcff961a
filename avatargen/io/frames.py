"""Rendered views that stand for an avatar of a system without meshes, and the file that holds them.

``frames.npz`` holds each picture as the bytes of a PNG, ``000`` and so on, and ``azimuth`` and ``elevation`` of the
cameras.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from avatargen.io.atomic import replacing

FRAMES = "frames.npz"
HEAD = "frames"
"""Head id of avatars that are frames."""


@dataclass(frozen=True)
class Frames:
    """Square pictures of a head, 8-bit RGBA, and where their cameras are.

    Attributes:
        images: not multiplied by alpha.
        azimuth: degrees, see `avatargen.geometry.types`.
        elevation: degrees; NaN where it is not known.
    """

    images: UInt8[np.ndarray, "V S S 4"]
    azimuth: Float[np.ndarray, " V"]
    elevation: Float[np.ndarray, " V"]


def save_frames(path: Path, frames: Frames) -> None:
    """Write frames atomically.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    pictures = {}
    for number, image in enumerate(frames.images):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        pictures[f"{number:03d}"] = np.frombuffer(buffer.getvalue(), np.uint8)
    with replacing(path) as partial:
        np.savez(partial, azimuth=frames.azimuth, elevation=frames.elevation, **pictures)


def load_frames(path: Path) -> Frames:
    """Read frames.

    Raises:
        OSError: there is no file, or it cannot be read.
        ValueError: it is damaged.
    """
    try:
        with np.load(path) as file:
            azimuth, elevation = file["azimuth"], file["elevation"]
            pictures = [file[f"{number:03d}"].tobytes() for number in range(len(azimuth))]
        return Frames(np.stack([np.array(Image.open(io.BytesIO(one))) for one in pictures]), azimuth, elevation)
    except (KeyError, EOFError, SyntaxError, BadZipFile) as error:
        raise ValueError(f"{path.name} is damaged: {error or type(error).__name__}") from error
