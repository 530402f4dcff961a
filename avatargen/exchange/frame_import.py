"""Read another system's rendered views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from avatargen.config.other_systems import FrameSettings
from avatargen.exchange.frame_files import LARGEST, check_picture, list_frames
from avatargen.exchange.gltf_colours import eight_bits
from avatargen.io.frames import Frames


def read_frames(folder: Path, frames: FrameSettings) -> Frames:
    """Read the pictures of an item; all become as large as the largest.

    Args:
        folder: of the item.
        frames: settings of the method.

    Raises:
        ValueError: the folder is empty, a name or a camera cannot be read, or a picture cannot.
    """
    found = list_frames(folder, frames)
    if not found:
        raise ValueError(f"{folder}: got an empty folder, which stands for a failure of the other system")
    images = [_picture(frame.path, frames.pictures) for frame in found]
    side = max(image.width for image in images)
    return Frames(
        images=np.stack([_straight(image.resize((side, side), Image.Resampling.LANCZOS)) for image in images]),
        azimuth=np.array([frame.azimuth for frame in found], np.float32),
        elevation=np.array([np.nan if f.elevation is None else f.elevation for f in found], np.float32),
    )


def _picture(path: Path, pictures: int) -> Image.Image:
    """Return a picture as a square of at most LARGEST pixels, multiplied by alpha; sides that it lacks are transparent.

    Args:
        path: of the file.
        pictures: that stand side by side in it; the first is taken.

    Raises:
        ValueError: it cannot be read, or cannot be divided.
    """
    try:
        check_picture(path, pictures)
        with Image.open(path) as file:
            upright = eight_bits(ImageOps.exif_transpose(file))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path.name}: cannot be read as a picture: {error}") from error
    image = upright.convert("RGBA").convert("RGBa")
    width, height = image.width // pictures, image.height
    side = max(width, height)
    square = Image.new("RGBa", (side, side))
    square.paste(image.crop((0, 0, width, height)), ((side - width) // 2, (side - height) // 2))
    kept = min(side, LARGEST)
    return square.resize((kept, kept), Image.Resampling.LANCZOS)


def _straight(image: Image.Image) -> UInt8[np.ndarray, "S S 4"]:
    """Return the pixels of a picture, not multiplied by alpha."""
    return np.array(image.convert("RGBA"))
