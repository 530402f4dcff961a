"""PyTorch3D as a renderer: soft rasterisation, which the paper used.

With gradients, everything is blended softly (Liu et al., "Soft Rasterizer", ICCV 2019, arXiv 1904.01786). Face j lies at
the squared distance d from a sample, negative inside the face, and at depth z. It counts with the probability
D = sigmoid(-d / sigma), and in front of others by the weight D exp(-z / gamma), normalised over the faces of the sample:

coverage   the soft silhouette, 1 - product of (1 - D); mean over the samples of a pixel.
features   texture or attributes by these weights. SoftRas gives the background a weight, too, which is 0 in float32 at
           the usual gamma; here `RenderOutput.over` composites by the coverage instead. The samples of a pixel are
           averaged by their coverage, so that a composite is the mean of its samples' composites.
normals    unit normals by the same weights.
depth      of the visible face, not blended; so is face_ids.

Without gradients nothing is soft: the visible faces are PyTorch3D's, and all outputs are computed from them as the
default renderer does. The rasteriser is the one behind `pytorch3d.renderer.MeshRasterizer`. On the CPU it tests every
face at every pixel, so images are cut into tiles there, and each tile gets the faces near it; on a GPU it has bins of
its own. Source: Ravi et al., "Accelerating 3D Deep Learning with PyTorch3D", arXiv 2007.08501.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from avatargen.config.errors import InputError
from avatargen.config.packages import pytorch3d_failure
from avatargen.config.settings import SoftRasterSettings
from avatargen.geometry.types import Cameras, RenderOutput
from avatargen.render.base import Interior
from avatargen.render.geometry import Frames, camera_frames, image_from_world
from avatargen.render.sampling import add_rows
from avatargen.render.warp import Hits, WarpRenderer, nearest_depth

try:
    from pytorch3d.renderer.mesh import rasterize_meshes
    from pytorch3d.structures import Meshes
except (ImportError, OSError) as error:  # absent, or compiled for another torch
    raise InputError([pytorch3d_failure(error)]) from error

TAIL = 1.0e-4
"""Probability below which a face no longer counts at a sample (`dist_eps` of SoftRas' code)."""
DEPTH_RANGE = 99.0
"""Metres from the near to the far plane of SoftRas' code, 1 to 100; gamma is a share of it."""
MOST_TILES, LEAST_PIXELS = 16, 8
"""Most tiles along each side of an image on the CPU, and least pixels along each side of a tile."""
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


class Pytorch3dRenderer(WarpRenderer):
    """PyTorch3D's rasteriser: soft with gradients, hard without; see the module and the base class.

    Args:
        topology: faces and texture coordinates.
        template: has no effect.
        soft: sigma, gamma, and the number of faces that blend.
    """

    def render(
        self,
        vertices: Float[Tensor, "B N 3"],
        cameras: Cameras,
        size: int,
        *,
        texture: Float[Tensor, "B C Ht Wt"] | None = None,
        attributes: Float[Tensor, "B N C"] | None = None,
        samples: int = 1,
        gradients: bool = True,
        normals: bool = True,
        interior: Interior = "all",
    ) -> RenderOutput:
        """See the base class, and the module for what each output is."""
        if not gradients:
            options = {"samples": samples, "gradients": False, "normals": normals, "interior": interior}
            return super().render(vertices, cameras, size, texture=texture, attributes=attributes, **options)
        self._check(vertices, cameras, texture, attributes)
        vertices, shape = vertices.contiguous(), (*cameras.fov.shape, size * samples, size * samples)
        frames = camera_frames(cameras)
        fragments = self._near_faces(vertices, frames, size * samples)
        coverage = sample_coverage(fragments, self.soft.sigma, shape)
        within = vertices if interior == "all" else vertices.detach()
        if interior != "all":
            fragments = fragments.detach()
        hits = self._fragment_hits(fragments, vertices.shape[1], shape)
        blend = Blend.of(fragments, coverage if interior == "all" else coverage.detach(), samples, self.soft)
        features = blend.mean(self._features(within, hits, texture, attributes))
        if normals:
            shading = blend.mean(self._normals(vertices if interior == "normals" else within, hits))
        else:
            shading = coverage.new_zeros(*shape[:2], 3, size, size)
        faces, directions = self._visible_faces(vertices, frames, size * samples)
        seen = self._hits(within, frames, faces, directions)
        depth = nearest_depth(seen.depth, seen.sample, faces.shape, samples)
        centres = faces[..., samples // 2 :: samples, samples // 2 :: samples]
        return RenderOutput(features, pooled(coverage, samples), depth, shading, centres)

    def silhouette(
        self, vertices: Float[Tensor, "B N 3"], cameras: Cameras, size: int, *, samples: int = 2
    ) -> Float[Tensor, "B V 1 size size"]:
        """Render the soft silhouette."""
        self._check(vertices, cameras, None, None)
        shape = (*cameras.fov.shape, size * samples, size * samples)
        fragments = self._near_faces(vertices.contiguous(), camera_frames(cameras), size * samples)
        return pooled(sample_coverage(fragments, self.soft.sigma, shape), samples)

    def _visible_faces(self, vertices: Tensor, frames: Frames, size: int) -> tuple[Tensor, Tensor]:
        """Return the visible face at each pixel's centre, -1 for none, and the directions of rays."""
        shape = (*frames.extents.shape, size, size)
        fragments = rasterise(vertices.detach(), self._faces, frames, size, blur=0.0, count=1)
        faces = torch.full((math.prod(shape),), -1, device=vertices.device)
        faces = faces.index_copy(0, fragments.sample, fragments.face).view(shape)
        return faces.int(), pixel_directions(frames, size)

    def _near_faces(self, vertices: Tensor, frames: Frames, size: int) -> Fragments:
        """Return the faces that blend at each sample."""
        blur = self.soft.sigma * math.log(1 / TAIL - 1)
        return rasterise(vertices, self._faces, frames, size, blur, self.soft.faces_per_pixel)

    def _fragment_hits(self, fragments: Fragments, vertices: int, shape: tuple[int, ...]) -> Hits:
        """Return fragments as hits of meshes with a number of vertices each, in a (B, V, H, W) grid of samples."""
        batch = torch.div(fragments.sample, math.prod(shape[1:]), rounding_mode="floor")
        corners = self._faces.index_select(0, fragments.face) + (batch * vertices)[:, None]
        return Hits(fragments.sample, batch, fragments.face, corners, fragments.weights, fragments.depth)


@dataclass(frozen=True)
class Blend:
    """Weights of fragments in the pixels of a (B, V, H, W) grid; those of a pixel sum to 1.

    Attributes:
        pixel: flat index of the pixel of each fragment.
        weights: of the fragments.
        shape: of the grid of pixels.
    """

    pixel: Int[Tensor, " P"]
    weights: Float[Tensor, " P"]
    shape: tuple[int, ...]

    @classmethod
    def of(
        cls, fragments: Fragments, coverage: Float[Tensor, "B V Hk Wk"], samples: int, soft: SoftRasterSettings
    ) -> Blend:
        """Weigh the fragments of a sample by probability and depth, and the samples of a pixel by their coverage.

        Args:
            fragments: that blend.
            coverage: of the samples.
            samples: along each side of a pixel.
            soft: sigma and gamma.
        """
        sample, count = fragments.sample, coverage.numel()
        nearest = coverage.new_full((count,), torch.inf).scatter_reduce(0, sample, fragments.depth.detach(), "amin")
        behind = (fragments.depth - nearest[sample]) / (DEPTH_RANGE * soft.gamma)
        weights = torch.sigmoid(-fragments.distance / soft.sigma) * torch.exp(-behind)
        weights = weights * (coverage.flatten() / sums(weights, sample, count).clamp(min=1e-20))[sample]
        rows, columns = coverage.shape[-2:]
        image, row, column = sample // (rows * columns), sample // columns % rows, sample % columns
        shape = (*coverage.shape[:2], rows // samples, columns // samples)
        pixel = (image * shape[2] + row // samples) * shape[3] + column // samples
        total = sums(weights, pixel, math.prod(shape))
        return cls(pixel, weights / total.clamp(min=1e-20)[pixel], shape)

    def mean(self, values: Float[Tensor, "P C"]) -> Float[Tensor, "B V C H W"]:
        """Return the weighted mean of the fragments' values in each pixel, zero where there is none."""
        table = add_rows(values * self.weights[:, None], self.pixel, math.prod(self.shape))
        return table.view(*self.shape, -1).movedim(-1, 2)


def sums(values: Float[Tensor, " P"], index: Int[Tensor, " P"], count: int) -> Float[Tensor, " {count}"]:
    """Return the sum of the values of each index."""
    return values.new_zeros(count).index_add(0, index, values)


def pooled(coverage: Float[Tensor, "B V Hk Wk"], samples: int) -> Float[Tensor, "B V 1 H W"]:
    """Return the mean coverage of each pixel's samples."""
    return torch.nn.functional.avg_pool2d(coverage, samples)[:, :, None]


def sample_coverage(fragments: Fragments, sigma: float, shape: tuple[int, ...]) -> Float[Tensor, "B V Hk Wk"]:
    """Return the soft silhouette at each sample, 1 - product of (1 - D).

    Args:
        fragments: faces near each sample.
        sigma: sharpness of the probability D.
        shape: of the grid of samples.
    """
    missed = sums(logsigmoid(fragments.distance / sigma), fragments.sample, math.prod(shape))
    return -torch.expm1(missed).view(shape)


def pixel_directions(frames: Frames, size: int) -> Float[Tensor, "B V {size} {size} 3"]:
    """Return the world directions through the pixels' centres, of length 1 along the optical axis."""
    place = (torch.arange(size, device=frames.extents.device) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(-place, place, indexing="ij")
    view = torch.stack((x, y), dim=-1) * frames.extents[..., None, None, None]
    bases = frames.bases[:, :, None, None]
    return view[..., :1] * bases[..., 0, :] + view[..., 1:] * bases[..., 1, :] + bases[..., 2, :]


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
        empty = vertices.new_zeros(0)
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

    Its own backward pass on the CPU takes about 40 microseconds for each point.

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
