"""Phase 1, optimised once for all methods of an experiment that differ in phase 2 alone.

Such ablations repeat each other's first steps to the bit. So the checkpoint and the history of an avatar at the end of
phase 1 are stored in a folder named for what decides them, and the next method resumes from there. The seconds that
they took are part of a checkpoint, and so of each method's cost.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open

from avatargen.io.atomic import replacing
from avatargen.io.history import EVERY, HISTORY
from avatargen.method.state import CHECKPOINT, checkpoint_place

_FILES = (HISTORY, CHECKPOINT)


def resume(folders: Sequence[Path], phase1_folders: Sequence[Path]) -> None:
    """Let avatars that have not begun resume from a stored phase 1, if all of them can.

    A batch of which only some could would split into two, each as slow as a whole one.

    Args:
        folders: of the avatars.
        phase1_folders: where the phase 1 of each is stored, if it was made.
    """
    fresh = [pair for pair in zip(folders, phase1_folders, strict=True) if not (pair[0] / CHECKPOINT).exists()]
    if all((stored / name).is_file() for _, stored in fresh for name in _FILES):
        for folder, stored in fresh:
            _copy(stored, folder)


def store(folders: Sequence[Path], phase1_folders: Sequence[Path], steps: int) -> None:
    """Store the phase 1 of avatars whose checkpoint stands at its end and that have not diverged.

    Entries of a history that phase 1 ends amid would not be whole, so such a phase is not stored.

    Args:
        folders: of the avatars.
        phase1_folders: where to store each.
        steps: of phase 1.
    """
    for folder, stored in zip(folders, phase1_folders, strict=True):
        if steps % EVERY == 0 and checkpoint_place(folder) == (0, steps) and not (stored / CHECKPOINT).exists():
            with safe_open(folder / CHECKPOINT, framework="pt") as file:
                sound = not file.get_tensor("diverged")
            if sound:
                stored.mkdir(parents=True, exist_ok=True)
                _copy(folder, stored)


def _copy(source: Path, target: Path) -> None:
    """Copy the history, then the checkpoint, which says that both are there; each whole or not at all."""
    for name in _FILES:
        with replacing(target / name) as partial:
            shutil.copyfile(source / name, partial)
