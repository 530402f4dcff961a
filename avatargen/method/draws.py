"""The random numbers of a step: cameras, backgrounds, lights and timesteps.

They are computed on the host from the avatars' keys and go to the device in one copy.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from avatargen.geometry.cameras import keyed_uniform, training_cameras
from avatargen.geometry.transfer import to_device
from avatargen.geometry.types import Cameras
from avatargen.method.context import Batch
from avatargen.method.timesteps import stratified
from avatargen.priors.view_prompts import LATENT_PAINT, view_indices

_STREAMS = range(4)
"""Streams of the uniform numbers, in the order of `Draws`."""


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step, on the device of the models; each is a function of (prompt, seed, step, view).

    Attributes:
        cameras: of the training views.
        views: index of each camera's view among the view names of the prior.
        plain_views: index among Latent-Paint's view names, which the CLIP guide reads.
        timestep: in [0, 1), stratified (:mod:`avatargen.method.timesteps`): place in the range of timesteps.
        background, turn, height: uniform in [0, 1): they choose the colour of the background and the direction of the
            light.
    """

    cameras: Cameras
    views: Int[Tensor, "B V"]
    plain_views: Int[Tensor, "B V"]
    timestep: Float[Tensor, "B V"]
    background: Float[Tensor, "B V"]
    turn: Float[Tensor, "B V"]
    height: Float[Tensor, "B V"]


def draw(batch: Batch, step: int) -> Draws:
    """Return the random numbers of a step.

    Args:
        batch: its keys, number of views and ranges of cameras.
        step: steps done.
    """
    keys, views = batch.keys, batch.method.views
    cameras = training_cameras(keys, step, views, batch.context.settings.cameras)
    names = [view_indices(cameras, words) for words in (batch.prompts.words, LATENT_PAINT)]
    timestep, *uniform = (keyed_uniform(keys, step, views, stream) for stream in _STREAMS)
    fields = [getattr(cameras, name) for name in vars(cameras)]
    sent = to_device([*fields, *names, stratified(timestep, step), *uniform], batch.device)
    return Draws(Cameras(*sent[: len(fields)]), *sent[len(fields) :])
