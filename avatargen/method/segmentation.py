"""The segmentation loss of phase 2: the mesh's silhouette is pulled to the foreground the prior sees.

Masks cannot be averaged over random cameras, so each avatar has a fixed set of them, with one mask each. A mask is
refreshed every so often from a few denoised estimates at mild guidance, each over another plain background, decoded
and compared with the colour of their frame. A low timestep only echoes the template; strong guidance breaks
thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from avatargen.geometry.types import RenderOutput
from avatargen.priors.base import Prior
from avatargen.priors.foreground import Denoising, foreground_change

AREA = (0.04, 0.9)
"""Plausible share of the image that a head covers; masks outside are rejected."""


@dataclass(frozen=True)
class Masks:
    """Foreground in [0, 1] for each fixed camera, and which of them are to be trusted."""

    foreground: Float[Tensor, "B M 1 H W"]
    valid: Bool[Tensor, "B M"]


def estimate_masks(
    prior: Prior,
    seen: RenderOutput,
    silhouette: Float[Tensor, "B M 1 H W"],
    background_latents: Float[Tensor, "K C"],
    noise: Float[Tensor, "B M K C h w"],
    conditional: Float[Tensor, "B M L D"],
    unconditional: Float[Tensor, "1 L D"],
    denoising: Denoising,
) -> Masks:
    """Foreground of what the prior makes of the current renders: the silhouette, and what the prior changes of it.

    A threshold on a decoded image lies off the true outline by a fraction of a latent pixel. Refreshed again and
    again from what it has moved, such a mask would let a head grow for ever; so the foreground of the undenoised
    render is subtracted, and the render's own silhouette added.

    Args:
        seen: latents rendered from the fixed cameras.
        silhouette: coverage of the same meshes, of the size that the masks are to have.
        background_latents: a plain background for each estimate (K).
        noise: one draw for each estimate.
        conditional: text embedding of each camera's prompt.
    """
    condition, flat_silhouette = conditional.flatten(0, 1), silhouette.flatten(0, 1)
    changes = []
    for k, background in enumerate(background_latents):
        flat = seen.over(background.view(1, 1, -1, 1, 1)).flatten(0, 1)
        draw = noise[:, :, k].flatten(0, 1)
        changes.append(foreground_change(prior, flat, draw, condition, unconditional, denoising))
    change = F.adaptive_avg_pool2d(torch.stack(changes).mean(0), silhouette.shape[-1])
    made = (flat_silhouette + change).clamp(0, 1)
    finite = made.isfinite().flatten(1).all(1)  # a decoder may overflow; what is not trusted has to be a number too
    made = torch.where(finite.view(-1, 1, 1, 1), made, flat_silhouette)
    area = made.mean(dim=(1, 2, 3))
    valid = finite & (area > AREA[0]) & (area < AREA[1])
    return Masks(made.view_as(silhouette), valid.view(silhouette.shape[:2]))


def silhouette_loss(coverage: Float[Tensor, "B M 1 H W"], masks: Masks) -> Float[Tensor, " B"]:
    """Squared difference of silhouette and foreground, summed over pixels like score distillation's gradient.

    Mean over the trusted masks; 0 where there is none.
    """
    error = (coverage - masks.foreground).square().sum(dim=(2, 3, 4))
    return (error * masks.valid).sum(1) / masks.valid.sum(1).clamp(min=1)


def relative_change(before: Masks, after: Masks) -> Float[Tensor, " B"]:
    """How much of a head's area changes from one estimate of its masks to the next; 0 where none is trusted twice."""
    both = (before.valid & after.valid).float()
    changed = (after.foreground - before.foreground).abs().sum(dim=(2, 3, 4))
    area = after.foreground.sum(dim=(2, 3, 4)).clamp(min=1)
    return (both * changed / area).sum(1) / both.sum(1).clamp(min=1)
