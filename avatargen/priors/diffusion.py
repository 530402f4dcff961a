"""The formulas of diffusion models that score distillation and sampling share, one pure function each.

Conventions: `a` is alpha-bar at the timestep, z_t = sqrt(a) z + sqrt(1-a) eps; classifier-free guidance is
eps_u + s (eps_c - eps_u), so s = 1 is the conditional prediction; in any stacked batch the unconditional half
comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.priors.base import Prior


def add_noise(
    latents: Float[Tensor, "N C h w"], noise: Float[Tensor, "N C h w"], a: Float[Tensor, " N"]
) -> Float[Tensor, "N C h w"]:
    """Diffuse latents to signal level `a` (DDPM, arXiv 2006.11239, eq. 4).

    Args:
        latents: clean.
        noise: standard normal.
        a: alpha-bar at the timestep.

    Example:
        >>> latents, noise = torch.full((1, 4, 8, 8), 2.0), torch.zeros(1, 4, 8, 8)
        >>> add_noise(latents, noise, torch.tensor([0.25])).unique().tolist()
        [1.0]
    """
    a = a[:, None, None, None]
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def guide(
    unconditional: Float[Tensor, "N C h w"], conditional: Float[Tensor, "N C h w"], scale: float
) -> Float[Tensor, "N C h w"]:
    """Apply classifier-free guidance (arXiv 2207.12598, eq. 6 with s = 1 + w).

    Args:
        unconditional: prediction for the empty prompt.
        conditional: prediction for the prompt.
        scale: guidance scale s; 1 gives the conditional prediction.

    Example:
        >>> unconditional, conditional = torch.zeros(1, 4, 8, 8), torch.ones(1, 4, 8, 8)
        >>> guide(unconditional, conditional, 100.0).unique().tolist()
        [100.0]
    """
    return unconditional + scale * (conditional - unconditional)


def to_epsilon(
    output: Float[Tensor, "N C h w"], noisy: Float[Tensor, "N C h w"], a: Float[Tensor, " N"], prediction: str
) -> Float[Tensor, "N C h w"]:
    """Return the noise that a network's output implies.

    Args:
        output: of the network.
        noisy: latents that the network was given.
        a: alpha-bar at the timestep.
        prediction: ``epsilon``, ``v_prediction`` (arXiv 2202.00512) or ``sample``.

    Raises:
        ValueError: `prediction` is another name.

    Example:
        >>> noisy, a = torch.full((1, 4, 8, 8), 2.0), torch.tensor([0.75])
        >>> to_epsilon(torch.zeros(1, 4, 8, 8), noisy, a, "sample").unique().tolist()  # 2 = sqrt(0.25) * 4
        [4.0]
    """
    a = a[:, None, None, None]
    if prediction == "epsilon":
        return output
    if prediction == "v_prediction":
        return a.sqrt() * output + (1 - a).sqrt() * noisy
    if prediction == "sample":
        return (noisy - a.sqrt() * output) / (1 - a).sqrt()
    raise ValueError(f"prediction type: got '{prediction}'; expected epsilon, v_prediction or sample")


def to_sample(
    epsilon: Float[Tensor, "N C h w"], noisy: Float[Tensor, "N C h w"], a: Float[Tensor, " N"]
) -> Float[Tensor, "N C h w"]:
    """Return the one-step estimate of the clean latents.

    Args:
        epsilon: predicted noise.
        noisy: latents that the network was given.
        a: alpha-bar at the timestep.

    Example:
        >>> noisy, a = torch.full((1, 4, 8, 8), 2.0), torch.tensor([0.25])
        >>> to_sample(torch.zeros(1, 4, 8, 8), noisy, a).unique().tolist()  # 2 = sqrt(0.25) * 4
        [4.0]
    """
    a = a[:, None, None, None]
    return (noisy - (1 - a).sqrt() * epsilon) / a.sqrt()


class Query(NamedTuple):
    """Latents whose noise a prior is asked for.

    Attributes:
        noisy: latents at timesteps `t`.
        t: timestep of each sample.
        condition: text embedding of each sample's prompt, or one for all.
    """

    noisy: Float[Tensor, "N C h w"]
    t: Int[Tensor, " N"]
    condition: Float[Tensor, "M L D"]


def predict_epsilons(prior: Prior, queries: Sequence[Query]) -> list[Float[Tensor, "N C h w"]]:
    """Predict the noise in latents, in one network call for all queries.

    Args:
        prior: predicts.
        queries: of any lengths.
    """
    conditions = [query.condition.expand(len(query.t), -1, -1) for query in queries]
    noisy, t = torch.cat([query.noisy for query in queries]), torch.cat([query.t for query in queries])
    output = prior.predict(noisy, t, torch.cat(conditions))
    epsilon = to_epsilon(output, noisy, prior.alphas_cumprod[t], prior.prediction)
    return list(epsilon.split([len(query.t) for query in queries]))


def guided_epsilon(
    prior: Prior,
    noisy: Float[Tensor, "N C h w"],
    t: Int[Tensor, " N"],
    condition: Float[Tensor, "N L D"],
    unconditional: Float[Tensor, "1 L D"],
    scale: float | None,
) -> Float[Tensor, "N C h w"]:
    """Predict the noise in latents with classifier-free guidance, in one network call of twice the batch.

    Args:
        prior: predicts.
        noisy: latents at timesteps `t`.
        t: timestep of each sample.
        condition: text embedding of each sample's prompt.
        unconditional: text embedding of the empty prompt.
        scale: guidance scale s; None gives the conditional prediction, in a call of the batch's size.
    """
    named = Query(noisy, t, condition)
    if scale is None:
        return predict_epsilons(prior, [named])[0]
    without, given = predict_epsilons(prior, [Query(noisy, t, unconditional), named])
    return guide(without, given, scale)


def ddim_step(
    prior: Prior,
    noisy: Float[Tensor, "N C h w"],
    time: Int[Tensor, ""],
    following: Float[Tensor, " N"],
    condition: Float[Tensor, "N L D"],
    unconditional: Float[Tensor, "1 L D"],
    scale: float | None,
) -> tuple[Float[Tensor, "N C h w"], Float[Tensor, "N C h w"]]:
    """Take one step of DDIM (arXiv 2010.02502, eq. 12 with sigma = 0).

    Args:
        prior, noisy, condition, unconditional, scale: see `guided_epsilon`.
        time: timestep of all latents.
        following: alpha-bar at the next timestep.

    Returns:
        the estimate of the clean latents, and the latents at the next timestep.
    """
    t = time.expand(len(noisy))
    epsilon = guided_epsilon(prior, noisy, t, condition, unconditional, scale)
    clean = to_sample(epsilon, noisy, prior.alphas_cumprod[t])
    return clean, add_noise(clean, epsilon, following)
