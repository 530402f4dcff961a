"""The shading cue: shaded geometry, in latent space, in the render, so that features land where the geometry has them.

The paper blends it in while phase 1 initialises the texture; by which schedule it does not say. `added` is ours: its
contrast on top of the texture's latents, as long as one likes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

AMBIENT, DIFFUSE = 0.1, 0.9
"""Lambert's shares (DreamFusion, arXiv 2209.14988, section 3.1)."""


def shading(normals: Float[Tensor, "B V 3 h w"], towards_light: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 1 h w"]:
    """Lambert-shaded grey level in [0, 1] under a directional light; `towards_light` has unit length."""
    cosine = (normals * towards_light[..., None, None]).sum(2, keepdim=True)
    return AMBIENT + DIFFUSE * cosine.clamp(min=0)


def grey_to_latents(
    level: Float[Tensor, "B V 1 h w"], response: Float[Tensor, "levels C"]
) -> Float[Tensor, "B V C h w"]:
    """Grey levels as latents, by linear interpolation in the prior's measured response to plain greys."""
    last = len(response) - 1
    place = level.clamp(0, 1).squeeze(2) * last
    below = place.floor().long().clamp(max=last - 1)
    share = (place - below)[..., None]
    return torch.lerp(response[below], response[below + 1], share).movedim(-1, 2)


def add_contrast(
    features: Float[Tensor, "B V C h w"], level: Float[Tensor, "B V 1 h w"], coverage: Float[Tensor, "B V 1 h w"],
    response: Float[Tensor, "levels C"], weight: float,
) -> Float[Tensor, "B V C h w"]:  # fmt: skip
    """Texture latents with the shading's contrast, its latents less those of its mean over each image, on top.

    Blended in instead (`blend`), the cue takes colour out of what the prior sees, and the texture makes up for it: the
    longer the cue lasts, the more it saturates. Contrast can stay through phase 2.
    """
    mean = (level * coverage).sum((-2, -1), keepdim=True) / coverage.sum((-2, -1), keepdim=True).clamp(min=1e-6)
    return features + weight * (grey_to_latents(level, response) - grey_to_latents(mean, response))


def blend(
    features: Float[Tensor, "B V C h w"], level: Float[Tensor, "B V 1 h w"], response: Float[Tensor, "levels C"],
    weight: float,
) -> Float[Tensor, "B V C h w"]:  # fmt: skip
    """The paper's cue: texture latents and the shading's, blended."""
    return (1 - weight) * features + weight * grey_to_latents(level, response)


def alpha(step: int, phase1_steps: int, start: float, until: float, end: float = 0.0) -> float:
    """Weight of the cue at a step: falls as a line from `start` to `end` at the fraction `until` of phase 1, and stays.

    0 if it starts at 0.
    """
    last = until * phase1_steps
    if start == 0:
        return 0.0
    return end + (start - end) * max(0.0, 1 - step / last) if last > 0 else end
