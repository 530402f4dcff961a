"""Cameras and triangles in plain torch: positions, bases, rays, projection, intersection, normals.

Conventions are those of :mod:`avatargen.types`. A camera's basis is (right, up, forward) in world space; view
coordinates are (right, up, forward) too, so view depth is positive in front of the camera. Image coordinates are
(column, row) in pixels, with (0, 0) the top left corner of the image and pixel centres at half-integers.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.types import Cameras


def camera_positions(cameras: Cameras) -> Float[Tensor, "B V 3"]:
    """World position of each camera, metres."""
    return cameras.target - cameras.distance[..., None] * camera_bases(cameras)[..., 2, :]


def camera_bases(cameras: Cameras) -> Float[Tensor, "B V 3 3"]:
    """Rows are the unit vectors right, up and forward of each camera, in world space."""
    azimuth, elevation = torch.deg2rad(cameras.azimuth), torch.deg2rad(cameras.elevation)
    sin_a, cos_a, sin_e, cos_e = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    right = (cos_a, torch.zeros_like(cos_a), -sin_a)
    up = (-sin_a * sin_e, cos_e, -cos_a * sin_e)
    forward = (-sin_a * cos_e, -sin_e, -cos_a * cos_e)
    return torch.stack(right + up + forward, dim=-1).unflatten(-1, (3, 3))


def half_extents(cameras: Cameras) -> Float[Tensor, "B V"]:
    """Half the image's height (and width) at view depth 1: tan(fov / 2)."""
    return torch.deg2rad(cameras.fov * 0.5).tan()


def image_from_view(
    view: Float[Tensor, "*batch 3"], extents: Float[Tensor, "*#batch"], size: int
) -> Float[Tensor, "*batch 2"]:
    """Project view coordinates to (column, row) in pixels of a `size` x `size` image."""
    scale = 0.5 * size / (extents * view[..., 2])
    return torch.stack((0.5 * size + view[..., 0] * scale, 0.5 * size - view[..., 1] * scale), dim=-1)


def project(
    points: Float[Tensor, "B N 3"], cameras: Cameras, size: int
) -> tuple[Float[Tensor, "B V N 2"], Float[Tensor, "B V N"]]:
    """Project world points into every view: (column, row) in pixels, and view depth in metres."""
    relative = points[:, None] - camera_positions(cameras)[:, :, None]
    view = relative @ camera_bases(cameras).transpose(-1, -2)
    return image_from_view(view, half_extents(cameras)[..., None], size), view[..., 2]


def ray_directions(cameras: Cameras, size: int) -> Float[Tensor, "B V size size 3"]:
    """World directions through the pixel centres, scaled so that their component along the optical axis is 1."""
    centres = (torch.arange(size, device=cameras.fov.device, dtype=cameras.fov.dtype) + 0.5) * (2.0 / size) - 1.0
    x, y = centres[None, :].expand(size, size), -centres[:, None].expand(size, size)
    extents = half_extents(cameras)[..., None, None]
    view = torch.stack((x * extents, y * extents, torch.ones_like(x * extents)), dim=-1)
    return view @ camera_bases(cameras)[:, :, None]


def intersect(
    corners: Float[Tensor, "P 3 3"], origins: Float[Tensor, "P 3"], directions: Float[Tensor, "P 3"]
) -> tuple[Float[Tensor, "P 3"], Float[Tensor, " P"]]:
    """Where each ray meets the plane of its triangle.

    Möller and Trumbore, "Fast, Minimum Storage Ray/Triangle Intersection", 1997, eq. 6. Differentiable in all inputs.

    Returns:
        Barycentric coordinates (perspective-correct, sum 1; outside [0, 1] where the ray misses the triangle), and the
        distance along the ray in units of its direction's length.
    """
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    offset = origins - corners[:, 0]
    p = torch.linalg.cross(directions, edge2)
    q = torch.linalg.cross(offset, edge1)
    inverse = 1.0 / (edge1 * p).sum(-1)
    u, v = (offset * p).sum(-1) * inverse, (directions * q).sum(-1) * inverse
    return torch.stack((1.0 - u - v, u, v), dim=-1), (edge2 * q).sum(-1) * inverse


def face_normals(vertices: Float[Tensor, "B N 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "B F 3"]:
    """Outward normals with the length of twice each face's area."""
    a, b, c = (vertices.index_select(1, faces[:, i]) for i in range(3))
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(vertices: Float[Tensor, "B N 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "B N 3"]:
    """Unit vertex normals: the area-weighted mean of the adjacent faces' normals."""
    normals = face_normals(vertices, faces)
    total = torch.zeros_like(vertices)
    for i in range(3):
        total = total.index_add(1, faces[:, i], normals)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-12)
