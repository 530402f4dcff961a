"""Align heads rigidly, and measure distances to their surfaces, in metres, and areas.

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
MARGIN = 1.0e-5
"""What a search radius is larger than a known bound, metres: rounding must not exclude the nearest point."""


@wp.kernel
@no_type_check
def _closest(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    far: wp.array(dtype=wp.float32),
    distances: wp.array(dtype=wp.float32),
):
    i = wp.tid()
    query = wp.mesh_query_point_no_sign(mesh, points[i], far[i])
    nearest = wp.mesh_eval_position(mesh, query.face, query.u, query.v)
    distances[i] = wp.length(nearest - points[i])


def distance_to_surface(
    points: Float[Tensor, "P 3"],
    vertices: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    within: Float[Tensor, " P"] | None = None,
) -> Float[Tensor, " P"]:
    """Return the distance of each point to the nearest point of a triangle mesh, metres.

    Args:
        points: query points, metres.
        vertices, faces: the mesh.
        within: for each point, a distance that is not too short, such as that to the corresponding point of the mesh;
            the result is the same, and comes faster.

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
    radius = torch.full((len(points),), FAR) if within is None else within.detach().float() + MARGIN
    distances = torch.zeros(len(points))
    out = wp.from_torch(distances)
    inputs = [mesh.id, queries, wp.from_torch(radius)]
    wp.launch(_closest, dim=len(points), inputs=inputs, outputs=[out], device=out.device)
    return distances


def face_areas(vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, " F"]:
    """Return the area of each face, square metres.

    Example:
        >>> corners = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        >>> face_areas(corners, torch.tensor([[0, 1, 2]])).tolist()
        [3.0]
    """
    a, b, c = vertices[faces.long()].unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=-1) / 2


def vertex_areas(vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, " N"]:
    """Return the area that each vertex stands for, a third of the area of each of its faces, square metres.

    Example:
        >>> square = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [3.0, 2.0, 0.0], [0.0, 2.0, 0.0]])
        >>> vertex_areas(square, torch.tensor([[0, 1, 2], [0, 2, 3]])).tolist()
        [2.0, 1.0, 2.0, 1.0]
    """
    third = face_areas(vertices, faces) / 3
    return torch.zeros(len(vertices)).index_add_(0, faces.long().T.reshape(-1), third.repeat(3))


def weighted_quantile(values: Float[Tensor, " P"], weights: Float[Tensor, " P"], fraction: float) -> float:
    """Return the smallest value at or below which at least this fraction of the weight lies.

    Example:
        >>> weighted_quantile(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 8.0]), 0.9)
        2.0
    """
    values, order = values.sort()
    below = weights[order].double().cumsum(0)
    return float(values[torch.searchsorted(below, fraction * below[-1]).clamp(max=len(values) - 1)])


def align_rigidly(
    moving: Float[Tensor, "N 3"], fixed: Float[Tensor, "N 3"], weights: Float[Tensor, " N"]
) -> Float[Tensor, "N 3"]:
    """Rotate and translate `moving` so that its vertices fit those of `fixed` in the weighted least-squares sense.

    No scaling and no reflection. Source: Kabsch, "A solution for the best rotation to relate two sets of vectors",
    1976.

    Args:
        moving, fixed: corresponding vertices, metres.
        weights: how much the fit takes each vertex into account; only their proportions matter.

    Returns:
        All vertices of `moving`, aligned, metres.

    Example:
        >>> points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
        >>> moved = points @ roma.rotvec_to_rotmat(torch.tensor([0.1, 0.2, 0.3])) + 5.0
        >>> torch.allclose(align_rigidly(moved, points, weights=torch.ones(4)), points, atol=1e-5)
        True
    """
    source, target = moving.double(), fixed.double()
    share = (weights.double() / weights.double().sum())[:, None]
    centre, goal = (share * source).sum(dim=0), (share * target).sum(dim=0)
    covariance = (share * (source - centre)).T @ (target - goal)
    rotation = cast(Tensor, roma.special_procrustes(covariance, method="svd"))  # a tuple with singular values
    return ((source - centre) @ rotation + goal).to(moving.dtype)


def faces_within(faces: Int[Tensor, "F 3"], mask: Bool[Tensor, " N"]) -> Int[Tensor, "G 3"]:
    """Return the faces whose corners are all in `mask`; vertex indices do not change.

    Example:
        >>> faces_within(torch.tensor([[0, 1, 2], [2, 1, 3]]), torch.tensor([True, True, True, False])).tolist()
        [[0, 1, 2]]
    """
    return faces[mask[faces.long()].all(dim=1)]
