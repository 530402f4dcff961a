"""How an avatar came about: its losses, and what it looked like on the way.

Kept beside the avatar as ``history.npz``, written with every checkpoint so that an interrupted avatar keeps the whole
of it: ``steps`` (K,) and for each loss an array (K,), the mean since the last entry; ``snapshot_steps`` (S,) and
``snapshots`` uint8 (S, H, W, 3), the decoded front of the head, some SNAPSHOTS of it. Judges score them later.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from avatargen.io.atomic import replacing

HISTORY = "history.npz"
EVERY = 10
"""Steps whose losses are averaged into one entry."""
SNAPSHOTS = 12
"""Taken at checkpoints, but no more of them in a run: each is written again with every later one."""
LOSSES = ("distillation", "clip", "segmentation", "regularisation", "coverage", "mask_change")


@dataclass
class History:
    """Of one avatar.

    Attributes:
        entries: (step, losses by name).
        snapshots: (step, image).
    """

    entries: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    snapshots: list[tuple[int, UInt8[np.ndarray, "H W 3"]]] = field(default_factory=list)

    def is_due(self, step: int, steps: int) -> bool:
        """Whether it is time for a snapshot at this step of `steps`."""
        last = self.snapshots[-1][0] if self.snapshots else 0
        return step == steps or step - last >= steps / SNAPSHOTS

    def save(self, folder: Path) -> None:
        """Write it, atomically."""
        arrays: dict[str, Any] = {
            name: np.array([losses.get(name, np.nan) for _, losses in self.entries]) for name in LOSSES
        }
        images = [image for _, image in self.snapshots]
        arrays["steps"] = np.array([step for step, _ in self.entries], int)
        arrays["snapshot_steps"] = np.array([step for step, _ in self.snapshots], int)
        arrays["snapshots"] = np.stack(images) if images else np.zeros((0, 1, 1, 3), np.uint8)
        with replacing(folder / HISTORY, only_writer=True) as partial:
            np.savez_compressed(partial, **arrays)

    @classmethod
    def load(cls, folder: Path, until: int | None = None) -> History:
        """What a folder holds, up to a step; empty where there is none that can be read."""
        try:
            with np.load(folder / HISTORY) as file:
                kept = {name: file[name] for name in ("steps", "snapshot_steps", "snapshots", *LOSSES)}
            made = cls(
                [(int(step), {name: float(kept[name][k]) for name in LOSSES}) for k, step in enumerate(kept["steps"])],
                [(int(step), kept["snapshots"][k]) for k, step in enumerate(kept["snapshot_steps"])],
            )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return cls()
        last = np.inf if until is None else until
        return cls(
            [entry for entry in made.entries if entry[0] <= last], [shot for shot in made.snapshots if shot[0] <= last]
        )


class Recorder:
    """Collects the losses of a batch, step by step, into its avatars' histories."""

    def __init__(self, histories: list[History]):
        self.histories = histories
        self._recent: list[Mapping[str, Tensor]] = []

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """The losses of a step (rows beyond the histories are padding); every EVERY steps they become an entry."""
        self._recent.append(losses)
        if step % EVERY:
            return
        names = {name for some in self._recent for name in some}
        means: dict[str, Any] = {name: sum(some[name] for some in self._recent if name in some) for name in names}
        counts = {name: sum(name in some for some in self._recent) for name in names}
        for row, history in enumerate(self.histories):
            history.entries.append((step, {name: float(means[name][row]) / counts[name] for name in names}))
        self._recent.clear()
