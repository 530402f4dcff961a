"""Estimate the disk space that a run needs.

Sizes were measured on the embedded world (README of ``results/``); they err towards too much.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from avatargen.config.experiment import EvaluationSettings, RunConfig
from avatargen.exchange.mesh_files import LARGEST

MARGIN = 200 * 2**20
BAKED = 512
"""Rows and columns of the baked texture: `texture_baking.SIZE`, which is not imported since it needs torch."""
DOWNSCALE = 8
"""Image pixels on each side of a latent pixel of Stable Diffusion, the largest in use."""
SNAPSHOTS = 13
"""`io.history.SNAPSHOTS` and the last one, compressed to less than half; not imported either."""


def avatar_bytes(run: RunConfig, settings: EvaluationSettings) -> int:
    """Return an upper estimate of one finished avatar, in bytes: its file, turntable, views, sheet, embeddings."""
    latent = 16 * run.prior.texture_size**2
    baked = 12 * (LARGEST if run.method.meshes else BAKED) ** 2
    parameters = 12 * 20_000
    views = 2 * settings.views * 3 * settings.size**2
    turntable = settings.turntable_frames * settings.turntable_size**2 // 4
    sheet = 3 * 2**20
    history = SNAPSHOTS * 3 * (DOWNSCALE * run.prior.latent_size) ** 2 // 2
    return latent + baked + parameters + views + turntable + sheet + history


def checkpoint_bytes(run: RunConfig) -> int:
    """Return an upper estimate of one avatar's checkpoint, in bytes: parameters and two moments, old and new file."""
    return 6 * (16 * run.prior.texture_size**2 + 2**20)


def free_bytes(folder: Path) -> int:
    """Return the free space where `folder` is or will be, in bytes."""
    while not folder.exists():
        folder = folder.absolute().parent
    return shutil.disk_usage(folder).free


def space_problem(needed: int, folder: Path) -> str | None:
    """Return one line if a run needs more space than there is, with a margin; None if it fits."""
    free = free_bytes(folder)
    if needed + MARGIN <= free:
        return None
    return (
        f"{folder}: too little disk: about {size_text(needed + MARGIN)} needed, {size_text(free)} free; "
        "free some, take fewer prompts, or run with --directory on another disk"
    )


def size_text(count: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
