"""Linear blend skinning, and row-by-row evaluation that does not depend on the batch.

Conventions: rotations are axis-angle vectors in radians; a motion is a 3 x 4 matrix [A | t] that moves x by A x + t, so
a zero matrix is no motion; lengths are metres.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def rotation_matrices(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Return rotation matrices by Rodrigues' formula, with gradients that are smooth at zero.

    R = I + sin(θ)/θ K + (1 - cos θ)/θ² K², where θ is the angle and K the cross-product matrix of the vector.
    roma's `rotvec_to_rotmat` rounds differently, and avatars are reproducible to the bit.

    Args:
        axis_angle: rotation vectors, radians.

    Example:
        >>> turn = rotation_matrices(torch.tensor([0.0, 0.0, torch.pi / 2]))
        >>> (turn @ torch.tensor([1.0, 0.0, 0.0])).round().tolist()
        [0.0, 1.0, 0.0]
    """
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
    """Return the motion of each joint in world space: its rigid transform minus the identity.

    Args:
        axis_angle: rotation of each joint relative to its parent, radians.
        pivots: rest positions of the joints, metres.
        parents: index of each joint's parent, which precedes it; -1 for none.

    Returns:
        Motions M: a point x that follows the joint moves by M[:, :3] x + M[:, 3].

    Example:
        >>> quarter = torch.tensor([[[0.0, 0.0, torch.pi / 2]]])  # about z, at pivot (1, 0, 0)
        >>> motion = joint_motions(quarter, torch.tensor([[[1.0, 0.0, 0.0]]]), parents=(-1,))[0, 0]
        >>> (motion @ torch.tensor([2.0, 0.0, 0.0, 1.0])).round().tolist()  # (2, 0, 0) moves to (1, 1, 0)
        [-1.0, 1.0, 0.0]
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
    """Return vertices moved by the weighted motions of the joints.

    Coordinates come before vertices, which is several times faster on a CPU.

    Args:
        rest: rest positions, metres.
        motions: of each joint, see `joint_motions`.
        weights: skinning weights, constant. Where they sum to less than 1, the remainder stays at rest.

    Example:
        >>> rest, motions = torch.zeros(1, 3, 2), torch.zeros(1, 1, 3, 4)
        >>> motions[0, 0, 0, 3] = 2.0  # shift by 2 along x
        >>> skin(rest, motions, weights=torch.tensor([[1.0, 0.5]]))[0, 0].tolist()
        [2.0, 1.0]
    """
    return _Skin.apply(rest, motions, weights)


class _Skin(torch.autograd.Function):
    """`skin` with a hand-written gradient, which needs a third of autograd's temporaries."""

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
    """Apply a function to each row by itself, so that no bit of a row depends on the rest of the batch.

    On a CPU, the rounding of a matrix product depends on the number of rows and on their alignment in memory. Here
    every row, and every row's gradient, has memory of its own. A GPU takes all rows at once: batches have a fixed
    shape, so that one kernel rounds them all, and a kernel for each row would take longer than the products.

    Args:
        function: takes (B, D) and returns (B, E), row by row; on a CPU, B is 1.
        rows: inputs.

    Example:
        >>> one_by_one(lambda row: 2 * row, torch.tensor([[1.0], [2.0]])).tolist()
        [[2.0], [4.0]]
    """
    if rows.is_cuda:
        return function(rows)
    return torch.cat([_Apart.apply(function(_Apart.apply(row))) for row in rows.split(1)])


class _Apart(torch.autograd.Function):
    """Copy values on the way forward and their gradient on the way back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clone()
