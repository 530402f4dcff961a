"""Skinning by a short chain of joints, and functions of one row each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def rotation_matrices(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rodrigues' formula, smooth at zero: R = I + sinc(θ) K + (1 - cos θ)/θ² K²."""
    squared = (axis_angle**2).sum(dim=-1)[..., None, None]
    small = squared < 1e-8
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    first = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)
    second = torch.where(small, 0.5 - squared / 24, (1 - torch.cos(angle)) / angle**2)
    x, y, z = axis_angle.unbind(dim=-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + first * cross + second * (cross @ cross)


def joint_motions(
    axis_angle: Float[Tensor, "B J 3"], pivots: Float[Tensor, "B J 3"], parents: tuple[int, ...]
) -> Float[Tensor, "B J 3 4"]:
    """World motion of each joint minus the identity: x moves by M[:, :3] x + M[:, 3].

    Args:
        axis_angle: rotation of each joint relative to its parent, radians.
        pivots: rest positions of the joints, metres.
        parents: index of each joint's parent, which precedes it; -1 for none.
    """
    rotations = rotation_matrices(axis_angle)
    shifts = pivots - torch.einsum("bjrc,bjc->bjr", rotations, pivots)
    linear: list[Tensor] = []
    offset: list[Tensor] = []
    for joint, parent in enumerate(parents):
        rotation, shift = rotations[:, joint], shifts[:, joint]
        if parent >= 0:
            shift = (linear[parent] @ shift[..., None])[..., 0] + offset[parent]
            rotation = linear[parent] @ rotation
        linear.append(rotation)
        offset.append(shift)
    identity = torch.eye(3, dtype=pivots.dtype, device=pivots.device)
    return torch.cat([torch.stack(linear, 1) - identity, torch.stack(offset, 1)[..., None]], dim=-1)


def skin(
    rest: Float[Tensor, "B 3 N"], motions: Float[Tensor, "B J 3 4"], weights: Float[Tensor, "J N"]
) -> Float[Tensor, "B 3 N"]:
    """Move rest vertices by the weighted motions; what is missing to a weight of 1 stays at rest.

    Coordinates come before vertices here: several times faster on a CPU.
    """
    return _Skin.apply(rest, motions, weights)


class _Skin(torch.autograd.Function):
    """`skin` with its gradient written out, for a third of the temporaries. `weights` is constant."""

    @staticmethod
    def forward(ctx: Any, rest: Tensor, motions: Tensor, weights: Tensor) -> Tensor:
        blended = (motions.flatten(2).transpose(1, 2) @ weights).unflatten(1, (3, 4))
        posed = rest + blended[:, :, 3]
        for axis in range(3):
            posed.addcmul_(blended[:, :, axis], rest[:, axis, None])
        ctx.save_for_backward(rest, weights, blended)
        return posed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        rest, weights, blended = ctx.saved_tensors
        to_rest = gradient.clone()
        to_blended = torch.empty_like(blended)
        to_blended[:, :, 3] = gradient
        for axis in range(3):
            to_rest.addcmul_(blended[:, axis, :3], gradient[:, axis, None])
            torch.mul(gradient, rest[:, axis, None], out=to_blended[:, :, axis])
        to_motions = (to_blended.flatten(1, 2) @ weights.t()).transpose(1, 2)
        return to_rest, to_motions.unflatten(-1, (3, 4)), None


def one_by_one(function: Callable[[Tensor], Tensor], rows: Float[Tensor, "B D"]) -> Float[Tensor, "B E"]:
    """A function of one row, (1, D) to (1, E), of each row by itself.

    Matrix products round by how many rows there are and by where in memory each begins: an avatar's bits would depend
    on its place in the batch. Here every row, and every row's gradient, has memory of its own.
    """
    return torch.cat([_Apart.apply(function(_Apart.apply(row))) for row in rows.split(1)])


class _Apart(torch.autograd.Function):
    """A copy, whose gradient is copied too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clone()
