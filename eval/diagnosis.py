"""The failure signatures of score distillation, measured on each avatar.

misaligned    what the prior, shown the finished avatar over a plain background, adds to or takes from its outline, of
              the area of the head: where texture and geometry disagree
saturated     share of the head's pixels of which a channel is black or full
masks         change of the segmentation masks from one refresh to the next, of the area of the head
at_bounds     share of the shape coefficients that lie at a bound
at_limit      share of the vertices of whose offset a component is at its limit
flicker       what the decoded renders change from frame to frame of a fine turntable beyond the exported texture, RGB

Each has a value from which it is a finding. These are ours: about what separates good avatars from bad ones by eye. Two
that the eye cannot tell were set by earlier studies: of misalignment, what hardly a true head reaches (a prior never
agrees with an outline altogether: 2 of the 36 in results/reference); of masks, what a fifth of the avatars by `full`
reached then, and one of 72 does now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.config.experiment import EvaluationSettings
from avatargen.geometry.cameras import evaluation_cameras, keyed_noise
from avatargen.geometry.types import Cameras
from avatargen.io.avatar_file import Avatar
from avatargen.io.history import History
from avatargen.priors.foreground import Denoising, foreground_change
from avatargen.priors.view_prompts import VIEW_WORDS, named_views, with_view
from eval.images import Images
from eval.views import (
    RenderTools,
    colour_and_clay,
    decode_views,
    neural_colour,
    neural_latents,
    protocol_cameras,
    some_views,
)

FINDINGS = {
    "misaligned": 0.25, "saturated": 0.25, "masks": 0.25, "at_bounds": 0.1, "at_limit": 0.02, "flicker": 0.03
}  # fmt: skip
"""The least value of each measure that is a finding."""
BACKGROUNDS = ((0.15, 0.35, 0.95), (0.95, 0.15, 0.85))
"""Far apart: what blends into one of them does not blend into the other."""
DENOISING = Denoising(start=0.6, steps=3, guidance=4.0)
"""How it is found out what the prior makes of a render: part of the protocol, whatever the method does."""
STRIDE = 2
"""Every which view of the protocol is shown to the prior."""
FRAMES, STEP = 7, 2.5
"""Frames of the fine turntable, and degrees between them."""
CLIPPED = 3
"""Levels of 255 from black or full at which a channel counts as clipped."""
EDGE = 0.01
"""Share of its range within which a coefficient lies at a bound, and of its limit an offset."""


@dataclass(frozen=True)
class Diagnosis:
    """Measures of one avatar, see the module; NaN where one does not apply (a true head has no masks)."""

    misaligned: float
    saturated: float
    masks: float
    at_bounds: float
    at_limit: float
    flicker: float

    @property
    def findings(self) -> list[str]:
        """The measures that are findings."""
        return [name for name, least in FINDINGS.items() if getattr(self, name) >= least]


@torch.no_grad()
def diagnose(
    avatar: Avatar, tools: RenderTools, settings: EvaluationSettings, shown: Images, history: History
) -> Diagnosis:
    """Measure the failure signatures of one avatar, by the protocol's cameras.

    Args:
        shown: its neural colours, as judges see them: the views `texture`.
    """
    cameras = protocol_cameras(settings)
    vertices = tools.head.vertices(avatar.parameters())
    covered = tools.renderer.render(vertices, cameras, settings.size, samples=2, gradients=False).coverage[0, :, 0]
    clipped = np.minimum(shown, 255 - shown).min(-1) <= CLIPPED
    limit = avatar.config.get("method", {}).get("offset_limit_mm", math.inf) / 1e3
    offsets = avatar.offsets if avatar.topology is None else avatar.offsets[:0]  # those of a mesh are its vertices
    low, high = tools.head.shape_bounds
    margin = EDGE * (high - low)
    near = (avatar.shape <= low + margin) | (avatar.shape >= high - margin)
    return Diagnosis(
        misaligned=misalignment(avatar, tools, cameras, covered),
        saturated=float(clipped[(covered > 0.99).numpy()].mean()),
        masks=mask_change(history),
        at_bounds=float(near[low < high].float().mean()),
        at_limit=float((offsets.abs().amax(-1) >= (1 - EDGE) * limit).float().mean()),
        flicker=flicker(avatar, tools, settings),
    )


def misalignment(avatar: Avatar, tools: RenderTools, cameras: Cameras, covered: Float[Tensor, "V H W"]) -> float:
    """What the prior changes of the avatar's outline, of the area that it covers; mean over the views."""
    cameras, covered = some_views(cameras, slice(None, None, STRIDE)), covered[::STRIDE]
    change = outline_change(avatar, tools, cameras).cpu()
    return float((change / covered.mean((1, 2)).clamp(min=1e-3)).mean())


def outline_change(avatar: Avatar, tools: RenderTools, cameras: Cameras) -> Float[Tensor, " V"]:
    """Share of each view that the prior adds to the avatar's outline or takes from it, on the prior's device."""
    prior = tools.prior
    (views,) = named_views(cameras, VIEW_WORDS[tools.prior_settings.view_words])
    condition, empty = prior.embed([with_view(avatar.prompt, view) for view in views]), prior.embed([""])
    changes = []
    for number, colour in enumerate(BACKGROUNDS):
        latents = neural_latents(avatar, tools, cameras, colour)
        noise = keyed_noise(torch.tensor([avatar.seed]), number, len(latents), tuple(latents.shape[1:]))[0]
        noise = noise.to(latents.device)
        changes.append(foreground_change(prior, latents, noise, condition, empty, DENOISING))
    return torch.stack(changes).mean(0)[:, 0].abs().mean((1, 2))


def mask_change(history: History) -> float:
    """Mean change of the masks from refresh to refresh; NaN where there were not two."""
    changes = [losses["mask_change"] for _, losses in history.entries if math.isfinite(losses["mask_change"])]
    return float(np.mean(changes)) if changes else math.nan


def flicker(avatar: Avatar, tools: RenderTools, settings: EvaluationSettings) -> float:
    """Mean change, from frame to frame, of how the decoded renders differ from the exported ones, on the head.

    What moves with the head moves in both alike and cancels out; what swims over it does not.
    """
    one = evaluation_cameras(1, views=FRAMES, elevation=settings.elevation, fov=settings.fov)
    azimuth = torch.linspace(-0.5, 0.5, FRAMES)[None] * (FRAMES - 1) * STEP
    cameras = replace(one, azimuth=azimuth)
    exported = colour_and_clay(avatar, tools, cameras, settings.size, 2, settings.background)[0]
    decoded = neural_colour(decode_views(avatar, tools, cameras, settings.background), settings.size)
    vertices = tools.head.vertices(avatar.parameters())
    covered = tools.renderer.render(vertices, cameras, settings.size, gradients=False).coverage[0, :, 0] > 0.99
    apart = (decoded.astype(np.float32) - exported.astype(np.float32)) / 255
    both = (covered[1:] & covered[:-1]).numpy()
    return float(np.abs(np.diff(apart, axis=0)).mean(-1)[both].mean())
