"""Normals of triangle meshes, without a renderer."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def area_normals(vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "N 3"]:
    """Return unit vertex normals: the mean of the adjacent faces' normals, weighted by area.

    Args:
        vertices: any unit.
        faces: vertex indices of each triangle, counter-clockwise seen from outside.

    Example:
        >>> corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> area_normals(corners, torch.tensor([[0, 1, 2]]))[0].tolist()
        [0.0, 0.0, 1.0]
    """
    a, b, c = vertices[faces.long()].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    summed = torch.zeros_like(vertices).index_add_(0, faces.long().T.reshape(-1), normals.repeat(3, 1))
    return F.normalize(summed, dim=-1)
