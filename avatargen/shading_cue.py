"""The shading cue of phase 1: shaded geometry, in latent space, blended into the render so that features land
where the geometry has them (paper, section on texture initialisation; the schedule of alpha is ours).
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


def alpha(step: int, phase1_steps: int, start: float, until: float) -> float:
    """Weight of the cue at a step: falls as a line from `start` to 0 at the fraction `until` of phase 1."""
    end = until * phase1_steps
    return start * max(0.0, 1 - step / end) if end > 0 else 0.0
