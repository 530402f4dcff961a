"""Find faces that are seen from behind, the Janus problem of text-to-3D, with the diffusion prior as a classifier.

A diffusion model's error in denoising an image under a text tells how well the text fits the image (diffusion
classifier, arXiv 2303.16203). Each rear view is noised once for each of TIMES, and denoised under the prompt with the
name of the view, and with the name of the view that mirrors it to the front: ``back view`` against ``front view``. A
view whose error is lower under the front's name is taken for a front.

The prior sees the renders that score distillation saw; those of a mesh of another system are encoded.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.cameras import keyed_noise
from avatargen.geometry.types import Cameras
from avatargen.io.avatar_file import Avatar
from avatargen.priors.base import Prior
from avatargen.priors.diffusion import add_noise, to_epsilon
from avatargen.priors.view_prompts import VIEW_WORDS, ViewWords, named_views, with_view
from eval.views import RenderTools, neural_latents

TIMES = (0.5, 0.7)
"""Timesteps of the noise, as fractions of the schedule."""
REAR = 135.0
"""Least azimuth of a rear view, degrees to either side."""


@torch.no_grad()
def janus(avatar: Avatar, tools: RenderTools, cameras: Cameras, background: tuple[float, float, float]) -> float:
    """Return the fraction of the rear views that the prior takes for a front; NaN if no camera is behind the head.

    Args:
        avatar: to measure.
        tools: head, renderer and prior, see :class:`eval.views.RenderTools`.
        cameras: of the protocol.
        background: RGB in [0, 1].
    """
    behind = _turn(cameras.azimuth[0]) >= REAR
    if not behind.any():
        return math.nan
    cameras = Cameras(*(getattr(cameras, field.name)[:, behind] for field in fields(cameras)))
    latents = neural_latents(avatar, tools, cameras, background)
    words = VIEW_WORDS[tools.prior_settings.view_words]
    return float((frontness(tools.prior, latents, avatar.prompt, cameras, words) > 0).float().mean())


@torch.no_grad()
def frontness(
    prior: Prior, latents: Float[Tensor, "V C h w"], prompt: str, cameras: Cameras, words: ViewWords
) -> Float[Tensor, " V"]:
    """Return how much better the names of front views fit some views than those of rear views do; 0 if alike.

    It is the mean squared error of the predicted noise under the rear's name less that under the front's.

    Args:
        prior: denoises.
        latents: of the views.
        prompt: of the head.
        cameras: of the views, for one head, on the CPU.
        words: the prior's names of views.
    """
    front, rear = _names(cameras, words)
    condition = prior.embed([with_view(prompt, name) for name in (*front, *rear)])
    found = torch.zeros(len(latents), device=latents.device)
    for number, time in enumerate(TIMES):
        step = int(time * len(prior.alphas_cumprod))
        level = prior.alphas_cumprod[step].expand(2 * len(latents))
        # the same noise for every avatar: a part of the protocol, as TIMES are
        drawn = keyed_noise(torch.zeros(1, dtype=torch.long), number, len(latents), tuple(latents.shape[1:]))[0]
        noise = drawn.to(latents.device).repeat(2, 1, 1, 1)
        noisy = add_noise(latents.repeat(2, 1, 1, 1), noise, level)
        output = prior.predict(noisy, torch.full((len(noisy),), step, device=latents.device), condition)
        errors = (to_epsilon(output, noisy, level, prior.prediction) - noise).square().mean((1, 2, 3))
        found += errors[len(latents) :] - errors[: len(latents)]
    return found / len(TIMES)


def _names(cameras: Cameras, words: ViewWords) -> tuple[list[str], list[str]]:
    """Return the names of views that each camera has in front of the head, and behind it, on the same side.

    Where both have one name, such as ``side view``, they are those of the views from straight ahead and behind.
    """
    turn, side = _turn(cameras.azimuth), torch.where(cameras.azimuth.remainder(360) > 180, -1.0, 1.0)
    places = [replace(cameras, azimuth=side * torch.minimum(turn, 180 - turn))]
    places += [replace(cameras, azimuth=side * (180 - places[0].azimuth.abs()))]
    straight = [replace(cameras, azimuth=torch.full_like(cameras.azimuth, angle)) for angle in (0.0, 180.0)]
    (front,), (rear,) = (named_views(place, words) for place in places)
    (ahead,), (behind,) = (named_views(place, words) for place in straight)
    alike = [one == other for one, other in zip(front, rear, strict=True)]
    return (
        [other if same else one for one, other, same in zip(front, ahead, alike, strict=True)],
        [other if same else one for one, other, same in zip(rear, behind, alike, strict=True)],
    )


def _turn(azimuth: Tensor) -> Tensor:
    """Return how far views are turned from the front, 0 to 180 degrees."""
    return ((azimuth + 180).remainder(360) - 180).abs()
