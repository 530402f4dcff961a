"""Space on the disk: what a run will need, and what happens when there is no more.

Sizes were measured on the embedded world (README of ``results/``); they err towards too much.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from avatargen.config import EvaluationSettings, RunConfig
from avatargen.mesh_files import LARGEST

MARGIN = 200 * 2**20
BAKED = 512  # rows and columns of the baked texture (avatargen.bake.SIZE; not imported, it needs torch)
DOWNSCALE = 8  # of Stable Diffusion's autoencoder, the largest in use
SNAPSHOTS = 13  # avatargen.history.SNAPSHOTS and the last; compressed to less than half (not imported either)
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(OSError):
    """The disk is full. Work that is finished stands; the same command goes on once there is space."""

    def __init__(self, where: str):
        super().__init__(errno.ENOSPC, "no space left on the disk; free some and run the same command again", where)

    def __reduce__(self):
        return type(self), (self.filename,)


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that the disk or the quota is used up."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(f"(os error {code})" in str(error) or os.strerror(code) in str(error) for code in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def avatar_bytes(run: RunConfig, settings: EvaluationSettings) -> int:
    """Upper estimate of what one finished avatar takes: its file, turntable, views, sheet and embeddings."""
    latent = 16 * run.prior.texture_size**2
    baked = 12 * (LARGEST if run.method.meshes else BAKED) ** 2
    parameters = 12 * 20_000
    views = 2 * settings.views * 3 * settings.size**2
    turntable = settings.turntable_frames * settings.turntable_size**2 // 4
    sheet = 3 * 2**20
    history = SNAPSHOTS * 3 * (DOWNSCALE * run.prior.latent_size) ** 2 // 2
    return latent + baked + parameters + views + turntable + sheet + history


def checkpoint_bytes(run: RunConfig) -> int:
    """Upper estimate of the step checkpoint of one avatar: parameters and two moments, old and new file."""
    return 6 * (16 * run.prior.texture_size**2 + 2**20)


def free_bytes(folder: Path) -> int:
    """Free space where `folder` is, or will be."""
    while not folder.exists():
        folder = folder.absolute().parent
    return shutil.disk_usage(folder).free


def space_problem(needed: int, folder: Path) -> str | None:
    """One line if a run needs more than there is, with a margin; None if it fits."""
    free = free_bytes(folder)
    if needed + MARGIN <= free:
        return None
    return (
        f"{folder}: too little disk: about {_size(needed + MARGIN)} needed, {_size(free)} free; "
        "free some, take fewer prompts, or run with --directory on another disk"
    )


def write_text(path: Path, text: str) -> None:
    """`write_bytes`, of text in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside the target and rename, so that a reader never sees half of it.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
