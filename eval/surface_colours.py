"""Follow points of a surface through a sequence of images, and measure what changes on them.

A point's place in every frame is known, because the geometry is: no optical flow is estimated. Between two frames, the
colour of a point that both show changes by the warping error of Lai et al., "Learning Blind Video Temporal
Consistency", 2018 (equation 10), here as a mean absolute difference in 8-bit levels. A texture that is fixed on the
surface has none, up to the sampling of its images; one that stays on the screen while the surface moves has all of its
own contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d, normalize

from avatargen.geometry.types import Cameras
from avatargen.render.base import Renderer
from avatargen.render.geometry import camera_frames, project

LEAST_COSINE = 0.35
"""Least cosine between a face's normal and the direction to the camera; a slanted face has no pixels of its own."""
DEPTH_SLACK = 0.004
"""Largest distance behind the depth that its pixel shows at which a point counts as visible, metres."""
STILL = 1e-3
"""Pixels; a point that moves less stands still."""
WINDOW = 32
"""Side of the windows in which a displacement is estimated, pixels of the image."""
LEAST_CONTRAST = 4.0
"""Least root mean square of the gradient in a window's weakest direction, levels per pixel; below it, a displacement
cannot be told from a change of brightness.
"""


@dataclass(frozen=True)
class Followed:
    """Where P points of a surface are in T frames.

    Attributes:
        places: (column, row) in each frame, pixels.
        visible: whether a frame shows the point.
        areas: of the surface that each point stands for, square metres.
        faces: the point that each pixel shows, -1 for none.
    """

    places: Float[Tensor, "T P 2"]
    visible: Bool[Tensor, "T P"]
    areas: Float[Tensor, " P"]
    faces: Int[Tensor, "T H W"]

    def pairs(self) -> Bool[Tensor, "U P"]:
        """Return the points that both of two consecutive frames show."""
        return self.visible[1:] & self.visible[:-1]

    def at_rest(self) -> Bool[Tensor, "U P"]:
        """Return those of `pairs` that stand still between the two frames, and all that is shown around them too.

        Around a point are the 3 x 3 pixels from which its colour is interpolated.
        """
        moves = self.places.diff(dim=0).norm(dim=-1) > STILL
        before, after = self.faces[:-1].long(), self.faces[1:].long()
        moved = moves.gather(1, before.clamp(min=0).flatten(1)).view(before.shape) & (before >= 0)
        around = max_pool2d((moved | (before != after)).float(), 3, stride=1, padding=1)
        near = _sampled(around[:, None], self.places[:-1], "nearest")[..., 0] > 0
        return self.pairs() & ~moves & ~near


@torch.no_grad()
def follow(
    renderer: Renderer, vertices: Float[Tensor, "T N 3"], faces: Int[Tensor, "F 3"], cameras: Cameras, size: int
) -> Followed:
    """Follow the middle of each face.

    Args:
        renderer: of the mesh, for the depth of what hides what.
        vertices: of each frame, metres.
        faces: of the mesh.
        cameras: (1, T), one for each frame.
        size: rows and columns of the images.
    """
    places, visible, seen, mean = [], [], [], torch.zeros(len(faces))
    for frame, points in enumerate(vertices):
        camera = cameras.view(frame)
        corners = points[faces.long()]
        middles = corners.mean(dim=1)
        normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        towards = normalize(camera_frames(camera).positions[0, 0] - middles, dim=-1)
        (place,), (depth,) = (found[0] for found in project(middles[None], camera, size))
        shown = renderer.render(points[None], camera, size, gradients=False, normals=False)
        nearest = _sampled(shown.depth[0], place[None], "nearest")[0, :, 0]
        inside = ((place > 0.5) & (place < size - 0.5)).all(dim=-1)
        facing = (normalize(normals, dim=-1) * towards).sum(-1) > LEAST_COSINE
        places.append(place)
        visible.append(inside & facing & (nearest > 0) & (depth < nearest + DEPTH_SLACK))
        seen.append(shown.face_ids[0, 0])
        mean += normals.norm(dim=-1) / (2 * len(vertices))
    return Followed(torch.stack(places), torch.stack(visible), mean, torch.stack(seen))


def colours_of(images: UInt8[Tensor, "T H W 3"], followed: Followed) -> Float[Tensor, "T P 3"]:
    """Return the colour of each point in each frame, bilinear between pixels, in 8-bit levels."""
    return _sampled(images.permute(0, 3, 1, 2).float(), followed.places, "bilinear")


def warped_error(colours: Float[Tensor, "T P 3"], pairs: Bool[Tensor, "U P"], areas: Float[Tensor, " P"]) -> float:
    """Return the mean change of a point's colour between two consecutive frames, in the units of the colours.

    Args:
        colours: of each point in each frame.
        pairs: points that count between frames t and t + 1, see `Followed.pairs`; U = T - 1.
        areas: how much each point counts.

    Returns:
        Mean absolute difference over channels and points; NaN where no point counts.

    Example:
        >>> colours = torch.tensor([[[10.0, 10.0, 10.0]], [[16.0, 10.0, 10.0]], [[16.0, 10.0, 10.0]]])
        >>> warped_error(colours, pairs=torch.tensor([[True], [True]]), areas=torch.ones(1))
        1.0
    """
    change = colours.diff(dim=0).abs().mean(dim=-1)
    weights = pairs * areas
    return float((change * weights).sum() / weights.sum()) if weights.any() else float("nan")


def swim(images: UInt8[Tensor, "T H W 3"], followed: Followed) -> float:
    """Return how far a texture moves over the surface between two consecutive frames, root mean square in pixels.

    In each window of the frame that has contrast in two directions, the displacement s of the pattern against the
    surface is the least-squares solution of g · s + b = -c over points and channels, where g is the gradient of the
    image, c the change of the point's colour and b one of brightness, for each channel (Lucas and Kanade, "An
    Iterative Image Registration Technique", 1981, whose section 4.4 has b). A change that neither explains is left out.

    Returns:
        NaN where no window has contrast.
    """
    values = images.permute(0, 3, 1, 2).float()
    changes = colours_of(images, followed).diff(dim=0)
    down, across = torch.gradient(values, dim=(2, 3))
    slopes = torch.stack([_sampled(part, followed.places, "bilinear") for part in (across, down)], dim=-1)
    slopes = (slopes[1:] + slopes[:-1]) / 2  # of both frames: a first-order estimate from one is biased
    squares = []
    for frame, pair in enumerate(followed.pairs()):
        cell = (followed.places[frame, pair] / WINDOW).long()
        row = cell[:, 1] * (images.shape[2] // WINDOW + 1) + cell[:, 0]
        squares.append(_displacements(slopes[frame, pair], changes[frame, pair], row))
    found = torch.cat(squares)
    return float(found.mean().sqrt()) if len(found) else float("nan")


def _displacements(
    slopes: Float[Tensor, "P 3 2"], changes: Float[Tensor, "P 3"], window: Int[Tensor, " P"]
) -> Float[Tensor, " W"]:
    """Return the squared displacement in each window that has contrast, pixels squared."""
    values = torch.cat((slopes, changes[:, :, None]), dim=-1)
    names, index = window.unique(return_inverse=True)
    count = torch.bincount(index, minlength=len(names)).view(-1, 1, 1)
    mean = torch.zeros(len(names), 3, 3).index_add_(0, index, values) / count
    values = values - mean[index]  # what remains has no common change of brightness
    products = torch.zeros(len(names), 3, 3).index_add_(0, index, values.mT @ values / 3) / count
    normal, right = products[:, :2, :2], -products[:, :2, 2:]
    strong = torch.linalg.eigvalsh(normal)[:, 0] > LEAST_CONTRAST**2
    return torch.linalg.solve(normal[strong], right[strong]).square().sum(dim=(1, 2))


def _sampled(images: Float[Tensor, "T C H W"], places: Float[Tensor, "T P 2"], mode: str) -> Float[Tensor, "T P C"]:
    """Return the values of images at places in pixels."""
    grid = places / torch.tensor([images.shape[3], images.shape[2]]) * 2 - 1
    return grid_sample(images, grid[:, None], mode=mode, padding_mode="border", align_corners=False)[:, :, 0].mT
