"""Estimate the disk space that a run needs.

The sizes of images were measured on the default experiment (README of ``results/``), where estimate and use differ by
less than a fifth. Other priors paint more detail, of which we have no measurement: their images count as photographs.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from avatargen.config.experiment import EvaluationSettings, JudgeSettings, RunConfig
from avatargen.config.places import ROOT
from avatargen.exchange.frame_files import LARGEST as LARGEST_FRAME
from avatargen.exchange.mesh_files import LARGEST
from avatargen.method.sources import source_of

MARGIN = 200 * 2**20
"""What must stay free besides, in bytes: for logs, metadata and other users of the disk."""
SHIPPED = "avatargen/weights/prior"
"""Path of the prior whose images were measured."""
BAKED = 512
"""Rows and columns of the baked texture: `texture_baking.SIZE`, which is not imported since it needs torch."""
CELL = 192
"""Rows and columns of a view in the contact sheet: `eval.contact_sheet.CELL`."""
KINDS = 3
"""Kinds of images of an avatar, in its views and in its contact sheet: `eval.images.KINDS`."""
DOWNSCALE = {SHIPPED: 4}
"""Image pixels on each side of a latent pixel; 8 for all other priors."""
CHECKPOINT_STEPS, SNAPSHOTS, SNAPSHOT_SIZE = 40, 12, 128
"""Those of `method.batch_run` and `io.history`, not imported either."""
CHANNELS = 4
"""Channels of the latents of all priors in use."""
PARAMETERS = 20_000
"""Values of an offset MLP with those of shape and expression."""
VERTICES = {"anny": 19_184, "anny_coarse": 4_961, "anny_fine": 76_427, "flame_coarse": 5_023, "flame_fine": 80_000}
"""Vertices of a head; `_MOST_VERTICES` for other models."""
_MOST_VERTICES = 20_000
_MESH_BYTES = 4 * 2**20
"""Vertices and faces of another system's mesh."""
_WIDTH = 768
"""Numbers in an embedding of a judge that is not a folder: those of the larger CLIP models in use."""
_FRAMES = 120
"""Rendered views of an avatar of another system, as most turns have."""
_SMALL_FILES = 7 * 2**10
"""The JSON files of an avatar."""
_CLUSTER = 4096
"""Bytes that file systems allocate at a time; half of it is lost at the end of each file."""
_FILES = 12
"""Number of files of an avatar."""
REPORTED = 40
"""Prompts and seeds with a gallery in the report: `eval.gallery.MAX_PROMPTS`."""
_REPORT = 9 * 2**18
"""Plots, the comparison picture, and the page of the report with its scripts and without avatars."""
_HEAD, _SHARED, HEAD_ROOM = 200_000, 1_180_000, 4_000_000
"""Bytes of a 3D head beside the report, of what heads share, and of the heads in the page."""
DIAGNOSTICS = {"robustness": 95_000}
"""Bytes that a diagnostic writes for an avatar: facts, embeddings by two judges, pictures."""
_MOST_DIAGNOSED = 2**20
"""The same for diagnostics that were not measured."""
_ROWS = 2 * 2**10
"""An avatar's rows in manifests and tables, and its share of Snakemake's metadata."""


@dataclass(frozen=True)
class Look:
    """How well the pictures of an avatar compress: bytes for each pixel.

    Attributes:
        texture: of the baked texture.
        views: of ``views.npz``.
        sheet: of the contact sheet, without its margins.
        turntable: of the frames of the turntable.
        snapshots: of the snapshots of a history.
        report: bytes of an avatar's pictures in the report, not for each pixel.
    """

    texture: float
    views: float
    sheet: float
    turntable: float
    snapshots: float
    report: int


PAINTED = Look(texture=0.56, views=0.52, sheet=0.44, turntable=0.012, snapshots=0.70, report=170_000)
TRUTH = Look(texture=0.27, views=0.39, sheet=0.34, turntable=0.011, snapshots=0.0, report=140_000)
GREY = Look(texture=0.06, views=0.25, sheet=0.22, turntable=0.0075, snapshots=0.20, report=90_000)
PHOTOGRAPH = Look(texture=1.7, views=1.7, sheet=1.4, turntable=0.03, snapshots=1.7, report=450_000)


def look_of(run: RunConfig) -> Look:
    """Return how well the pictures of a method's avatars compress."""
    if source_of(run).is_external or (run.method.optimises and run.method.texture and run.prior.path != SHIPPED):
        return PHOTOGRAPH
    if run.method.optimises:
        return PAINTED if run.method.texture else GREY
    return TRUTH if source_of(run).paints else GREY


def avatar_parts(
    run: RunConfig, settings: EvaluationSettings, judges: Iterable[JudgeSettings], root: Path = ROOT
) -> dict[str, int]:
    """Return an estimate of one finished avatar, in bytes for each kind of file.

    Args:
        run: the method.
        settings: the protocol of its images.
        judges: whose embeddings are kept.
        root: what paths of judges are relative to.
    """
    look, method = look_of(run), run.method
    side = LARGEST if method.meshes else BAKED
    geometry = _MESH_BYTES if method.meshes else 12 * VERTICES.get(run.head, _MOST_VERTICES)
    latents = 4 * CHANNELS * run.prior.texture_size**2 if method.optimises else 0
    pixels = KINDS * settings.views * settings.size**2
    frames = 2 * settings.turntable_frames * settings.turntable_size**2
    rows = KINDS * settings.views + _snapshots(run)
    return {
        "avatar.safetensors": geometry + latents + 1024,
        "texture.png": int(look.texture * side**2),
        "frames.npz": int(look.texture * _FRAMES * LARGEST_FRAME**2) if method.frames else 0,
        "history.npz": _history_bytes(run),
        "views.npz": int(look.views * pixels),
        "sheet.png": int(look.sheet * KINDS * settings.views * CELL**2),
        "turntable.mp4": int(look.turntable * frames),
        "embeddings": sum(4 * rows * width_of(judge, root) + 1500 for judge in judges),
        "other": _SMALL_FILES + _FILES * _CLUSTER // 2,
    }


def avatar_bytes(run: RunConfig, settings: EvaluationSettings, judges: Iterable[JudgeSettings] = ()) -> int:
    """Return an estimate of one finished avatar with its rows of tables, in bytes; arguments as in `avatar_parts`."""
    return sum(avatar_parts(run, settings, judges).values()) + _ROWS


def diagnostic_bytes(name: str) -> int:
    """Return an estimate of what a diagnostic writes for one avatar, in bytes."""
    return DIAGNOSTICS.get(name, _MOST_DIAGNOSED) + 3 * _CLUSTER // 2


def checkpoint_bytes(run: RunConfig) -> int:
    """Return an estimate of one avatar's checkpoint, in bytes: parameters, two moments of each, masks."""
    texture = CHANNELS * run.prior.texture_size**2
    masks = run.method.mask_views * (2 * run.prior.latent_size) ** 2
    return 4 * (3 * (texture + PARAMETERS) + masks)


def phase1_bytes(run: RunConfig) -> int:
    """Return an estimate of a phase 1 that methods share, in bytes: a checkpoint before geometry moves, a history."""
    share = run.method.phase1_steps / max(run.method.steps, 1)
    return checkpoint_bytes(run) - 8 * PARAMETERS + int(share * _history_bytes(run)) + 2 * _CLUSTER


def report_bytes(runs: Iterable[RunConfig], units: int) -> int:
    """Return an estimate of plots and report, in bytes.

    Args:
        runs: the methods.
        units: number of prompts and seeds.
    """
    looks = [look_of(run).report for run in runs]
    heads = _SHARED + min(units, REPORTED) * len(looks) * _HEAD
    return _REPORT + heads + min(heads, HEAD_ROOM) + min(units, REPORTED) * sum(looks)


def width_of(judge: JudgeSettings, root: Path = ROOT) -> int:
    """Return the number of values in an embedding of a judge."""
    try:
        facts = json.loads((root / judge.model / "open_clip_config.json").read_text(encoding="utf-8"))
        return int(facts["model_cfg"]["embed_dim"])
    except (OSError, ValueError, KeyError, TypeError):
        return _WIDTH


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


def _snapshots(run: RunConfig) -> int:
    """Return the number of snapshots in a history: at checkpoints, once at least `steps / SNAPSHOTS` have passed."""
    if not run.method.optimises:
        return 0
    between = CHECKPOINT_STEPS * math.ceil(run.method.steps / SNAPSHOTS / CHECKPOINT_STEPS)
    return math.ceil(run.method.steps / between)


def _history_bytes(run: RunConfig) -> int:
    side = min(SNAPSHOT_SIZE, DOWNSCALE.get(run.prior.path, 8) * run.prior.latent_size)
    losses = 3 * run.method.steps if run.method.optimises else 0
    return int(look_of(run).snapshots * _snapshots(run) * side**2) + losses
