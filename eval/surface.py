"""Distances between head surfaces: rigid alignment (Kabsch 1976), then exact closest points on triangles.

Closest points come from NVIDIA Warp's `mesh_query_point_no_sign`, which is exact on triangles (not a nearest
vertex or a sample). Metres in, metres out.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Bool, Float, Int
from torch import Tensor

wp.config.log_level = wp.LOG_ERROR
FAR = 1.0e3  # metres; beyond every scene


@wp.kernel
@no_type_check
def _closest(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    far: wp.float32,
    distances: wp.array(dtype=wp.float32),
):
    i = wp.tid()
    query = wp.mesh_query_point_no_sign(mesh, points[i], far)
    nearest = wp.mesh_eval_position(mesh, query.face, query.u, query.v)
    distances[i] = wp.length(nearest - points[i])


def distance_to_surface(
    points: Float[Tensor, "P 3"], vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, " P"]:
    """Distance of each point to the nearest point of a triangle mesh."""
    wp.init()
    mesh_points = wp.from_torch(vertices.detach().float().contiguous(), dtype=wp.vec3)
    mesh = wp.Mesh(mesh_points, wp.from_torch(faces.to(torch.int32).flatten().contiguous()))
    queries = wp.from_torch(points.detach().float().contiguous(), dtype=wp.vec3)
    distances = torch.zeros(len(points))
    out = wp.from_torch(distances)
    wp.launch(_closest, dim=len(points), inputs=[mesh.id, queries, FAR], outputs=[out], device=out.device)
    return distances


def align_rigidly(
    moving: Float[Tensor, "N 3"], fixed: Float[Tensor, "N 3"], mask: Bool[Tensor, " N"]
) -> Float[Tensor, "N 3"]:
    """`moving`, rotated and translated (not scaled) so that its masked vertices lie nearest to `fixed`.

    Least squares over corresponding vertices; never a reflection.
    """
    source, target = moving[mask].double(), fixed[mask].double()
    centre, goal = source.mean(dim=0), target.mean(dim=0)
    u, _, vh = torch.linalg.svd((source - centre).T @ (target - goal))
    sign = torch.ones(3, dtype=u.dtype)
    sign[2] = torch.sign(torch.linalg.det(u @ vh))
    rotation = u @ torch.diag(sign) @ vh
    return ((moving.double() - centre) @ rotation + goal).to(moving.dtype)


def faces_within(faces: Int[Tensor, "F 3"], mask: Bool[Tensor, " N"]) -> Int[Tensor, "G 3"]:
    """The faces all of whose corners are in `mask`, with their vertex indices unchanged."""
    return faces[mask[faces.long()].all(dim=1)]
