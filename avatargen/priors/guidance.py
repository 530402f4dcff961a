"""What is done to guided predictions against saturation and against faces on every side, one pure function each.

Strong guidance pushes the estimate of the clean latents beyond what the prior knows. `rescale` and `threshold` pull it
back; `perpendicular` lets a negative prompt push only where it does not undo the prompt.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

PERCENTILE = 0.995
"""Share of the latents' absolute values below the threshold (the default of diffusers' schedulers)."""


def perpendicular(change: Float[Tensor, "N C h w"], direction: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
    """Return the part of a change that is perpendicular to a direction (Perp-Neg, arXiv 2304.04968).

    Args:
        change: what a negative prompt changes of the prediction.
        direction: what the prompt changes of it; where it is zero, the change stays whole.

    Example:
        >>> change, direction = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
        >>> perpendicular(change, direction).flatten().tolist()
        [0.0, 4.0]
    """
    along = (change * direction).sum((1, 2, 3), keepdim=True)
    length = direction.square().sum((1, 2, 3), keepdim=True)
    return change - _ratio(along, length, 0.0) * direction


def rescale(
    guided: Float[Tensor, "N C h w"], conditional: Float[Tensor, "N C h w"], strength: float
) -> Float[Tensor, "N C h w"]:
    """Give guided latents the standard deviation of unguided ones (Lin et al., arXiv 2305.08891, eq. 15 and 16).

    Args:
        guided: latents with guidance.
        conditional: latents without.
        strength: phi, share of the rescaled latents in the result, in [0, 1].

    Example:
        >>> guided, conditional = torch.tensor([-4.0, 4.0]).view(1, 1, 1, 2), torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2)
        >>> rescale(guided, conditional, strength=0.5).flatten().tolist()
        [-2.5, 2.5]
    """
    due, found = (latents.std((1, 2, 3), keepdim=True) for latents in (conditional, guided))
    ratio = _ratio(due, found, 1.0)
    return guided * torch.lerp(torch.ones_like(ratio), ratio, strength)


def threshold(latents: Float[Tensor, "N C h w"], limit: float) -> Float[Tensor, "N C h w"]:
    """Shrink latents of which more than 0.5% lie beyond a limit, and clip the rest.

    It is dynamic thresholding (Imagen, arXiv 2205.11487, sec. 2.3), whose limit is 1, of pixels in [-1, 1].

    Args:
        latents: clean, of each sample.
        limit: absolute value that the largest latents get.

    Example:
        >>> latents = torch.tensor([-4.0] * 100 + [2.0] * 100).view(1, 2, 10, 10)
        >>> threshold(latents, limit=1.0).unique().tolist(), threshold(latents, limit=5.0).unique().tolist()
        ([-1.0, 0.5], [-4.0, 2.0])
    """
    largest = latents.abs().flatten(1).quantile(PERCENTILE, dim=1).clamp(min=limit)[:, None, None, None]
    return latents.clamp(-largest, largest) * (limit / largest)


def _ratio(above: Tensor, below: Tensor, otherwise: float) -> Tensor:
    """Return above / below, and `otherwise` where `below` is 0."""
    return torch.where(below > 0, above / torch.where(below > 0, below, 1.0), otherwise)
