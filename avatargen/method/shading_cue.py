"""The shading cue: the render shows the shaded geometry in latent space, so that the texture aligns with it.

The paper blends the cue in while phase 1 initialises the texture, and does not state the schedule. ``added`` is ours:
the cue's contrast on top of the texture's latents, which can stay through phase 2.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

AMBIENT, DIFFUSE = 0.1, 0.9
"""Ambient and diffuse share of the Lambertian shading (DreamFusion, arXiv 2209.14988, section 3.1)."""


def shading(normals: Float[Tensor, "B V 3 h w"], towards_light: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 1 h w"]:
    """Return the Lambert-shaded grey level, in [0, 1], under a directional light.

    Args:
        normals: unit normals in world space.
        towards_light: unit vector of each view.

    Example:
        >>> towards_camera = torch.tensor([0.0, 0.0, 1.0])
        >>> round(shading(towards_camera.view(1, 1, 3, 1, 1), towards_camera.view(1, 1, 3)).item(), 4)
        1.0
    """
    cosine = (normals * towards_light[..., None, None]).sum(2, keepdim=True)
    return AMBIENT + DIFFUSE * cosine.clamp(min=0)


def grey_to_latents(
    level: Float[Tensor, "B V 1 h w"], response: Float[Tensor, "levels C"]
) -> Float[Tensor, "B V C h w"]:
    """Return grey levels as latents, linearly interpolated in the prior's response to plain greys.

    Args:
        level: grey levels; clamped to [0, 1].
        response: latents of plain greys, from black to white; see `avatargen.priors.base.grey_response`.

    Example:
        >>> response = torch.tensor([[0.0, 10.0], [1.0, 20.0], [4.0, 40.0]])
        >>> grey_to_latents(torch.full((1, 1, 1, 1, 1), 0.75), response).flatten().tolist()
        [2.5, 30.0]
    """
    last = len(response) - 1
    place = level.clamp(0, 1).squeeze(2) * last
    below = place.floor().long().clamp(max=last - 1)
    share = (place - below)[..., None]
    return torch.lerp(response[below], response[below + 1], share).movedim(-1, 2)


def add_contrast(
    features: Float[Tensor, "B V C h w"],
    level: Float[Tensor, "B V 1 h w"],
    coverage: Float[Tensor, "B V 1 h w"],
    response: Float[Tensor, "levels C"],
    weight: float,
) -> Float[Tensor, "B V C h w"]:
    """Add the shading's contrast to texture latents: its latents less the latents of its mean over the head.

    A blended cue (`blend`) takes colour out of what the prior sees, and the texture compensates: the longer the cue
    lasts, the more the texture saturates. Added contrast does not, so it can stay through phase 2.

    Args:
        features: texture latents.
        level: grey levels, see `shading`.
        coverage: of the head; its mean grey level is taken over the covered part of each image.
        response: latents of plain greys, see `grey_to_latents`.
        weight: of the contrast.

    Example:
        >>> features, coverage = torch.zeros(1, 1, 1, 1, 2), torch.ones(1, 1, 1, 1, 2)
        >>> level = torch.tensor([0.25, 0.75]).view(1, 1, 1, 1, 2)
        >>> add_contrast(features, level, coverage, torch.tensor([[0.0], [8.0]]), weight=0.5).flatten().tolist()
        [-1.0, 1.0]
    """
    mean = (level * coverage).sum((-2, -1), keepdim=True) / coverage.sum((-2, -1), keepdim=True).clamp(min=1e-6)
    return features + weight * (grey_to_latents(level, response) - grey_to_latents(mean, response))


def blend(
    features: Float[Tensor, "B V C h w"],
    level: Float[Tensor, "B V 1 h w"],
    response: Float[Tensor, "levels C"],
    weight: float,
) -> Float[Tensor, "B V C h w"]:
    """Blend texture latents with the shading's, as the paper does.

    Args:
        features: texture latents.
        level: grey levels, see `shading`.
        response: latents of plain greys, see `grey_to_latents`.
        weight: of the shading; 1 - `weight` is the texture's.

    Example:
        >>> features, level = torch.full((1, 1, 1, 1, 1), 4.0), torch.full((1, 1, 1, 1, 1), 0.5)
        >>> blend(features, level, torch.tensor([[0.0], [2.0]]), weight=0.25).item()
        3.25
    """
    return (1 - weight) * features + weight * grey_to_latents(level, response)


def alpha(step: int, phase1_steps: int, start: float, until: float, end: float = 0.0) -> float:
    """Return the cue's weight at a step: it falls linearly in phase 1, and then stays.

    Args:
        step: steps done.
        phase1_steps: length of phase 1.
        start: weight at step 0; with 0 there is no cue at any step.
        until: fraction of phase 1 at which the weight reaches `end`.
        end: weight from there on, phase 2 included.

    Example:
        >>> [alpha(step, phase1_steps=100, start=0.5, until=0.5) for step in (0, 25, 50, 100)]
        [0.5, 0.25, 0.0, 0.0]
    """
    last = until * phase1_steps
    if start == 0:
        return 0.0
    return end + (start - end) * max(0.0, 1 - step / last) if last > 0 else end
