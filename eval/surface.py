"""Align heads rigidly and measure distances to their surfaces, in metres.

Distances are exact point-to-triangle distances (NVIDIA Warp's `mesh_query_point_no_sign`), not distances to the nearest
vertex or sample.
"""

from __future__ import annotations

from typing import cast, no_type_check

import roma
import torch
import warp as wp
from jaxtyping import Bool, Float, Int
from torch import Tensor

wp.config.log_level = wp.LOG_ERROR
FAR = 1.0e3
"""Search radius, metres; larger than any scene."""


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
    """Return the distance of each point to the nearest point of a triangle mesh, metres.

    Args:
        points: query points, metres.
        vertices, faces: the mesh.

    Example:
        >>> triangle = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> points = torch.tensor([[0.25, 0.25, 0.5], [-3.0, 0.0, 4.0]])
        >>> distance_to_surface(points, triangle, torch.tensor([[0, 1, 2]])).tolist()
        [0.5, 5.0]
    """
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
    """Rotate and translate `moving` so that its masked vertices fit those of `fixed` in the least-squares sense.

    No scaling and no reflection. Source: Kabsch, "A solution for the best rotation to relate two sets of vectors",
    1976.

    Args:
        moving, fixed: corresponding vertices, metres.
        mask: vertices that the fit takes into account.

    Returns:
        All vertices of `moving`, aligned, metres.

    Example:
        >>> points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
        >>> moved = points @ roma.rotvec_to_rotmat(torch.tensor([0.1, 0.2, 0.3])) + 5.0
        >>> torch.allclose(align_rigidly(moved, points, mask=torch.ones(4, dtype=torch.bool)), points, atol=1e-5)
        True
    """
    source, target = moving[mask].double(), fixed[mask].double()
    centre, goal = source.mean(dim=0), target.mean(dim=0)
    covariance = (source - centre).T @ (target - goal)
    rotation = cast(Tensor, roma.special_procrustes(covariance, method="svd"))  # a tuple with singular values
    return ((moving.double() - centre) @ rotation + goal).to(moving.dtype)


def faces_within(faces: Int[Tensor, "F 3"], mask: Bool[Tensor, " N"]) -> Int[Tensor, "G 3"]:
    """Return the faces whose corners are all in `mask`; vertex indices do not change.

    Example:
        >>> faces_within(torch.tensor([[0, 1, 2], [2, 1, 3]]), torch.tensor([True, True, True, False])).tolist()
        [[0, 1, 2]]
    """
    return faces[mask[faces.long()].all(dim=1)]
