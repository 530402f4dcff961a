"""Attributes at the points where rays hit: interpolation over faces and bilinear texture lookups.

Both are weighted sums of table rows, which `embedding_bag` computes in one pass without materialising the gathered
rows, with gradients to the table and to the weights.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag


def weighted_rows(
    table: Float[Tensor, "R C"], index: Int[Tensor, "P K"], weights: Float[Tensor, "P K"]
) -> Float[Tensor, "P C"]:
    """sum_k weights[p, k] * table[index[p, k]]."""
    return embedding_bag(index, table, per_sample_weights=weights, mode="sum")


def bilinear(
    texture: Float[Tensor, "B C Ht Wt"], uv: Float[Tensor, "P 2"], batch: Int[Tensor, " P"]
) -> Float[Tensor, "P C"]:
    """Texture values at points of the batch's textures, bilinear between texel centres, clamped at the border.

    Args:
        texture: row 0 is v = 1; texel centres are at half-integers.
        uv: u to the right, v up, in [0, 1].
        batch: which texture each point reads.
    """
    count, channels, height, width = texture.shape
    table = texture.permute(0, 2, 3, 1).reshape(count * height * width, channels)
    x = (uv[:, 0] * width - 0.5).clamp(0, width - 1)
    y = ((1.0 - uv[:, 1]) * height - 0.5).clamp(0, height - 1)
    left, top = x.detach().floor(), y.detach().floor()
    fx, fy = x - left, y - top
    left, top = left.long(), top.long()
    step_x, step_y = (left < width - 1).long(), (top < height - 1).long() * width
    first = (batch * height + top) * width + left
    index = torch.stack((first, first + step_x, first + step_y, first + step_x + step_y), dim=-1)
    weights = torch.stack(((1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy), dim=-1)
    return weighted_rows(table, index, weights)
