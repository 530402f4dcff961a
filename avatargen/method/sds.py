"""Score distillation sampling, one pure function for each of its parts.

The gradient of the latents is w(t) (eps_hat - eps) (DreamFusion, arXiv 2209.14988, eq. 3). `a` is alpha-bar at the
timestep; see `avatargen.priors.diffusion` for noising and guidance.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def weight(a: Float[Tensor, " N"], kind: str) -> Float[Tensor, " N"]:
    """Return w(t).

    Args:
        a: alpha-bar at the timesteps.
        kind: ``latent_paint`` (sqrt(a) (1-a)), ``dreamfusion`` (1-a) or ``uniform`` (1).

    Raises:
        ValueError: `kind` is another name.

    Example:
        >>> weight(torch.tensor([0.25, 0.75]), "dreamfusion").tolist()
        [0.75, 0.25]
    """
    if kind == "latent_paint":
        return a.sqrt() * (1 - a)
    if kind == "dreamfusion":
        return 1 - a
    if kind == "uniform":
        return torch.ones_like(a)
    raise ValueError(f"weighting: got '{kind}'; expected latent_paint, dreamfusion or uniform")


def sds_gradient(
    epsilon: Float[Tensor, "N C h w"], noise: Float[Tensor, "N C h w"], w: Float[Tensor, " N"]
) -> Float[Tensor, "N C h w"]:
    """Return the gradient of the latents, w(t) (eps_hat - eps).

    Args:
        epsilon: the prior's guided prediction, eps_hat.
        noise: what was added to the latents, eps.
        w: see `weight`.

    Example:
        >>> predicted, noise = torch.full((2, 4, 8, 8), 3.0), torch.ones(2, 4, 8, 8)
        >>> sds_gradient(predicted, noise, torch.tensor([0.5, 2.0]))[:, 0, 0, 0].tolist()
        [1.0, 4.0]
    """
    return w[:, None, None, None] * (epsilon - noise)
