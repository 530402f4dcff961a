"""Measure the failure signatures of score distillation on an avatar; :mod:`eval.findings` defines them."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.prompts import draw_key
from avatargen.geometry.cameras import evaluation_cameras, keyed_noise, usual_framing
from avatargen.geometry.types import Cameras
from avatargen.io.avatar_file import Avatar
from avatargen.io.history import History
from avatargen.priors.foreground import Denoising, foreground_change
from avatargen.priors.view_prompts import VIEW_WORDS, named_views, with_view
from eval.findings import Diagnosis
from eval.images import Images
from eval.janus import janus
from eval.views import (
    RenderTools,
    colour_and_clay,
    decode_views,
    neural_colour,
    neural_latents,
    protocol_cameras,
    some_views,
)

BACKGROUNDS = ((0.15, 0.35, 0.95), (0.95, 0.15, 0.85))
"""Two colours far apart: what blends into one of them stands out against the other."""
DENOISING = Denoising(start=0.6, steps=3, guidance=4.0)
"""Denoising of a render by the prior; part of the protocol, the same for all methods."""
STRIDE = 2
"""Use every STRIDE-th view of the protocol."""
FRAMES, STEP = 7, 2.5
"""Frames of the fine turntable, and the degrees between them."""
CLIPPED = 3
"""Largest distance from 0 or 255 at which a channel counts as saturated, in 8-bit levels."""
EDGE = 0.01
"""Margin within which a coefficient is at its bound, or an offset at its limit, as a fraction of the range or limit."""


@torch.no_grad()
def diagnose(
    avatar: Avatar, tools: RenderTools, settings: EvaluationSettings, shown: Images, history: History
) -> Diagnosis:
    """Measure the failure signatures of one avatar.

    Args:
        avatar: to measure.
        tools: head, renderer and prior, see :class:`eval.views.RenderTools`.
        settings: whose cameras are used.
        shown: its neural colours, as judges see them: the views `texture`.
        history: of its generation.

    Returns:
        The measures; all NaN for rendered views of another system, whose background may be part of them.
    """
    if avatar.frames is not None:
        return Diagnosis(*[math.nan] * len(fields(Diagnosis)))
    cameras, prior_views = protocol_cameras(avatar, tools, settings), prior_cameras(tools, settings)
    vertices = tools.head.vertices(avatar.parameters())
    covered = tools.renderer.render(vertices, cameras, settings.size, samples=2, gradients=False).coverage[0, :, 0]
    clipped = np.minimum(shown, 255 - shown).min(-1) <= CLIPPED
    limit = avatar.config.get("method", {}).get("offset_limit_mm", math.inf) / 1e3
    offsets = avatar.offsets if avatar.topology is None else avatar.offsets[:0]  # a mesh's offsets are its vertices
    low, high = tools.head.shape_bounds
    margin = EDGE * (high - low)
    near = (avatar.shape <= low + margin) | (avatar.shape >= high - margin)
    return Diagnosis(
        misaligned=misalignment(avatar, tools, prior_views, settings.size),
        saturated=float(clipped[(covered > 0.99).numpy()].mean()),
        masks=mask_change(history),
        at_bounds=float(near[low < high].float().mean()),
        at_limit=float((offsets.abs().amax(-1) >= (1 - EDGE) * limit).float().mean()),
        flicker=flicker(avatar, tools, settings),
        cut=cut_views(covered),
        janus=janus(avatar, tools, prior_views, settings.background),
    )


def cut_views(covered: Float[Tensor, "V H W"]) -> float:
    """Return the fraction of views in which the head touches the border of the image.

    Example:
        >>> covered = torch.zeros(4, 8, 8)
        >>> covered[:, 2:6, 2:6], covered[0, 7, 4] = 1.0, 0.25
        >>> cut_views(covered)
        0.25
    """
    border = torch.cat((covered[:, 0], covered[:, -1], covered[:, :, 0], covered[:, :, -1]), dim=1)
    return float((border > 0).any(dim=1).float().mean())


def prior_cameras(tools: RenderTools, settings: EvaluationSettings) -> Cameras:
    """Return the views that the prior is asked about: the protocol's azimuths, framed as the prior knows heads."""
    distance, fov = usual_framing(tools.prior_settings.cameras)
    return evaluation_cameras(1, settings.views, settings.elevation, distance, fov)


def misalignment(avatar: Avatar, tools: RenderTools, cameras: Cameras, size: int) -> float:
    """Return how much of the outline the prior changes, as a fraction of the head's area; mean over the views.

    Args:
        avatar, tools, cameras: what is rendered.
        size: rows and columns of the images that the head's area is measured in.
    """
    cameras = some_views(cameras, slice(None, None, STRIDE))
    vertices = tools.head.vertices(avatar.parameters())
    covered = tools.renderer.render(vertices, cameras, size, samples=2, gradients=False).coverage[0, :, 0]
    change = foreground_changes(avatar, tools, cameras).abs().mean((1, 2)).cpu()
    return float((change / covered.mean((1, 2)).clamp(min=1e-3)).mean())


def foreground_changes(avatar: Avatar, tools: RenderTools, cameras: Cameras) -> Float[Tensor, "V H W"]:
    """Return what the prior adds to (1) or takes from (-1) the avatar's foreground, mean over BACKGROUNDS.

    The result is on the prior's device.
    """
    prior = tools.prior
    (views,) = named_views(cameras, VIEW_WORDS[tools.prior_settings.view_words])
    condition, empty = prior.embed([with_view(avatar.prompt, view) for view in views]), prior.embed([""])
    key, changes = torch.tensor([draw_key(avatar.prompt, avatar.seed)]), []
    for number, colour in enumerate(BACKGROUNDS):
        latents = neural_latents(avatar, tools, cameras, colour)
        noise = keyed_noise(key, number, len(latents), tuple(latents.shape[1:]))[0].to(latents.device)
        changes.append(foreground_change(prior, latents, noise, condition, empty, DENOISING))
    return torch.stack(changes).mean(0)[:, 0]


def mask_change(history: History) -> float:
    """Return the mean change of the segmentation masks between refreshes; NaN with fewer than two refreshes."""
    changes = [losses["mask_change"] for _, losses in history.entries if math.isfinite(losses["mask_change"])]
    return float(np.mean(changes)) if changes else math.nan


def flicker(avatar: Avatar, tools: RenderTools, settings: EvaluationSettings) -> float:
    """Return the mean frame-to-frame change of the difference between decoded and exported renders, on the head.

    Texture that moves with the head is the same in both and cancels out; texture that swims over it remains.
    """
    azimuths = torch.linspace(-0.5, 0.5, FRAMES) * (FRAMES - 1) * STEP
    cameras = protocol_cameras(avatar, tools, settings, azimuths)
    exported = colour_and_clay(avatar, tools, cameras, settings.size, 2, settings.background)[0]
    decoded = neural_colour(decode_views(avatar, tools, cameras, settings.background), settings.size)
    vertices = tools.head.vertices(avatar.parameters())
    covered = tools.renderer.render(vertices, cameras, settings.size, gradients=False).coverage[0, :, 0] > 0.99
    apart = (decoded.astype(np.float32) - exported.astype(np.float32)) / 255
    both = (covered[1:] & covered[:-1]).numpy()
    return float(np.abs(np.diff(apart, axis=0)).mean(-1)[both].mean())
