"""Cameras and triangles in plain torch: camera frames, projection, intersection.

Conventions are those of `avatargen.geometry.types`. A camera's basis is (right, up, forward) in world space; view
coordinates are (right, up, forward), too, so view depth is positive in front of the camera. Image coordinates are
(column, row) in pixels; (0, 0) is the top left corner of the image, and pixel centres are at half-integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from avatargen.geometry.types import Cameras


@dataclass(frozen=True)
class Frames:
    """Cameras as positions and bases in world space, without gradients.

    Attributes:
        positions: metres.
        bases: rows are the unit vectors right, up and forward.
        extents: half the image's height and width at view depth 1, tan(fov / 2).
    """

    positions: Float[Tensor, "B V 3"]
    bases: Float[Tensor, "B V 3 3"]
    extents: Float[Tensor, "B V"]


@cache
def constants(
    values: tuple[float | int, ...], dtype: torch.dtype, device: torch.device
) -> Shaped[Tensor, " {len(values)}"]:
    """Return a tensor of numbers; made once, since a copy to a GPU is as slow as many operations. Do not change it.

    Example:
        >>> constants((1, 2), torch.float32, torch.device("cpu"))
        tensor([1., 2.])
    """
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


@torch.no_grad()
def camera_frames(cameras: Cameras) -> Frames:
    """Return the positions, bases and extents of cameras.

    Example:
        >>> one = torch.ones(1, 1)
        >>> frames = camera_frames(Cameras(0 * one, 0 * one, 2 * one, 90 * one, torch.zeros(1, 1, 3)))
        >>> frames.positions.tolist()  # 2 m in front of the face, which looks along +z
        [[[0.0, 0.0, 2.0]]]
    """
    angles = torch.deg2rad(torch.stack((cameras.azimuth, cameras.elevation, cameras.fov * 0.5)))
    (sin_a, sin_e, sin_f), (cos_a, cos_e, cos_f) = angles.sin().unbind(), angles.cos().unbind()
    right = (cos_a, torch.zeros_like(cos_a), -sin_a)
    up = (-sin_a * sin_e, cos_e, -cos_a * sin_e)
    forward = (-sin_a * cos_e, -sin_e, -cos_a * cos_e)
    bases = torch.stack(right + up + forward, dim=-1).unflatten(-1, (3, 3))
    positions = torch.addcmul(cameras.target, cameras.distance[..., None], bases[..., 2, :], value=-1.0)
    return Frames(positions, bases, sin_f / cos_f)


def image_from_world(
    points: Float[Tensor, "*batch 3"],
    positions: Float[Tensor, "*#batch 3"],
    bases: Float[Tensor, "*#batch 3 3"],
    extents: Float[Tensor, "*#batch"],
    size: int,
) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
    """Project world points into images, differentiably.

    Args:
        points: metres.
        positions, bases, extents: see `Frames`.
        size: rows and columns of the images.

    Returns:
        (column, row) in pixels, and view depth in metres.
    """
    view = (bases @ (points - positions)[..., None])[..., 0]
    scale = (0.5 * size / (extents * view[..., 2]))[..., None]
    flip, middle = (constants(values, view.dtype, view.device) for values in ((1.0, -1.0), (0.5 * size,)))
    return torch.addcmul(middle, view[..., :2] * flip, scale), view[..., 2]


def project(
    points: Float[Tensor, "B N 3"], cameras: Cameras, size: int
) -> tuple[Float[Tensor, "B V N 2"], Float[Tensor, "B V N"]]:
    """Project world points into every view, differentiably.

    Args:
        points: metres.
        cameras: (B, V) cameras.
        size: rows and columns of the images.

    Returns:
        (column, row) in pixels, and view depth in metres.

    Example:
        >>> one = torch.ones(1, 1)
        >>> camera = Cameras(0 * one, 0 * one, 2 * one, 90 * one, torch.zeros(1, 1, 3))
        >>> place, depth = project(torch.zeros(1, 1, 3), camera, size=8)
        >>> place.flatten().tolist(), depth.item()
        ([4.0, 4.0], 2.0)
    """
    frames = camera_frames(cameras)
    views = frames.positions.shape[1]
    return image_from_world(
        points[:, None].expand(-1, views, -1, -1),
        frames.positions[:, :, None],
        frames.bases[:, :, None],
        frames.extents[:, :, None],
        size,
    )


def intersect(
    corners: Float[Tensor, "P 3 3"],
    origins: Float[Tensor, "P 3"],
    directions: Float[Tensor, "P 3"],
    seen: Bool[Tensor, " P"] | None = None,
) -> tuple[Float[Tensor, "P 3"], Float[Tensor, " P"]]:
    """Intersect each ray with the plane of its triangle, differentiably in all inputs.

    Source: Möller and Trumbore, "Fast, Minimum Storage Ray/Triangle Intersection", 1997, eq. 6.

    Args:
        corners: of the triangles, metres.
        origins: of the rays, metres.
        directions: of the rays, any length.
        seen: False for rays whose results do not count; their gradients are finite, even along the plane. None: all
            count.

    Returns:
        barycentric coordinates (perspective-correct, sum 1; outside [0, 1] where the ray misses the triangle), and the
        distance along the ray in units of its direction's length.

    Example:
        >>> corners = torch.tensor([[[0.0, 0.0, -2.0], [4.0, 0.0, -2.0], [0.0, 4.0, -2.0]]])
        >>> weights, distance = intersect(corners, torch.zeros(1, 3), torch.tensor([[0.5, 1.0, -1.0]]))
        >>> weights.tolist(), distance.item()  # the ray meets (1, 2, -2)
        ([[0.25, 0.25, 0.5]], 2.0)
    """
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    offset = origins - corners[:, 0]
    p = torch.linalg.cross(directions, edge2)
    q = torch.linalg.cross(offset, edge1)
    determinant = (edge1 * p).sum(-1)
    inverse = 1.0 / (determinant if seen is None else determinant.where(seen, 1.0))
    u, v = (offset * p).sum(-1) * inverse, (directions * q).sum(-1) * inverse
    return torch.stack((1.0 - u - v, u, v), dim=-1), (edge2 * q).sum(-1) * inverse
