"""Phase 1, made once for all methods of an experiment that differ in phase 2 alone.

Such ablations repeat the first steps of each other to the bit. So the checkpoint and the history of an avatar at the
end of phase 1 are kept in a folder of what decides them, and the next method goes on from there. The seconds that they
took are part of a checkpoint, and so of each method's cost.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors import safe_open

from avatargen.io.atomic import replacing
from avatargen.io.history import EVERY, HISTORY
from avatargen.method.state import CHECKPOINT, checkpoint_place

_FILES = (HISTORY, CHECKPOINT)


def begin(folders: list[Path], starts: list[Path]) -> None:
    """Let avatars that have not begun go on from where others ended phase 1, if all of them can.

    A batch of which some could would fall into two, each as long as a whole one.

    Args:
        folders: the avatars'; starts: where their phase 1 is kept, if it was made.
    """
    fresh = [pair for pair in zip(folders, starts, strict=True) if not (pair[0] / CHECKPOINT).exists()]
    if all((start / name).is_file() for _, start in fresh for name in _FILES):
        for folder, start in fresh:
            _copy(start, folder)


def keep(folders: list[Path], starts: list[Path], steps: int) -> None:
    """Keep the phase 1, of so many steps, of avatars whose checkpoint stands at its end, and who are well.

    Entries of a history that phase 1 ends amid would not be whole, so such a phase is not kept.
    """
    for folder, start in zip(folders, starts, strict=True):
        if steps % EVERY == 0 and checkpoint_place(folder) == (0, steps) and not (start / CHECKPOINT).exists():
            with safe_open(folder / CHECKPOINT, framework="pt") as file:
                well = not file.get_tensor("diverged")
            if well:
                start.mkdir(parents=True, exist_ok=True)
                _copy(folder, start)


def _copy(source: Path, target: Path) -> None:
    """History, then checkpoint, which says that both are there; each whole or not at all."""
    for name in _FILES:
        with replacing(target / name) as partial:
            shutil.copyfile(source / name, partial)
