"""The finish: the prior denoises fixed views of an avatar together, and the latent texture follows.

Score distillation leaves a texture that no image of the prior looks like: features are smeared and skin has blotches of
colour. So renders of the finished geometry are noised to `refine_timestep` and denoised by DDIM (SDEdit, Meng et al.
2022, arXiv 2108.01073). Views that are denoised apart disagree, and a texture fitted to them is blurred again. They are
synchronised, as in SyncMVD (Liu et al. 2023, arXiv 2311.12891): at each step the texture is corrected by all views'
estimates of the clean latents (:mod:`avatargen.method.projection`), and its renders replace these inside the
silhouette. Where the prior knows close-ups of the face, they are among the views, and count by the pixels they show.

An avatar is finished alone: its views fill the network, and it does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.config.settings import PriorSettings
from avatargen.method.projection import SOLID, Projection
from avatargen.priors.base import Prior
from avatargen.priors.diffusion import add_noise, guided_epsilon, to_epsilon, to_sample

REFINE_STREAM = 2_000_000
"""Number of the step whose noise the finish draws; those of the optimisation and of its masks lie below."""


@dataclass(frozen=True)
class Views:
    """What the prior is told of an avatar's views.

    Attributes:
        background: latents of the colour behind the head.
        condition: text embedding of each view's prompt.
        unconditional: text embedding of the empty prompt.
        noise: one draw for each view.
    """

    background: Float[Tensor, " C"]
    condition: Float[Tensor, "V L D"]
    unconditional: Float[Tensor, "1 L D"]
    noise: Float[Tensor, "V C h w"]


@torch.no_grad()
def refine(
    prior: Prior,
    projection: Projection,
    texture: Float[Tensor, "C Ht Wt"],
    views: Views,
    settings: PriorSettings,
    on_step: Callable[[int], None] | None = None,
) -> Float[Tensor, "C Ht Wt"]:
    """Return the latent texture after its views were denoised; unchanged if that is not finite.

    Args:
        prior: denoises.
        projection: of the views onto the latent texture.
        texture: at the end of the optimisation.
        views: what the prior is told.
        settings: the prior's: size and samples of latents, and how far and in how many steps they are denoised.
        on_step: told the number of steps done.
    """
    refined, size, samples, done = texture, settings.latent_size, settings.samples, 0
    seen = projection.render(texture, size, samples)
    solid = seen.coverage[0] > SOLID

    def synchronise(clean: Tensor) -> Tensor:
        nonlocal refined, done
        refined, done = projection.corrected(refined, clean, samples), done + 1
        if on_step is not None:
            on_step(done)
        return torch.where(solid, projection.render(refined, size, samples).features[0], clean)

    denoise_views(prior, seen.over(views.background.view(1, 1, -1, 1, 1))[0], views, settings, synchronise)
    return torch.where(refined.isfinite().all(), refined, texture)


def denoise_views(
    prior: Prior,
    latents: Float[Tensor, "V C h w"],
    views: Views,
    settings: PriorSettings,
    change: Callable[[Tensor], Tensor],
) -> Float[Tensor, "V C h w"]:
    """Noise latents, then denoise them by DDIM in even steps (arXiv 2010.02502, eq. 12 with sigma = 0).

    A change of the estimate of the clean latents leaves the noisy latents as they are: what it takes from the estimate
    it adds to the noise. So views keep what they disagree on as noise, to be denoised again.

    Args:
        prior: denoises.
        latents: clean.
        views: what the prior is told.
        settings: the prior's: `refine_timestep`, `refine_steps`, `refine_guidance`, `guidance_from`.
        change: is given each step's estimate of the clean latents, and returns another one.
    """
    fractions = torch.linspace(settings.refine_timestep, 0, settings.refine_steps + 1)[:-1].tolist()
    clean, epsilon = latents, views.noise
    for fraction in fractions:
        time = int(fraction * len(prior.alphas_cumprod))  # on the host: reading a GPU would wait for it
        level = prior.alphas_cumprod[time].expand(len(latents))
        noisy = add_noise(clean, epsilon, level)
        t = torch.full((len(latents),), time, device=latents.device)
        scale = settings.refine_guidance if fraction >= settings.guidance_from else None
        predicted = guided_epsilon(prior, noisy, t, views.condition, views.unconditional, scale)
        clean = change(to_sample(predicted, noisy, level))
        epsilon = to_epsilon(clean, noisy, level, "sample")
    return clean
