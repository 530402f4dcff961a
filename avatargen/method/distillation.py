"""The gradient of score distillation for the views of a step: what the prior is asked, and what its answers become.

Samples are ordered by view, then by avatar. The views whose timesteps lie in the guidance interval are the same for all
avatars (:mod:`avatargen.method.timesteps`), so they are whole blocks of samples.

The gradient is w(t) (guided prediction - reference); what the reference is names the kind of distillation:

kind   reference
sds    the noise (DreamFusion, arXiv 2209.14988, eq. 3)
csd    the unconditional prediction: what is left is the classifier's score (arXiv 2310.19415)
nfsd   0 below NOISE_FREE, the prediction for the negative prompt above (arXiv 2310.17590)
asd    the conditional prediction at a timestep above, of latents with the same noise (arXiv 2407.02040)
ism    the unconditional prediction at a timestep below, on the way of DDIM's inversion to the noisy latents, whose
       noise is inverted rather than random (arXiv 2311.11284)

Evaluations of the network for a sample in the guidance interval: 2; nfsd with a negative prompt 3, asd 3, ism 6. An
opposite view adds 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.settings import PriorSettings
from avatargen.geometry.cameras import keyed_noise
from avatargen.method.context import Batch, for_views
from avatargen.method.draws import Draws
from avatargen.method.sds import sds_gradient, weight
from avatargen.priors.base import Prior
from avatargen.priors.diffusion import Query, add_noise, guide, predict_epsilons, to_epsilon, to_sample
from avatargen.priors.guidance import perpendicular, rescale, threshold

NOISE_FREE = 0.2
"""Timestep below which nfsd takes the unconditional prediction for free of noise, as a fraction (its authors' 200 of
1000)."""
SHIFT = 0.1
"""How far above a timestep asd looks: this share of its distance from the lowest one (the authors' `plus_ratio`)."""
INTERVAL, INVERSION_STEPS = 0.05, 3
"""Distance of the two timesteps of ism, as a fraction, and steps of the inversion to the lower one. The authors invert
in steps of 0.2; a fixed number keeps the batch together."""


@dataclass(frozen=True)
class Samples:
    """Rendered latents and what the prior is told about them; N = views x avatars, ordered by view.

    Attributes:
        clean: the rendered latents.
        noise: what is added.
        t: timesteps.
        condition: embeddings of prompt and view.
        opposite: embeddings of prompt and opposite view.
        empty: embedding of the empty prompt, or of the negative prompt that takes its place.
        avatars: number of samples of each view.
        guided: views that may need an unconditional prediction.
    """

    clean: Float[Tensor, "N C h w"]
    noise: Float[Tensor, "N C h w"]
    t: Int[Tensor, " N"]
    condition: Float[Tensor, "N L D"]
    opposite: Float[Tensor, "N L D"]
    empty: Float[Tensor, "1 L D"]
    avatars: int
    guided: list[int]

    def inside(self, rows: Tensor) -> Tensor:
        """Return the samples of the guided views."""
        parts = [rows[self.avatars * view : self.avatars * (view + 1)] for view in self.guided]
        return torch.cat(parts) if parts else rows[:0]

    def spread(self, inside: Tensor, others: Tensor) -> Tensor:
        """Return all samples: those of guided views from `inside`, the rest from `others`."""
        parts, chosen = list(others.split(self.avatars)), inside.split(self.avatars)
        for view, part in zip(self.guided, chosen, strict=bool(self.guided)):
            parts[view] = part
        return torch.cat(parts)


@torch.no_grad()
def distillation_gradient(
    batch: Batch, step: int, latents: Float[Tensor, "B V C h w"], draws: Draws
) -> Float[Tensor, "B V C h w"]:
    """Return the gradient of the latents.

    Args:
        batch: prior, its settings and the prompts.
        step: steps done.
        latents: rendered.
        draws: of the step.
    """
    prior, settings = batch.context.prior, batch.context.settings
    samples = _samples(batch, step, latents, draws)
    a = prior.alphas_cumprod[samples.t]
    if settings.distillation == "ism":
        noisy, inverted = invert(prior, samples)
    else:
        noisy, inverted = add_noise(samples.clean, samples.noise, a), None
    epsilon, without = _guided(prior, settings, samples, noisy)
    match settings.distillation:
        case "csd":
            reference = without
        case "nfsd":
            negative = batch.prompts.negative if settings.negative_prompt else None
            reference = _noise_free(prior, samples, noisy, without, negative)
        case "asd":
            reference = _shifted(prior, settings, samples)
        case _:
            reference = samples.noise if inverted is None else inverted
    gradient = sds_gradient(epsilon, reference, weight(a, settings.weighting))
    return gradient.unflatten(0, (-1, samples.avatars)).transpose(0, 1)


def _samples(batch: Batch, step: int, latents: Float[Tensor, "B V C h w"], draws: Draws) -> Samples:
    """Return the samples of a step."""
    views, settings, prompts = batch.method.views, batch.context.settings, batch.prompts
    noise = keyed_noise(batch.keys, step, views, tuple(latents.shape[2:]), batch.device)
    progress = step / batch.method.steps
    everywhere = settings.distillation in ("csd", "nfsd")  # they need the unconditional prediction itself
    return Samples(
        clean=latents.transpose(0, 1).flatten(0, 1),
        noise=noise.transpose(0, 1).flatten(0, 1),
        t=batch.schedule.timesteps(draws.timestep.T.flatten(), progress),
        condition=for_views(prompts.by_view, draws.views).transpose(0, 1).flatten(0, 1),
        opposite=for_views(prompts.by_view, prompts.opposite[draws.views]).transpose(0, 1).flatten(0, 1),
        empty=prompts.empty if settings.distillation == "nfsd" else prompts.negative,
        avatars=len(latents),
        guided=list(range(views)) if everywhere else batch.schedule.guided(step, views, progress),
    )


def _guided(
    prior: Prior, settings: PriorSettings, samples: Samples, noisy: Float[Tensor, "N C h w"]
) -> tuple[Float[Tensor, "N C h w"], Float[Tensor, "N C h w"]]:
    """Predict the noise with guidance in the guidance interval (arXiv 2404.07724), without below it.

    Returns:
        the guided prediction, and the unconditional one; the latter is the conditional one where none was needed.
    """
    pushed = settings.opposite_view > 0
    inside, t = samples.inside(noisy), samples.inside(samples.t)
    queries = [Query(inside, t, samples.empty)] + [Query(inside, t, samples.inside(samples.opposite))] * pushed
    *others, named = predict_epsilons(prior, [*queries, Query(noisy, samples.t, samples.condition)])
    without, *opposite = (samples.spread(other, named) for other in others)
    epsilon = guide(without, named, settings.guidance)
    if pushed:
        away = perpendicular(opposite[0] - without, named - without)
        epsilon = epsilon - settings.guidance * settings.opposite_view * away
    epsilon = _restrained(prior, settings, samples.t, noisy, epsilon, named)
    lowest = settings.guidance_from * len(prior.alphas_cumprod)
    return torch.where((samples.t >= lowest)[:, None, None, None], epsilon, named), without


def _restrained(
    prior: Prior,
    settings: PriorSettings,
    t: Int[Tensor, " N"],
    noisy: Float[Tensor, "N C h w"],
    epsilon: Float[Tensor, "N C h w"],
    named: Float[Tensor, "N C h w"],
) -> Float[Tensor, "N C h w"]:
    """Return the guided prediction with its estimate of the clean latents rescaled and thresholded, if asked to."""
    if not (settings.guidance_rescale or settings.dynamic_threshold):
        return epsilon
    a = prior.alphas_cumprod[t]
    clean = to_sample(epsilon, noisy, a)
    if settings.guidance_rescale:
        clean = rescale(clean, to_sample(named, noisy, a), settings.guidance_rescale)
    if settings.dynamic_threshold:
        clean = threshold(clean, settings.dynamic_threshold)
    return to_epsilon(clean, noisy, a, "sample")


def _noise_free(
    prior: Prior,
    samples: Samples,
    noisy: Float[Tensor, "N C h w"],
    without: Float[Tensor, "N C h w"],
    negative: Float[Tensor, "1 L D"] | None,
) -> Float[Tensor, "N C h w"]:
    """Return the reference of nfsd; without a negative prompt, the unconditional prediction takes its place."""
    bad = without if negative is None else predict_epsilons(prior, [Query(noisy, samples.t, negative)])[0]
    above = samples.t >= NOISE_FREE * len(prior.alphas_cumprod)
    return torch.where(above[:, None, None, None], bad, 0.0)


def _shifted(prior: Prior, settings: PriorSettings, samples: Samples) -> Float[Tensor, "N C h w"]:
    """Return the reference of asd."""
    total = len(prior.alphas_cumprod)
    above = samples.t + SHIFT * (samples.t - settings.t_range[0] * total).clamp(min=0)
    later = above.long().clamp(max=total - 1)
    noisy = add_noise(samples.clean, samples.noise, prior.alphas_cumprod[later])
    return predict_epsilons(prior, [Query(noisy, later, samples.condition)])[0]


def invert(prior: Prior, samples: Samples) -> tuple[Float[Tensor, "N C h w"], Float[Tensor, "N C h w"]]:
    """Diffuse clean latents along DDIM's deterministic way, without a prompt (DDIM, arXiv 2010.02502, eq. 14).

    Args:
        prior: predicts.
        samples: latents and timesteps t.

    Returns:
        the latents at t, and the prediction at INTERVAL below, from which the last step came: the reference of ism.
    """
    below = (samples.t - round(INTERVAL * len(prior.alphas_cumprod))).clamp(min=0)
    times = [below * k // INVERSION_STEPS for k in range(INVERSION_STEPS + 1)]
    noisy, epsilon = samples.clean, samples.noise
    for now, following in zip(times, [*times[1:], samples.t], strict=True):
        a = prior.alphas_cumprod[now]
        (epsilon,) = predict_epsilons(prior, [Query(noisy, now, samples.empty)])
        noisy = add_noise(to_sample(epsilon, noisy, a), epsilon, prior.alphas_cumprod[following])
    return noisy, epsilon
