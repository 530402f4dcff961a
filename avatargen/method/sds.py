"""Score distillation sampling, one pure function for each of its parts.

Conventions: `a` is alpha-bar at the timestep, z_t = sqrt(a) z + sqrt(1-a) eps; classifier-free guidance is
eps_u + s (eps_c - eps_u), so s = 1 is the conditional prediction; in any stacked batch the unconditional half
comes first. The gradient of the latents is w(t) (eps_hat - eps) (DreamFusion, arXiv 2209.14988, eq. 3).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def weight(a: Float[Tensor, " N"], kind: str) -> Float[Tensor, " N"]:
    """w(t): ``latent_paint`` sqrt(a)(1-a), ``dreamfusion`` 1-a, ``uniform`` 1.

    Raises:
        ValueError: another name.
    """
    if kind == "latent_paint":
        return a.sqrt() * (1 - a)
    if kind == "dreamfusion":
        return 1 - a
    if kind == "uniform":
        return torch.ones_like(a)
    raise ValueError(f"weighting '{kind}'; expected latent_paint, dreamfusion or uniform")


def sds_gradient(
    epsilon: Float[Tensor, "N C h w"], noise: Float[Tensor, "N C h w"], w: Float[Tensor, " N"]
) -> Float[Tensor, "N C h w"]:
    """The gradient of the latents: w(t) (eps_hat - eps)."""
    return w[:, None, None, None] * (epsilon - noise)


def timesteps(
    uniform: Float[Tensor, " N"], t_range: tuple[float, float], total: int, progress: float, anneal: bool
) -> Int[Tensor, " N"]:
    """Timesteps from uniform numbers in [0, 1); with `anneal` the upper end falls to the middle of the range."""
    low, high = t_range
    if anneal:
        high = high - progress * (high - low) / 2
    return ((low + uniform * (high - low)) * total).long().clamp(0, total - 1)
