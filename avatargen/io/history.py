"""The history of an avatar's optimisation: losses and snapshots, in ``history.npz`` beside the avatar.

Arrays: ``steps`` (K,); for each loss an array (K,), the mean since the last entry; ``snapshot_steps`` (S,); and
``snapshots.png``, the bytes of an image (S H, W, 3) of all snapshots, one below the other: the decoded front of the
head, which judges score later. It is written with every checkpoint, so that an interrupted avatar has a whole one.
Earlier versions hold ``snapshots`` uint8 (S, H, W, 3), and are still read.
"""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from avatargen.io.atomic import replacing

HISTORY = "history.npz"
EVERY = 10
"""Number of steps whose losses are averaged into one entry."""
SNAPSHOTS = 12
"""Largest number of snapshots before the last one; each is written again with every later checkpoint."""
SNAPSHOT_SIZE = 128
"""Largest rows and columns of a snapshot: those of the images that judges are shown."""
LOSSES = ("distillation", "clip", "segmentation", "regularisation", "coverage", "mask_change")


@dataclass
class History:
    """The history of one avatar.

    Attributes:
        entries: (step, losses by name).
        snapshots: (step, image).
    """

    entries: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    snapshots: list[tuple[int, UInt8[np.ndarray, "H W 3"]]] = field(default_factory=list)

    def is_due(self, step: int, steps: int) -> bool:
        """Return whether it is time for a snapshot at this step of `steps`."""
        last = self.snapshots[-1][0] if self.snapshots else 0
        return step == steps or step - last >= steps / SNAPSHOTS

    def save(self, folder: Path) -> None:
        """Write it atomically; raise OSError where the disk is full."""
        arrays: dict[str, Any] = {
            name: np.array([losses.get(name, np.nan) for _, losses in self.entries]) for name in LOSSES
        }
        arrays["steps"] = np.array([step for step, _ in self.entries], int)
        arrays["snapshot_steps"] = np.array([step for step, _ in self.snapshots], int)
        if self.snapshots:
            arrays["snapshots.png"] = _png(np.concatenate([image for _, image in self.snapshots]))
        with replacing(folder / HISTORY) as partial:
            np.savez_compressed(partial, **arrays)

    @classmethod
    def load(cls, folder: Path, until: int | None = None) -> History:
        """Return the history in a folder, up to a step; an empty one where none can be read."""
        try:
            with np.load(folder / HISTORY) as file:
                kept = {name: file[name] for name in ("steps", "snapshot_steps", *LOSSES)}
                kept["snapshots"] = _snapshots(file, len(kept["snapshot_steps"]))
            made = cls(
                [(int(step), {name: float(kept[name][k]) for name in LOSSES}) for k, step in enumerate(kept["steps"])],
                [(int(step), kept["snapshots"][k]) for k, step in enumerate(kept["snapshot_steps"])],
            )
        except (OSError, ValueError, KeyError, EOFError, SyntaxError, zipfile.BadZipFile):
            return cls()
        last = np.inf if until is None else until
        return cls(
            [entry for entry in made.entries if entry[0] <= last], [shot for shot in made.snapshots if shot[0] <= last]
        )


def snapshot(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return an image as a history keeps it: above SNAPSHOT_SIZE, shrunk to the means of squares of pixels.

    Example:
        >>> snapshot(np.zeros((512, 512, 3), np.uint8)).shape
        (128, 128, 3)
    """
    factor = math.ceil(max(image.shape[:2]) / SNAPSHOT_SIZE)
    return image if factor <= 1 else np.array(Image.fromarray(image).reduce(factor))


def _png(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, " bytes"]:
    """Return the bytes of an image file, which takes two thirds of what the compressed array does."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _snapshots(file: Any, count: int) -> UInt8[np.ndarray, "S H W 3"]:
    """Return the snapshots of a history file of any version."""
    if "snapshots" in file or not count:
        return file["snapshots"] if count else np.zeros((0, 1, 1, 3), np.uint8)
    with Image.open(io.BytesIO(file["snapshots.png"].tobytes())) as image:
        strip = np.array(image)
    return strip.reshape(count, -1, *strip.shape[1:])
