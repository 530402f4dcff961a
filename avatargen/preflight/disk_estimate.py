"""How much disk space a run needs.

Sizes were measured on the embedded world (README of ``results/``); they err towards too much.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from avatargen.config.experiment import EvaluationSettings, RunConfig
from avatargen.exchange.mesh_files import LARGEST

MARGIN = 200 * 2**20
BAKED = (
    512  # rows and columns of the baked texture (avatargen.method.texture_baking.SIZE; not imported, it needs torch)
)
DOWNSCALE = 8  # of Stable Diffusion's autoencoder, the largest in use
SNAPSHOTS = 13  # avatargen.io.history.SNAPSHOTS and the last; compressed to less than half (not imported either)


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


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
