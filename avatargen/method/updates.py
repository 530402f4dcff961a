"""What a step does with its gradients: divergence, clipping, learning rates, and bounds."""

from __future__ import annotations

import torch
from torch import Tensor

from avatargen.config.settings import MethodSettings
from avatargen.method.context import Batch
from avatargen.method.state import State


@torch.no_grad()
def apply_gradients(batch: Batch, state: State, geometry: bool) -> None:
    """Clip the gradients, step the optimisers and keep parameters within their bounds, in place.

    An avatar with a gradient that is not finite is marked as diverged and no longer moves.

    Args:
        batch: the avatars.
        state: parameters with their gradients.
        geometry: this step moves the geometry, too.
    """
    gradients = _gradients(batch.method, state, geometry)
    _stop_diverged(state, gradients)
    clip_rows([grad for name, grad in gradients.items() if name != "texture"], batch.method.gradient_clip)
    settings = batch.context.settings
    left = 1 - (1 - settings.texture_decay) * state.step / batch.method.steps
    state.texture_adam.param_groups[0]["lr"] = settings.lr_texture * left * state.pace
    state.texture_adam.step()
    if geometry:
        _step_geometry(batch, state)


def clip_rows(gradients: list[Tensor], limit: float) -> None:
    """Scale each avatar's gradients in place, so that their joint norm is at most `limit`.

    Args:
        gradients: of each parameter, (B, ...).
        limit: largest norm.

    Example:
        >>> first, second = torch.tensor([[3.0], [0.5]]), torch.tensor([[4.0], [0.0]])
        >>> clip_rows([first, second], 2.5)  # the two avatars' norms are 5 and 0.5
        >>> first.tolist(), second.tolist()
        ([[1.5], [0.5]], [[2.0], [0.0]])
    """
    if not gradients:
        return
    norm = torch.stack([grad.flatten(1).square().sum(1) for grad in gradients]).sum(0).sqrt()
    scale = (limit / norm.clamp(min=1e-12)).clamp(max=1.0)
    for grad in gradients:
        grad.mul_(scale.view(-1, *[1] * (grad.dim() - 1)))


def phase2_progress(method: MethodSettings, step: int) -> float:
    """Return the fraction of phase 2 that is done before a step, in [0, 1).

    Example:
        >>> phase2_progress(MethodSettings(phase1_steps=100, phase2_steps=200), 150)
        0.25
    """
    return (step - method.phase1_steps) / max(1, method.phase2_steps)


def _gradients(method: MethodSettings, state: State, geometry: bool) -> dict[str, Tensor]:
    """Return the gradients of what the method moves now; drop those of everything else."""
    moving = state.parameters() if geometry else {"texture": state.texture}
    allowed = {"texture": method.texture, "shape": method.shape, "expression": method.expression}
    for name, value in moving.items():
        if not allowed.get(name, method.offsets):
            value.grad = None
    return {name: value.grad for name, value in moving.items() if value.grad is not None}


def _stop_diverged(state: State, gradients: dict[str, Tensor]) -> None:
    """Mark avatars whose gradients are not finite; zero gradients and momentum of all that have diverged."""
    for grad in gradients.values():
        state.diverged |= ~grad.flatten(1).sum(1).isfinite()  # a tenth of the time of testing each entry
    if not state.diverged.is_cuda and not state.diverged.any():
        return  # on a GPU, to read the answer takes longer than to write nothing
    momentum = [
        moments["exp_avg"] for adam in (state.texture_adam, state.geometry_adam) for moments in adam.state.values()
    ]
    for values in (*gradients.values(), *momentum):  # momentum would go on moving what has no gradient
        values.masked_fill_(state.diverged.view(-1, *[1] * (values.dim() - 1)), 0.0)


def _step_geometry(batch: Batch, state: State) -> None:
    """Step the geometry's optimiser and clamp shape and expression to the head model's bounds."""
    head = batch.context.head
    left = 1 - (1 - batch.method.geometry_decay) * phase2_progress(batch.method, state.step)
    for group in state.geometry_adam.param_groups:
        group["lr"] = group["first_lr"] * left * state.pace
    state.geometry_adam.step()
    state.resting = None
    low, high = head.shape_bounds
    middle = head.shape_template
    state.shape.clamp_((low - middle) / (high - low), (high - middle) / (high - low))
    state.expression.clamp_(*head.expression_bounds)
