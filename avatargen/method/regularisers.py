"""Regularisers of the offsets: smoothness and size.

Each returns one value for each avatar, so that an avatar's loss does not depend on its batch mates.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.geometry.sparse import SparseMap


def edges_of(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "E 2"]:
    """Return the undirected edges of a mesh, each once, sorted.

    Example:
        >>> edges_of(torch.tensor([[0, 1, 2], [0, 2, 3]])).tolist()
        [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]
    """
    sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return torch.unique(sides.sort(dim=1).values, dim=0)


def laplacian_matrix(faces: Int[Tensor, "F 3"], count: int) -> SparseMap:
    """Return the uniform graph Laplacian I - D^-1 A (Sorkine, "Laplacian Mesh Processing", 2005, section 2).

    Args:
        faces: vertex indices of each triangle.
        count: number of vertices, N.

    Returns:
        an (N, N) matrix: each vertex less the mean of its neighbours.

    Example:
        >>> laplacian = laplacian_matrix(torch.tensor([[0, 1, 2]]), 3)
        >>> (laplacian @ torch.tensor([[0.0], [2.0], [4.0]])).tolist()
        [[-3.0], [0.0], [3.0]]
    """
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
    """Return the mean squared length of the offsets' Laplacian, mm^2.

    Args:
        offsets: metres.
        laplacian: see `laplacian_matrix`.

    Example:
        >>> moved = torch.zeros(1, 3, 3)
        >>> moved[0, 0, 0] = 0.002  # of a triangle's corners, one moves by 2 mm: Laplacians of 2, -1 and -1 mm
        >>> round(roughness(moved, laplacian_matrix(torch.tensor([[0, 1, 2]]), 3)).item(), 4)
        2.0
    """
    batch, count, _ = offsets.shape
    rows = laplacian @ offsets.permute(1, 0, 2).reshape(count, -1)
    return (rows.reshape(count, batch, 3) * 1e3).square().sum(-1).mean(0)


def magnitude(offsets: Float[Tensor, "B N 3"]) -> Float[Tensor, " B"]:
    """Return the mean squared length of the offsets, cm^2.

    Args:
        offsets: metres.

    Example:
        >>> round(magnitude(torch.full((1, 4, 3), 0.01)).item(), 4)
        3.0
    """
    return (offsets * 1e2).square().sum(-1).mean(-1)
