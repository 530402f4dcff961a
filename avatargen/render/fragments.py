"""Rasterisation by PyTorch3D: the nearest faces at each pixel, with distances, depths and barycentric coordinates.

The rasteriser is the one behind `pytorch3d.renderer.MeshRasterizer`. On the CPU it tests every face at every pixel, so
images are cut into tiles there, and each tile gets the faces near it; on a GPU it has bins of its own. Its backward
pass on the CPU takes about 40 microseconds for each pixel and face, so gradients come from the same formulas in torch
there. Source: Ravi et al., "Accelerating 3D Deep Learning with PyTorch3D", arXiv 2007.08501.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.errors import InputError
from avatargen.config.packages import pytorch3d_failure
from avatargen.render.geometry import Frames, image_from_world

try:
    from pytorch3d.renderer.mesh import rasterize_meshes
    from pytorch3d.structures import Meshes
except (ImportError, OSError) as error:  # absent, or compiled for another torch
    raise InputError([pytorch3d_failure(error)]) from error

MOST_TILES, LEAST_PIXELS = 16, 8
"""Most tiles along each side of an image on the CPU, and least pixels along each side of a tile."""
ON_EDGE = 1.0e-12
"""Blur for the visible face, see `rasterise`: PyTorch3D takes a point on an edge as outside of both its faces."""
EPSILON = 1.0e-8
"""Least denominator; `kEpsilon` of PyTorch3D."""
NEAR = 1.0e-6  # metres; faces with a corner nearer than this to the camera plane are given to all tiles


@dataclass(frozen=True)
class Fragments:
    """The P pairs of a sample and a face near it, by sample and then from near to far.

    Attributes:
        sample: flat index in the (B, V, H, W) grid of samples.
        face: index of the face.
        weights: perspective-correct barycentric coordinates, clipped to the face if there is blur.
        distance: squared distance to the face in the image, negative inside, in half image heights squared.
        depth: view depth, metres.
    """

    sample: Int[Tensor, " P"]
    face: Int[Tensor, " P"]
    weights: Float[Tensor, "P 3"]
    distance: Float[Tensor, " P"]
    depth: Float[Tensor, " P"]

    def detach(self) -> Fragments:
        """Return the same fragments without gradients."""
        return Fragments(self.sample, self.face, self.weights.detach(), self.distance.detach(), self.depth.detach())


def rasterise(
    vertices: Float[Tensor, "B N 3"],
    faces: Int[Tensor, "F 3"],
    frames: Frames,
    size: int,
    blur: float,
    count: int,
    own_backward: bool | None = None,
) -> Fragments:
    """Return the nearest faces at each pixel's centre, differentiable in the vertices.

    Args:
        vertices: metres.
        faces: of all meshes.
        frames: of the cameras.
        size: rows and columns of the images.
        blur: largest squared distance to a face that does not hold the pixel's centre, half image heights squared.
        count: most faces for each pixel.
        own_backward: differentiate by PyTorch3D's backward pass, or in torch by the same formulas; by default the
            former on a GPU and the latter, which is 50 times faster there, on the CPU.
    """
    tiles = 1 if vertices.is_cuda else tiles_along(size)
    places = _places(vertices, frames, tiles)
    tile, image, face = _assigned(places.detach(), faces, tiles, margin=0.5 * tiles * math.sqrt(blur))
    used, number = tile.unique_consecutive(return_counts=True)
    if not len(used):
        empty = vertices.flatten()[:0]  # with a graph
        return Fragments(face, face, empty.view(0, 3), empty, empty)
    rows = faces.index_select(0, face) + (image * vertices.shape[1])[:, None]
    corners = places.view(-1, 3).index_select(0, rows.flatten())
    down, across = tile // tiles % tiles, tile % tiles
    origin = torch.stack((across, down), dim=1).repeat_interleave(3, dim=0)
    ndc = torch.cat((1 - 2 * (corners[:, :2] - origin), corners[:, 2:]), dim=1)  # x to the left, y up
    lengths = number.tolist()
    ordered = torch.arange(3 * max(lengths), device=faces.device).view(-1, 3)
    meshes = Meshes(list(ndc.split([3 * n for n in lengths])), [ordered[:n] for n in lengths])
    own_backward = vertices.is_cuda if own_backward is None else own_backward
    with torch.set_grad_enabled(own_backward and torch.is_grad_enabled()):
        options = {"perspective_correct": True, "clip_barycentric_coords": blur > 0}
        index, *rest = rasterize_meshes(meshes, size // tiles, blur * tiles**2, count, **options)
    found = (index.flatten() >= 0).nonzero()[:, 0]
    pixel = torch.div(found, count, rounding_mode="floor")
    sample = _samples(used, tiles, size)[pixel]
    if tiles > 1:
        order = sample.argsort(stable=True)
        found, sample, pixel = found[order], sample[order], pixel[order]
    pair = index.flatten()[found]
    if ndc.requires_grad and not own_backward:
        depth, weights, distance = _measured(ndc.view(-1, 3, 3)[pair], _centres(pixel, size // tiles), blur > 0)
    else:
        depth, weights, distance = (values.flatten(0, 3)[found] for values in rest)
    return Fragments(sample, face[pair], weights, distance / tiles**2, depth)


def _measured(
    corners: Float[Tensor, "P 3 3"], points: Float[Tensor, "P 2"], clip: bool
) -> tuple[Float[Tensor, " P"], Float[Tensor, "P 3"], Float[Tensor, " P"]]:
    """Return depth, barycentric coordinates and signed squared distance of points to faces, as PyTorch3D computes them.

    Args:
        corners: x and y in the image, and view depth.
        points: x and y in the image.
        clip: move points outside a face to its border.
    """
    place, z = corners[..., :2], corners[..., 2]
    edges = place.roll(-2, 1) - place.roll(-1, 1)  # opposite to each corner
    towards = points[:, None] - place.roll(-1, 1)
    areas = towards[..., 0] * edges[..., 1] - towards[..., 1] * edges[..., 0]
    right, up = place[:, 2] - place[:, 0], place[:, 1] - place[:, 0]
    area = right[:, 0] * up[:, 1] - right[:, 1] * up[:, 0]
    weights = areas / (area + EPSILON)[:, None] * z.roll(-1, 1) * z.roll(-2, 1)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=EPSILON)
    inside = (weights > 0).all(1)
    if clip:
        weights = weights.clamp(min=0)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-5)
    with torch.no_grad():  # the nearest point of the border does not move along it, to first order
        along = ((towards * edges).sum(-1) / edges.square().sum(-1).clamp(min=1e-12)).clamp(0, 1)
        nearest = (towards - along[..., None] * edges).square().sum(-1).argmin(1)[:, None, None]
    pick = nearest.expand(-1, 1, 2)
    shift = (towards.gather(1, pick) - along.gather(1, nearest[:, 0])[..., None] * edges.gather(1, pick))[:, 0]
    distance = shift.square().sum(-1)
    return (weights * z).sum(1), weights, torch.where(inside, -distance, distance)


def _centres(pixel: Int[Tensor, " P"], side: int) -> Float[Tensor, "P 2"]:
    """Return x (to the left) and y (up) of pixels' centres in images from -1 to 1, given by flat index."""
    place = torch.stack((pixel % side, torch.div(pixel, side, rounding_mode="floor") % side), dim=1)
    return 1 - (2 * place + 1) / side


def tiles_along(size: int) -> int:
    """Return the number of tiles along each side of an image, a divisor of its size.

    Example:
        >>> tiles_along(64), tiles_along(1024), tiles_along(60)
        (8, 16, 6)
    """
    return max(n for n in range(1, MOST_TILES + 1) if size % n == 0 and (n == 1 or size // n >= LEAST_PIXELS))


def _places(vertices: Tensor, frames: Frames, tiles: int) -> Float[Tensor, "BV N 3"]:
    """Return (column, row) in tiles and the view depth of each vertex in each view."""
    views = frames.extents.shape[1]
    place, depth = image_from_world(
        vertices[:, None].expand(-1, views, -1, -1),
        frames.positions[:, :, None],
        frames.bases[:, :, None],
        frames.extents[:, :, None],
        tiles,
    )
    return torch.cat((place, depth[..., None]), dim=-1).flatten(0, 1)


def _assigned(
    places: Float[Tensor, "BV N 3"], faces: Int[Tensor, "F 3"], tiles: int, margin: float
) -> tuple[Int[Tensor, " Q"], Int[Tensor, " Q"], Int[Tensor, " Q"]]:
    """Return the pairs of a tile and a face near it: (tile of all images, image, face), by tile and then by face."""
    corners = places[:, faces]
    low, high = corners.amin(2), corners.amax(2)
    first = (low[..., :2] - margin).floor()
    last = (high[..., :2] + margin).floor()
    seen = ((last >= 0) & (first < tiles)).all(-1)
    behind = low[..., 2] < NEAR
    first = torch.where(behind[..., None], 0, first).clamp(0, tiles - 1).long()
    last = torch.where(behind[..., None], tiles - 1, last).clamp(0, tiles - 1).long()
    extent = last - first + 1
    number = (extent.prod(-1) * ((seen | behind) & (high[..., 2] > NEAR))).flatten()
    pair = torch.arange(len(number), device=faces.device).repeat_interleave(number)
    rank = torch.arange(len(pair), device=faces.device) - (number.cumsum(0) - number)[pair]
    width, start = extent[..., 0].flatten()[pair], first.flatten(0, 1)[pair]
    image = torch.div(pair, len(faces), rounding_mode="floor")
    tile = (image * tiles + start[:, 1] + rank // width) * tiles + start[:, 0] + rank % width
    order = tile.argsort(stable=True)
    return tile[order], image[order], (pair % len(faces))[order]


def _samples(used: Int[Tensor, " M"], tiles: int, size: int) -> Int[Tensor, " MPixels"]:
    """Return the flat index, in the grid of all images, of each pixel of the tiles that are used."""
    side = size // tiles
    image, down, across = used // tiles**2, used // tiles % tiles, used % tiles
    within = torch.arange(side, device=used.device)
    row = (down * side)[:, None] + within
    column = (across * side)[:, None] + within
    return ((image * size)[:, None, None] + row[:, :, None]).mul(size).add(column[:, None, :]).flatten()
