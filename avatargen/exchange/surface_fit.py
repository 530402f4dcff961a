"""Smooth values on the graph of a mesh: least squares between what is known at vertices and what neighbours have."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from scipy.sparse.linalg import splu
from torch import Tensor


def smooth_fit(
    edges: Int[Tensor, "E 2"],
    weights: Float[Tensor, " E"],
    mass: Float[Tensor, " N"],
    values: Float[Tensor, "N C"],
) -> Float[Tensor, "N C"]:
    """Return the u that minimises Σ mass |u - values / mass|² + Σ weights |u_i - u_j|².

    Args:
        edges: pairs of vertices.
        weights: of the edges.
        mass: of each vertex, 0 or more; a part of the graph where all are 0 gets 0.
        values: mass times the value at each vertex.

    Example:
        >>> chain = torch.tensor([[0, 1], [1, 2]])
        >>> ends = torch.tensor([1e6, 0.0, 1e6])
        >>> smooth_fit(chain, torch.ones(2), ends, 1e6 * torch.tensor([[0.0], [0.0], [1.0]]))[1].item()
        0.5
    """
    i, j = edges.T.numpy()
    w, count = weights.double().numpy(), len(mass)
    links = sp.coo_matrix((np.r_[w, w], (np.r_[i, j], np.r_[j, i])), shape=(count, count)).tocsr()
    diagonal = mass.double().numpy() + np.asarray(links.sum(1)).ravel() + 1e-9
    found = splu((sp.diags(diagonal) - links).tocsc()).solve(values.double().numpy())
    return torch.from_numpy(found).float()


def unique_edges(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "E 2"]:
    """Return the edges of triangles, each once.

    Example:
        >>> unique_edges(torch.tensor([[0, 1, 2], [2, 1, 3]])).tolist()
        [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    """
    pairs = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values
    return torch.unique(pairs, dim=0)


def seam_pairs(vertex_of: Int[Tensor, " T"], corners: Int[Tensor, "F 3"], count: int) -> Int[Tensor, "S 2"]:
    """Return the pairs of texture coordinates that vertices with two of them have: the sides of seams.

    Args:
        vertex_of: vertex of each texture coordinate.
        corners: texture coordinates of triangles; those that no triangle has do not count.
        count: of the vertices.
    """
    used = torch.unique(corners)
    twice = torch.bincount(vertex_of[used], minlength=count)[vertex_of[used]] == 2
    chosen = used[twice]
    return chosen[vertex_of[chosen].argsort(stable=True)].view(-1, 2)
