"""The segmentation loss of phase 2 pulls the mesh's silhouette to the foreground that the prior sees.

Masks cannot be averaged over random cameras, so each avatar has a fixed set of cameras with one mask each. Every few
steps a mask is estimated anew: a render over several plain backgrounds is noised and denoised at mild guidance,
decoded, and compared with the colour of its frame. A low timestep only echoes the template; strong guidance breaks
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
"""Smallest and largest plausible share of the image that a head covers; other masks are not trusted."""


@dataclass(frozen=True)
class Masks:
    """Masks of M fixed cameras of each avatar.

    Attributes:
        foreground: in [0, 1].
        valid: False for masks that are not trusted.
    """

    foreground: Float[Tensor, "B M 1 H W"]
    valid: Bool[Tensor, "B M"]

    def view(self, index: int) -> Masks:
        """Return the masks of one camera of each avatar."""
        one = slice(index, index + 1)
        return Masks(self.foreground[:, one].contiguous(), self.valid[:, one].contiguous())


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
    """Estimate the foreground of what the prior makes of the current renders.

    A mask is the silhouette of the mesh plus the prior's change of the foreground. The foreground of the denoised image
    alone would be biased: a threshold on a decoded image lies off the true outline by a fraction of a latent pixel, and
    a head that follows such masks grows with every refresh.

    Args:
        prior: denoises and decodes.
        seen: latents rendered from the M fixed cameras.
        silhouette: coverage of the same meshes, at the masks' resolution.
        background_latents: a plain background for each of K estimates, whose changes are averaged.
        noise: one draw for each estimate.
        conditional: text embedding of each camera's prompt.
        unconditional: text embedding of the empty prompt.
        denoising: how far the renders are noised, and how they are denoised.
    """
    condition, flat_silhouette = conditional.flatten(0, 1), silhouette.flatten(0, 1)
    changes = []
    for k, background in enumerate(background_latents):
        flat = seen.over(background.view(1, 1, -1, 1, 1)).flatten(0, 1)
        draw = noise[:, :, k].flatten(0, 1)
        changes.append(foreground_change(prior, flat, draw, condition, unconditional, denoising))
    change = F.adaptive_avg_pool2d(torch.stack(changes).mean(0), silhouette.shape[-1])
    made = (flat_silhouette + change).clamp(0, 1)
    finite = made.isfinite().flatten(1).all(1)  # a decoder may overflow, and 0 x nan is nan
    made = torch.where(finite.view(-1, 1, 1, 1), made, flat_silhouette)
    area = made.mean(dim=(1, 2, 3))
    valid = finite & (area > AREA[0]) & (area < AREA[1])
    return Masks(made.view_as(silhouette), valid.view(silhouette.shape[:2]))


def silhouette_loss(coverage: Float[Tensor, "B M 1 H W"], masks: Masks) -> Float[Tensor, " B"]:
    """Return the squared difference of silhouette and mask, summed over pixels, mean over the trusted masks.

    It is a sum over pixels, as score distillation's gradient is. It is 0 for an avatar without trusted masks.

    Args:
        coverage: silhouettes of the meshes, differentiable.
        masks: of the same cameras.

    Example:
        >>> masks = Masks(torch.zeros(1, 2, 1, 4, 4), torch.tensor([[True, False]]))
        >>> silhouette_loss(torch.full((1, 2, 1, 4, 4), 0.5), masks).tolist()
        [4.0]
    """
    error = (coverage - masks.foreground).square().sum(dim=(2, 3, 4))
    return (error * masks.valid).sum(1) / masks.valid.sum(1).clamp(min=1)


def relative_change(before: Masks, after: Masks) -> Float[Tensor, " B"]:
    """Return how much the masks of an avatar changed, as a share of the head's area.

    Mean over the masks that are trusted before and after; 0 where there are none.

    Example:
        >>> valid = torch.ones(1, 1, dtype=torch.bool)
        >>> before, after = torch.zeros(1, 1, 1, 4, 4), torch.zeros(1, 1, 1, 4, 4)
        >>> before[..., :2], after[..., :4] = 1, 1
        >>> relative_change(Masks(before, valid), Masks(after, valid)).tolist()
        [0.5]
    """
    both = (before.valid & after.valid).float()
    changed = (after.foreground - before.foreground).abs().sum(dim=(2, 3, 4))
    area = after.foreground.sum(dim=(2, 3, 4)).clamp(min=1)
    return (both * changed / area).sum(1) / both.sum(1).clamp(min=1)
