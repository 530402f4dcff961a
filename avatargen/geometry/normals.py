"""Plain functions of triangle meshes that need no renderer."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def area_normals(vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "N 3"]:
    """Unit vertex normals: the mean of the adjacent faces' normals, weighted by area."""
    a, b, c = vertices[faces.long()].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    summed = torch.zeros_like(vertices).index_add_(0, faces.long().T.reshape(-1), normals.repeat(3, 1))
    return F.normalize(summed, dim=-1)
