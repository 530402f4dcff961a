"""Attributes at the points that rays hit: interpolation over faces, and bilinear texture lookup.

Both are weighted sums of table rows. The forward pass is `embedding_bag`, which does not store the gathered rows; the
backward pass is `index_add`, which on the CPU is several times faster than `embedding_bag`'s own.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from avatargen.render.geometry import constants


class _WeightedRows(torch.autograd.Function):
    """`weighted_rows` with its gradient."""

    @staticmethod
    def forward(ctx, table, index, weights):
        ctx.save_for_backward(table, index, weights)
        return embedding_bag(index, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx, grad):
        table, index, weights = ctx.saved_tensors
        to_table = to_weights = None
        if ctx.needs_input_grad[0]:
            rows = (weights[:, :, None] * grad[:, None, :]).reshape(-1, table.shape[1])
            to_table = torch.zeros_like(table).index_add_(0, index.flatten(), rows)
        if ctx.needs_input_grad[2]:
            rows = table.index_select(0, index.flatten()).view(*index.shape, -1)
            to_weights = torch.bmm(rows, grad[:, :, None])[..., 0]
        return to_table, None, to_weights


def weighted_rows(
    table: Float[Tensor, "R C"], index: Int[Tensor, "P K"], weights: Float[Tensor, "P K"]
) -> Float[Tensor, "P C"]:
    """Return sum_k weights[p, k] * table[index[p, k]], differentiable in the table and the weights.

    Example:
        >>> table = torch.tensor([[0.0], [10.0], [20.0]])
        >>> weighted_rows(table, torch.tensor([[1, 2]]), torch.tensor([[0.5, 0.25]])).tolist()
        [[10.0]]
    """
    return _WeightedRows.apply(table, index, weights)


class _AddRows(torch.autograd.Function):
    """`add_rows` with its gradient."""

    @staticmethod
    def forward(ctx, values, index, rows):
        ctx.save_for_backward(index)
        return values.new_zeros(rows, values.shape[1]).index_add_(0, index, values)

    @staticmethod
    def backward(ctx, grad):
        return grad.contiguous().index_select(0, ctx.saved_tensors[0]), None, None


def add_rows(values: Float[Tensor, "P C"], index: Int[Tensor, " P"], rows: int) -> Float[Tensor, "{rows} C"]:
    """Return a table whose rows are the sums of the values assigned to them, differentiable in the values.

    Args:
        values: to add up.
        index: row of each value.
        rows: of the table.

    Example:
        >>> add_rows(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 2, 2]), rows=3).tolist()
        [[1.0], [0.0], [6.0]]
    """
    return _AddRows.apply(values, index, rows)


def bilinear(
    texture: Float[Tensor, "B C Ht Wt"], uv: Float[Tensor, "P 2"], batch: Int[Tensor, " P"]
) -> Float[Tensor, "P C"]:
    """Return texture values at points, bilinear between texel centres and clamped at the border.

    Differentiable in the texture and the texture coordinates.

    Args:
        texture: row 0 is v = 1; texel centres are at half-integers.
        uv: texture coordinates, u to the right, v up, in [0, 1].
        batch: index of the texture that each point reads.

    Example:
        >>> texture = torch.tensor([[[[0.0, 8.0]]]])
        >>> bilinear(texture, torch.tensor([[0.25, 0.5], [0.5, 0.5], [1.0, 0.5]]), torch.zeros(3).long()).tolist()
        [[0.0], [4.0], [8.0]]
    """
    count, channels, height, width = texture.shape
    table = texture.permute(0, 2, 3, 1).reshape(count * height * width, channels)
    sizes = ((width, -height), (-0.5, height - 0.5), (0, 0), (width - 1, height - 1))
    scale, shift, low, high = (constants(pair, uv.dtype, uv.device) for pair in sizes)
    place = torch.addcmul(shift, uv, scale).clamp(low, high)
    corner = place.detach().long()
    fraction = place - corner
    last, row_start = (constants(pair, torch.int64, uv.device) for pair in ((width - 1, height - 1), (1, width)))
    steps = (corner < last) * row_start
    first = (corner * row_start).sum(-1) + batch * (height * width)
    right, down = first + steps[:, 0], first + steps[:, 1]
    index = torch.stack((first, right, down, right + steps[:, 1]), dim=-1)
    x, y = fraction.unbind(-1)
    both = x * y
    weights = torch.stack((1 - x - y + both, x - both, y - both, both), dim=-1)
    return weighted_rows(table, index, weights)
