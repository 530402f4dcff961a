"""What keeps geometry plausible: smooth and small offsets, shape near the model's mean.

Each returns one number for each avatar, so that no avatar's scale depends on its batch mates.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.geometry.sparse import SparseMap


def edges_of(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "E 2"]:
    """Each undirected edge once."""
    sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return torch.unique(sides.sort(dim=1).values, dim=0)


def laplacian_matrix(faces: Int[Tensor, "F 3"], count: int) -> SparseMap:
    """Uniform graph Laplacian I - D^-1 A, (N, N) (Sorkine 2005, section 2)."""
    edges = edges_of(faces)
    both = torch.cat([edges, edges.flip(1)])
    degree = torch.zeros(count, device=faces.device).index_add_(
        0, both[:, 0], torch.ones_like(both[:, 0], dtype=torch.float)
    )
    own = torch.arange(count, device=faces.device)
    rows, columns = torch.cat([torch.stack([own, own], dim=1), both]).T
    values = torch.cat([torch.ones_like(degree), -1 / degree[both[:, 0]]])
    return SparseMap.of(rows, columns, values, (count, count))


def roughness(offsets: Float[Tensor, "B N 3"], laplacian: SparseMap) -> Float[Tensor, " B"]:
    """Mean squared Laplacian of the offsets, mm^2."""
    batch, count, _ = offsets.shape
    rows = laplacian @ offsets.permute(1, 0, 2).reshape(count, -1)
    return (rows.reshape(count, batch, 3) * 1e3).square().sum(-1).mean(0)


def magnitude(offsets: Float[Tensor, "B N 3"]) -> Float[Tensor, " B"]:
    """Mean squared length of the offsets, cm^2."""
    return (offsets * 1e2).square().sum(-1).mean(-1)
