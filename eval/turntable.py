"""Render what people and judges look at into an avatar's folder.

views.npz      the images of the protocol (see :mod:`eval.images`): ``texture``, ``baked``, ``geometry``, each the bytes
               of a PNG with the V views one below the other, and ``protocol``, the JSON of how they were made
turntable.mp4  one turn of the head: exported colours beside clay (H.264, yuv420p, faststart)
sheet.png      the contact sheet: neural colours, exported colours and clay from all sides
render.json    the fingerprint, the seconds that it took, and the avatar's diagnosis (see :mod:`eval.findings`); written
               last, so that a folder without it is rendered again
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from avatargen.config.experiment import EvaluationSettings
from avatargen.io.atomic import read_json, replacing
from avatargen.io.avatar_file import Avatar
from avatargen.io.history import History
from eval.artifacts import RENDER_FACTS, VIEW_FILES, is_current, write_facts
from eval.contact_sheet import CELL, contact_sheet
from eval.diagnosis import diagnose
from eval.images import Images, packed, view_protocol
from eval.views import RenderTools, colour_and_clay, decode_views, neural_colour, protocol_cameras, render_views

SHEET_SAMPLES = 2
FRAMES_PER_SECOND = 16


def render_avatar(
    avatar: Avatar,
    tools: RenderTools,
    settings: EvaluationSettings,
    folder: Path,
    fingerprint: str,
) -> dict[str, Any]:
    """Render one avatar for judges and people, unless renders with this fingerprint exist.

    Args:
        avatar: to render.
        tools: to render with.
        settings: of the protocol and the turntable.
        folder: to write to.
        fingerprint: of the renders.

    Returns:
        The content of ``render.json``: fingerprint, files, seconds, diagnosis.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    if is_current(folder, RENDER_FACTS, fingerprint, VIEW_FILES):
        return read_json(folder / RENDER_FACTS)
    start, tools = time.perf_counter(), tools.fitting(avatar, settings.fit)
    decoded = decode_views(avatar, tools, protocol_cameras(avatar, tools, settings), settings.background)
    views = render_views(avatar, tools, settings, decoded)
    protocol = json.dumps(
        view_protocol(settings, tools.prior_settings, tools.head_name, tools.renderer_name), sort_keys=True
    )
    arrays: dict[str, Any] = {"protocol": np.array(protocol), **{kind: packed(views[kind]) for kind in views}}
    with replacing(folder / "views.npz") as path:
        np.savez(path, **arrays)
    with replacing(folder / "sheet.png") as path:
        sheet_of(avatar, tools, settings, decoded).save(path)
    with replacing(folder / "turntable.mp4") as path:
        write_video(path, turntable_frames(avatar, tools, settings))
    found = asdict(diagnose(avatar, tools, settings, views["texture"], History.load(folder)))
    known = {name: value if isfinite(value) else None for name, value in found.items()}
    seconds = round(time.perf_counter() - start, 3)
    return write_facts(folder, RENDER_FACTS, fingerprint, files=list(VIEW_FILES), seconds=seconds, diagnosis=known)


def sheet_of(
    avatar: Avatar, tools: RenderTools, settings: EvaluationSettings, decoded: Float[Tensor, "V 3 h w"]
) -> Image.Image:
    """Draw the contact sheet of an avatar; `decoded` are its decoded views by the protocol's cameras."""
    cameras = protocol_cameras(avatar, tools, settings)
    baked, clay = colour_and_clay(avatar, tools, cameras, CELL, SHEET_SAMPLES, settings.background)
    rows = {"Neural": neural_colour(decoded, CELL), "Exported": baked}
    if avatar.frames is None:
        rows["Geometry"] = clay
    note = f"{avatar.method} · seed {avatar.seed}" + ("" if avatar.status == "ok" else f" · {avatar.status}")
    return contact_sheet(avatar.prompt, note, rows, cameras.azimuth[0].tolist())


def turntable_frames(avatar: Avatar, tools: RenderTools, settings: EvaluationSettings) -> Images:
    """Render exported colours beside clay, one frame for each azimuth of a full turn: (frames, H, 2 H, 3).

    One ray a pixel and a small blur against jagged edges, since the turntable takes most of an avatar's render time.
    """
    azimuths = torch.arange(settings.turntable_frames) * (360.0 / settings.turntable_frames)
    cameras = protocol_cameras(avatar, tools, settings, azimuths)
    size = settings.turntable_size - settings.turntable_size % 2  # yuv420p halves the rows and columns
    colour, clay = colour_and_clay(avatar, tools, cameras, size, 1, settings.background)
    return np.concatenate((soften(colour), soften(clay)), axis=2)


def soften(images: Images) -> Images:
    """Blur images with the 3 x 3 binomial filter.

    Example:
        >>> images = np.zeros((1, 1, 4, 3), dtype=np.uint8)
        >>> images[:, :, 2:] = 200
        >>> soften(images)[0, 0, :, 0].tolist()
        [0, 50, 150, 200]
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge").astype(np.uint16)
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return ((rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:] + 8) // 16).astype(np.uint8)


def write_video(path: Path, frames: Images) -> None:
    """Write frames as an MP4 that plays in browsers.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    writer = imageio.get_writer(
        path,
        fps=FRAMES_PER_SECOND,
        codec="libx264",
        pixelformat="yuv420p",
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-movflags", "+faststart", "-crf", "20", "-preset", "veryfast", "-threads", "1"],
    )
    with writer:
        for frame in frames:
            writer.append_data(frame)
