"""The segmentation loss of phase 2: the mesh's silhouette is pulled to the foreground the prior sees.

Masks cannot be averaged over random cameras, so each avatar has a fixed set of them, with one mask each. A mask is
refreshed every so often from a few one-step denoised estimates at middle timesteps and mild guidance, decoded and
compared with the known plain background. A low timestep only echoes the template; strong guidance breaks thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from avatargen.distill import add_noise, guide, to_epsilon, to_sample
from avatargen.priors.base import Prior
from avatargen.types import RenderOutput

GUIDANCE = 4.0
TIMESTEPS = (0.5, 0.6, 0.7)
"""Fractions of the schedule at which estimates are made, one for each."""
TOLERANCE = 0.12
SOFTNESS = 0.03
"""A pixel is foreground where its colour differs from the background by more than TOLERANCE (RGB distance)."""
AREA = (0.08, 0.9)
"""Plausible share of the image that a head covers; masks outside are rejected."""


@dataclass(frozen=True)
class Masks:
    """Foreground in [0, 1] for each fixed camera, and which of them are to be trusted."""

    foreground: Float[Tensor, "B M 1 H W"]
    valid: Bool[Tensor, "B M"]


def estimate_masks(
    prior: Prior,
    seen: RenderOutput,
    background_latents: Float[Tensor, "K C"],
    backgrounds: Float[Tensor, "K 3"],
    noise: Float[Tensor, "B M K C h w"],
    conditional: Float[Tensor, "B M L D"],
    unconditional: Float[Tensor, "1 L D"],
    size: int,
) -> Masks:
    """Foreground of what the prior makes of the current renders, at `size` x `size`.

    Args:
        seen: latents rendered from the fixed cameras.
        backgrounds, background_latents: a plain background for each of TIMESTEPS (K), in colour and in latents.
        noise: one draw for each of TIMESTEPS.
        conditional: text embedding of each camera's prompt.
    """
    batch, views = seen.coverage.shape[:2]
    condition, total = conditional.flatten(0, 1), len(prior.alphas_cumprod)
    foregrounds = []
    for k, fraction in enumerate(TIMESTEPS):
        flat = seen.over(background_latents[k].view(1, 1, -1, 1, 1)).flatten(0, 1)
        t = torch.full((len(flat),), int(fraction * total), device=flat.device)
        clean = _denoise(prior, flat, noise[:, :, k].flatten(0, 1), t, condition, unconditional)
        distance = (prior.decode(clean) - backgrounds[k].view(1, 3, 1, 1)).square().sum(1, keepdim=True).sqrt()
        foregrounds.append(torch.sigmoid((distance - TOLERANCE) / SOFTNESS))
    mean = F.adaptive_avg_pool2d(torch.stack(foregrounds).mean(0), size)
    area = mean.mean(dim=(1, 2, 3))
    valid = (area > AREA[0]) & (area < AREA[1])
    return Masks(mean.unflatten(0, (batch, views)), valid.unflatten(0, (batch, views)))


def _denoise(
    prior: Prior, latents: Tensor, noise: Tensor, t: Tensor, condition: Tensor, unconditional: Tensor
) -> Float[Tensor, "N C h w"]:
    a = prior.alphas_cumprod[t]
    noisy = add_noise(latents, noise, a)
    both = torch.cat([unconditional.expand_as(condition), condition])
    outputs = prior.predict(noisy.repeat(2, 1, 1, 1), t.repeat(2), both)
    empty, named = (to_epsilon(half, noisy, a, prior.prediction) for half in outputs.chunk(2))
    return to_sample(guide(empty, named, GUIDANCE), noisy, a)


def silhouette_loss(coverage: Float[Tensor, "B M 1 H W"], masks: Masks) -> Float[Tensor, " B"]:
    """Mean squared difference of silhouette and foreground over the trusted masks; 0 where there is none."""
    error = (coverage - masks.foreground).square().mean(dim=(2, 3, 4))
    return (error * masks.valid).sum(1) / masks.valid.sum(1).clamp(min=1)
