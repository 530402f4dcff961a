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

from avatargen.distill import add_noise, guide, to_epsilon, to_sample
from avatargen.priors.base import Prior
from avatargen.priors.parts import DECODED, in_parts
from avatargen.types import RenderOutput

TOLERANCE, UNREST, SOFTNESS = 0.12, 2.0, 0.03
"""A pixel is foreground where its RGB distance from the background exceeds TOLERANCE and UNREST times the frame's."""
FRAME = 0.05
"""Share of the image at its left, right and top edge that shows the background (a neck may leave at the bottom)."""
AREA = (0.04, 0.9)
"""Plausible share of the image that a head covers; masks outside are rejected."""


@dataclass(frozen=True)
class Denoising:
    """How an estimate is made of what a prior sees in a noised render.

    Attributes:
        start: how far the render is noised, as a fraction of the schedule.
        steps: network evaluations; one is the classic one-step estimate.
        guidance: classifier-free guidance scale.
    """

    start: float
    steps: int
    guidance: float


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


def foreground_change(
    prior: Prior, latents: Float[Tensor, "N C h w"], noise: Float[Tensor, "N C h w"],
    condition: Float[Tensor, "N L D"], unconditional: Float[Tensor, "1 L D"], denoising: Denoising,
) -> Float[Tensor, "N 1 H W"]:  # fmt: skip
    """What the prior adds to (1), or takes from (-1), the foreground of images over a plain background.

    They are noised and denoised; the foreground of what they were is subtracted from that of what they become.
    """
    clean = _denoise(prior, latents, noise, condition, unconditional, denoising)
    became, was = (in_parts(lambda part: foreground(prior.decode(part)), DECODED, some) for some in (clean, latents))
    return became - was


def foreground(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 1 H W"]:
    """What differs from the plain background, in [0, 1].

    The background is what the frame of the image shows (its median), not what it was rendered over: guidance shifts
    the colour of the whole background by more than the difference of a pale skin from it. How far a colour must be
    from it grows with the unrest of the frame.
    """
    edge = max(1, round(FRAME * images.shape[-1]))
    frame = torch.cat([part.flatten(2) for part in (images[..., :edge, :], images[..., :edge], images[..., -edge:])], 2)
    background = frame.median(dim=2).values[..., None]
    unrest = _length(frame - background).median(dim=2).values
    distance = _length(images - background[..., None])
    tolerance = (TOLERANCE + UNREST * unrest)[..., None, None]
    return torch.sigmoid((distance - tolerance) / SOFTNESS)


def _length(colours: Tensor) -> Tensor:
    """Euclidean length over dim 1, kept; `norm` over a few strided channels takes thirty times as long on the CPU."""
    return colours.square().sum(1, keepdim=True).sqrt()


def _denoise(
    prior: Prior, latents: Tensor, noise: Tensor, condition: Tensor, unconditional: Tensor, denoising: Denoising
) -> Float[Tensor, "N C h w"]:
    """Noise the latents and denoise them by DDIM.

    The last of the even steps ends at no noise (arXiv 2010.02502, eq. 12 with sigma = 0).
    """
    times = (
        torch.linspace(denoising.start, 0, denoising.steps + 1)[:-1]
        .mul(len(prior.alphas_cumprod))
        .long()
        .to(latents.device)
    )
    both = torch.cat([unconditional.expand_as(condition), condition])
    noisy = add_noise(latents, noise, prior.alphas_cumprod[times[0]].expand(len(latents)))
    for k, time in enumerate(times):
        t = time.expand(len(latents))
        a = prior.alphas_cumprod[t]
        outputs = prior.predict(noisy.repeat(2, 1, 1, 1), t.repeat(2), both)
        empty, named = (to_epsilon(half, noisy, a, prior.prediction) for half in outputs.chunk(2))
        epsilon = guide(empty, named, denoising.guidance)
        clean = to_sample(epsilon, noisy, a)
        if k + 1 < denoising.steps:
            noisy = add_noise(clean, epsilon, prior.alphas_cumprod[times[k + 1]].expand(len(latents)))
    return clean


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
