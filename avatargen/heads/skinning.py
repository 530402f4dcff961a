"""Linear blend skinning of a short chain of joints, and sparse products that differentiate cheaply."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


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
    rest: Float[Tensor, "B N 3"], motions: Float[Tensor, "B J 3 4"], weights: Float[Tensor, "N J"]
) -> Float[Tensor, "B N 3"]:
    """Move rest vertices by the weighted motions; what is missing to a weight of 1 stays at rest."""
    blended = (weights @ motions.flatten(2)).unflatten(-1, (3, 4))
    return rest + (blended[..., :3] * rest[..., None, :]).sum(-1) + blended[..., 3]


class SparseProduct(torch.autograd.Function):
    """``operator @ dense`` for constant CSR operators, with the transpose at hand for the backward pass."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, operator: Tensor, transposed: Tensor) -> Tensor:
        ctx.operators = (transposed, operator)
        return operator @ dense

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return SparseProduct.apply(gradient, *ctx.operators), None, None


def refine(
    coarse: Float[Tensor, "B M 3"], operator: Float[Tensor, "N M"], transposed: Float[Tensor, "M N"]
) -> Float[Tensor, "B N 3"]:
    """Apply one sparse operator to the vertices of a batch of meshes."""
    columns = coarse.permute(1, 0, 2).flatten(1)
    return SparseProduct.apply(columns, operator, transposed).unflatten(1, (-1, 3)).permute(1, 0, 2)
