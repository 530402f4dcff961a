"""The foreground that a prior sees in images over a plain background, before and after denoising.

A low timestep only echoes the render; strong guidance breaks thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.priors.base import Prior
from avatargen.priors.diffusion import add_noise, ddim_step
from avatargen.priors.parts import DECODED, in_parts

TOLERANCE, UNREST, SOFTNESS = 0.12, 2.0, 0.03
"""A pixel is foreground where its RGB distance from the background exceeds TOLERANCE plus UNREST times the median
distance of the frame; SOFTNESS is the width of the sigmoid."""
FRAME = 0.05
"""Width of the frame as a share of the image: the left, right and top edge, which show the background. A neck may reach
the bottom edge."""


@dataclass(frozen=True)
class Denoising:
    """Settings of an estimate of what a prior sees in a noised render.

    Attributes:
        start: timestep that the render is noised to, as a fraction of the schedule.
        steps: network evaluations; 1 gives the usual one-step estimate.
        guidance: classifier-free guidance scale.
    """

    start: float
    steps: int
    guidance: float


def foreground_change(
    prior: Prior,
    latents: Float[Tensor, "N C h w"],
    noise: Float[Tensor, "N C h w"],
    condition: Float[Tensor, "N L D"],
    unconditional: Float[Tensor, "1 L D"],
    denoising: Denoising,
) -> Float[Tensor, "N 1 H W"]:
    """Return what the prior adds to (1) or takes from (-1) the foreground of images over a plain background.

    The images are noised and denoised; the foreground before is subtracted from the foreground after.

    Args:
        prior: denoises and decodes.
        latents: of the images.
        noise: one draw for each image.
        condition: text embedding of each image's prompt.
        unconditional: text embedding of the empty prompt.
        denoising: timestep, steps and guidance.
    """
    clean = denoise(prior, latents, noise, condition, unconditional, denoising)
    became, was = (in_parts(lambda part: foreground(prior.decode(part)), DECODED, some) for some in (clean, latents))
    return became - was


def foreground(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 1 H W"]:
    """Return what differs from the plain background, in [0, 1].

    The background's colour is the median of the image's frame, not the colour it was rendered with: guidance shifts the
    whole background by more than a pale skin differs from it. The required distance from it grows with the noise of the
    frame.

    Args:
        images: RGB in [0, 1].

    Example:
        >>> image = torch.zeros(1, 3, 64, 64)
        >>> image[..., 16:48, 16:48] = 1.0
        >>> foreground(image).round().sum().item()  # 32 x 32 pixels
        1024.0
    """
    edge = max(1, round(FRAME * images.shape[-1]))
    frame = torch.cat([part.flatten(2) for part in (images[..., :edge, :], images[..., :edge], images[..., -edge:])], 2)
    background = frame.median(dim=2).values[..., None]
    unrest = _length(frame - background).median(dim=2).values
    distance = _length(images - background[..., None])
    tolerance = (TOLERANCE + UNREST * unrest)[..., None, None]
    return torch.sigmoid((distance - tolerance) / SOFTNESS)


def denoise(
    prior: Prior,
    latents: Float[Tensor, "N C h w"],
    noise: Float[Tensor, "N C h w"],
    condition: Float[Tensor, "N L D"],
    unconditional: Float[Tensor, "1 L D"],
    denoising: Denoising,
) -> Float[Tensor, "N C h w"]:
    """Noise latents, then denoise them by DDIM in even steps, the last of which ends at no noise.

    Args:
        prior, latents, noise, condition, unconditional, denoising: see `foreground_change`.
    """
    fractions = torch.linspace(denoising.start, 0, denoising.steps + 1)[:-1]
    times = fractions.mul(len(prior.alphas_cumprod)).long().tolist()  # on the host: reading a GPU would wait for it
    levels = [prior.alphas_cumprod[time].expand(len(latents)) for time in times]
    noisy, clean = add_noise(latents, noise, levels[0]), latents
    for k, time in enumerate(times):
        following = levels[min(k + 1, len(levels) - 1)]
        t = torch.full((), time, device=latents.device)
        clean, noisy = ddim_step(prior, noisy, t, following, condition, unconditional, denoising.guidance)
    return clean


def _length(colours: Tensor) -> Tensor:
    """Return the Euclidean length over dim 1 (kept); on the CPU, 30 times faster than `norm` over 3 channels."""
    return colours.square().sum(1, keepdim=True).sqrt()
