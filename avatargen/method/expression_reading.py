"""Expressions are read in what the prior makes of front views, and pull the expression of the head.

No outline shows a smile or closed eyes from the front, and score distillation inside the outline mostly slides the
texture. So every few steps the head's face is rendered, noised far enough for the prior to change mouth and eyes, and
denoised; a frozen reader names the facial actions in the result. What it reads is the centre of a quadratic loss until
the next refresh.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from avatargen.config.settings import CameraSettings
from avatargen.geometry.cameras import CENTRE, FACE, usual_framing
from avatargen.geometry.types import Cameras
from avatargen.heads.base import HeadModel
from avatargen.priors.base import Prior
from avatargen.priors.expression_reader import ExpressionReader
from avatargen.priors.foreground import Denoising, denoise

AZIMUTHS = (-22.5, 0.0, 22.5)
"""Of the cameras that see the face, degrees."""
ELEVATION = 5.0
"""Of these cameras, degrees."""


@dataclass(frozen=True)
class Reading:
    """What was last read in the prior's images of each avatar.

    Attributes:
        expression: coefficients of the head model; 0 for those that are not read.
        known: False where nothing has been read yet, or where it was not finite.
    """

    expression: Float[Tensor, "B E"]
    known: Bool[Tensor, " B"]


def read_coefficients(head: HeadModel, reader: ExpressionReader | None) -> list[tuple[int, int]]:
    """Return (reader's action, head's coefficient) of each action that both have; none without a reader.

    Args:
        head: its expression coefficients may have ARKit's names.
        reader: of images, if there is one.
    """
    if reader is None:
        return []
    return [
        (k, head.expression_names.index(name)) for k, name in enumerate(reader.actions) if name in head.expression_names
    ]


def reading_cameras(ranges: CameraSettings, batch: int) -> Cameras:
    """Return cameras in front of the face, (B, 3), on the CPU: close-ups if the prior is used to them.

    Args:
        ranges: the prior's.
        batch: number of avatars, B.

    Example:
        >>> reading_cameras(CameraSettings(close=0.3, close_fov=(10.0, 12.0)), 1).fov.tolist()
        [[11.0, 11.0, 11.0]]
    """
    distance, fov = usual_framing(ranges)
    close = ranges.close > 0
    azimuth = torch.tensor(AZIMUTHS).expand(batch, -1).contiguous()
    values = (ELEVATION, distance, sum(ranges.close_fov) / 2 if close else fov)
    target = torch.tensor(FACE if close else CENTRE).expand(*azimuth.shape, 3).contiguous()
    return Cameras(azimuth, *(torch.full_like(azimuth, value) for value in values), target=target)


@torch.no_grad()
def read_expression(
    prior: Prior,
    reader: ExpressionReader,
    latents: Float[Tensor, "B V C h w"],
    noise: Float[Tensor, "B V C h w"],
    conditional: Float[Tensor, "B V L D"],
    unconditional: Float[Tensor, "1 L D"],
    denoising: Denoising,
) -> Float[Tensor, "B K"]:
    """Return the strength of each of the reader's actions in what the prior makes of renders.

    Args:
        prior: denoises.
        reader: of the denoised latents.
        latents: renders of the face from V views.
        noise: one draw for each.
        conditional: text embedding of each view's prompt.
        unconditional: text embedding of the empty prompt.
        denoising: how far the renders are noised, and how they are denoised.
    """
    flat, condition = latents.flatten(0, 1), conditional.flatten(0, 1)
    clean = denoise(prior, flat, noise.flatten(0, 1), condition, unconditional, denoising)
    return reader.read(clean.unflatten(0, latents.shape[:2]))


def reading_of(actions: Float[Tensor, "B K"], bounds: Float[Tensor, "2 E"], pairs: Int[Tensor, "2 P"]) -> Reading:
    """Return what was read as coefficients of the head model, within their bounds.

    Args:
        actions: strengths that were read.
        bounds: of the coefficients.
        pairs: see `read_coefficients`.

    Example:
        >>> reading_of(torch.tensor([[0.5, 2.0]]), torch.tensor([[0.0] * 3, [1.0] * 3]), torch.tensor([[0, 1], [2, 0]]))
        Reading(expression=tensor([[1.0000, 0.0000, 0.5000]]), known=tensor([True]))
    """
    known = actions.isfinite().all(1)
    chosen = torch.where(known[:, None], actions, torch.zeros_like(actions)).index_select(1, pairs[0])
    expression = actions.new_zeros(len(actions), bounds.shape[1]).index_copy(1, pairs[1], chosen)
    return Reading(expression.clamp(*bounds), known)


def reading_loss(
    expression: Float[Tensor, "B E"], reading: Reading, bounds: Float[Tensor, "2 E"], columns: Int[Tensor, " P"]
) -> Float[Tensor, " B"]:
    """Return the squared deviation from what was read, in units of each coefficient's range; 0 if nothing was.

    Args:
        expression: coefficients, differentiable.
        reading: of the same avatars.
        bounds: of the coefficients.
        columns: the coefficients that are read.

    Example:
        >>> reading = Reading(torch.tensor([[0.5, 0.0]]), torch.tensor([True]))
        >>> reading_loss(torch.zeros(1, 2), reading, torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([0])).tolist()
        [0.25]
    """
    low, high = bounds
    away = ((expression - reading.expression) / (high - low)).index_select(1, columns)
    return away.square().sum(1) * reading.known
