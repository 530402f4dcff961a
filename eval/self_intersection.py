"""Find pairs of triangles of a mesh that cross each other.

A bounding volume hierarchy (NVIDIA Warp's `wp.Mesh`) proposes pairs whose boxes overlap, and Möller's test in double
precision decides ("A Fast Triangle-Triangle Intersection Test", 1997; Warp's `intersect_tri_tri`). Faces that share a
vertex touch each other in every mesh, so they do not count.
"""

from __future__ import annotations

from typing import Any, no_type_check

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

wp.config.log_level = wp.LOG_ERROR
CAPACITY = 4.0
"""Pairs for each face that there is room for at first; with more, the search runs again."""


@wp.func
@no_type_check
def _mm(point: wp.vec3):
    """Return a point in millimetres: Warp's test takes products of lengths below 1e-6 for zero."""
    return wp.vec3d(point) * wp.float64(1000.0)


@wp.kernel(enable_backward=False)
@no_type_check
def _cross(
    mesh: wp.uint64,
    faces: wp.array(dtype=wp.int32, ndim=2),
    points: wp.array(dtype=wp.vec3),
    count: wp.array(dtype=wp.int32),
    pairs: wp.array(dtype=wp.int32, ndim=2),
):
    """Write the pairs (i, j), i < j, of faces that cross, as far as there is room, and count all of them."""
    i = wp.tid()
    a, b, c = faces[i, 0], faces[i, 1], faces[i, 2]
    p, q, r = points[a], points[b], points[c]
    query = wp.mesh_query_aabb(mesh, wp.min(wp.min(p, q), r), wp.max(wp.max(p, q), r))
    j = wp.int32(0)
    while wp.mesh_query_aabb_next(query, j):
        if j > i:
            d, e, f = faces[j, 0], faces[j, 1], faces[j, 2]
            apart = d != a and d != b and d != c and e != a and e != b and e != c and f != a and f != b and f != c
            if apart:
                s, t, u = points[d], points[e], points[f]
                crossing = wp.intersect_tri_tri(_mm(p), _mm(q), _mm(r), _mm(s), _mm(t), _mm(u))
                if crossing > 0:
                    place = wp.atomic_add(count, 0, 1)
                    if place < pairs.shape[0]:
                        pairs[place, 0] = i
                        pairs[place, 1] = j


def crossing_faces(vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> Int[Tensor, "P 2"]:
    """Return the pairs of faces that cross and share no vertex, in ascending order; the first index is the lower.

    Args:
        vertices, faces: of the mesh, on the CPU.

    Example:
        >>> flat = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        >>> upright = torch.tensor([[0.5, 0.5, -1.0], [0.5, 0.5, 1.0], [3.0, 3.0, 0.0]])
        >>> crossing_faces(torch.cat((flat, upright)), torch.arange(6).view(2, 3)).tolist()
        [[0, 1]]
    """
    wp.init()
    points = wp.from_torch(vertices.detach().float().contiguous(), dtype=wp.vec3)
    indices = faces.to(torch.int32).contiguous()
    mesh: Any = wp.Mesh(points, wp.from_torch(indices.flatten()))
    room = int(CAPACITY * len(faces)) + 1
    while True:
        count, pairs = torch.zeros(1, dtype=torch.int32), torch.zeros(room, 2, dtype=torch.int32)
        outputs = [wp.from_torch(count), wp.from_torch(pairs)]
        wp.launch(_cross, dim=len(faces), inputs=[mesh.id, wp.from_torch(indices), points, *outputs], device="cpu")
        if int(count) <= room:
            found = pairs[: int(count)].long()
            return found[(found[:, 0] * len(faces) + found[:, 1]).argsort()]
        room = int(count)


def added_pairs(after: Int[Tensor, "P 2"], before: Int[Tensor, "Q 2"], faces: int) -> Int[Tensor, "R 2"]:
    """Return the pairs that are among `after` and not among `before`.

    Args:
        after, before: pairs of one mesh in two poses, see `crossing_faces`.
        faces: number of faces of the mesh.

    Example:
        >>> added_pairs(torch.tensor([[0, 2], [1, 3]]), torch.tensor([[0, 2], [0, 3]]), faces=4).tolist()
        [[1, 3]]
    """
    keys = [pairs[:, 0] * faces + pairs[:, 1] for pairs in (after, before)]
    return after[~torch.isin(*keys)]
