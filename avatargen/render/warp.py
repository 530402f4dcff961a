"""The default renderer: Warp finds the visible faces, torch computes what they look like.

A ray through each sample finds the visible face. Position, depth, attributes, texture and normals are computed again in
torch from the face's corners, so that gradients reach the vertices and the texture. Coverage is the fraction of samples
that hit; its gradient comes from `avatargen.render.coverage`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from avatargen.config.settings import SoftRasterSettings
from avatargen.geometry.types import Cameras, HeadTopology, RenderOutput
from avatargen.render.base import Interior, Renderer
from avatargen.render.coverage import ContourEdges, with_contour_gradient
from avatargen.render.geometry import Frames, camera_frames, intersect
from avatargen.render.normals import VertexRings, vertex_normals
from avatargen.render.sampling import add_rows, bilinear, weighted_rows
from avatargen.render.visibility import MeshBatch

LARGE = 2**22
"""Samples above which a GPU shades only those that hit: shading takes about 0.3 GiB for each million of samples."""


@dataclass(frozen=True)
class Hits:
    """P samples and where they hit a mesh; see `shaded_samples`.

    Attributes:
        sample: flat index in the (B, V, size * samples, size * samples) grid of samples.
        batch: index of the avatar.
        face: index of the face.
        corners: the face's corners, as rows of the (B * N, ...) table of vertices.
        weights: perspective-correct barycentric coordinates, differentiable in the vertices.
        depth: view depth, metres, differentiable in the vertices.
        seen: False for samples that hit nothing, whose other values do not count; None if all samples hit.
    """

    sample: Int[Tensor, " P"]
    batch: Int[Tensor, " P"]
    face: Int[Tensor, " P"]
    corners: Int[Tensor, "P 3"]
    weights: Float[Tensor, "P 3"]
    depth: Float[Tensor, " P"]
    seen: Bool[Tensor, " P"] | None = None


class WarpRenderer(Renderer):
    """The default renderer; runs on the device of the topology. See the base class.

    Args:
        topology: faces and texture coordinates.
        template: vertices (metres) that the hierarchies are built around, see `MeshBatch`. By default they are built
            around the texture layout, which makes rays about 15% slower.
        soft: has no effect.
    """

    def __init__(
        self,
        topology: HeadTopology,
        template: Float[Tensor, "N 3"] | None = None,
        soft: SoftRasterSettings | None = None,
    ):
        super().__init__(topology, template, soft)
        self._faces = topology.faces.long()
        self._corner_uvs = topology.uvs[topology.face_uvs.long()].flatten(1)
        self._rings: VertexRings | None = None
        self._edges: ContourEdges | None = None

    @cached_property
    def _meshes(self) -> MeshBatch:
        template = flat_layout(self.topology) if self.template is None else self.template
        return MeshBatch(self.topology.faces, template)

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
        """See the base class. `face_ids` are those of the sample at the centre, or for an even number of samples along
        a side, of the sample to the right and below the centre.
        """
        self._check(vertices, cameras, texture, attributes)
        vertices = vertices.contiguous()
        frames = camera_frames(cameras)
        faces, directions = self._visible_faces(vertices, frames, size * samples)
        within = vertices if interior == "all" else vertices.detach()
        hits = self._hits(within, frames, faces, directions)
        pixels = Pixels.of(hits, faces.shape, samples)
        coverage = pixels.coverage(samples)
        features = pixels.mean(self._features(within, hits, texture, attributes))
        depth = nearest_depth(hits.depth, hits.sample, faces.shape, samples, hits.seen)
        if gradients:
            coverage = self._with_gradient(coverage, vertices, frames, faces)
        if normals:
            shading = pixels.mean(self._normals(vertices if interior == "normals" else within, hits))
        else:
            shading = torch.zeros_like(depth).expand(-1, -1, 3, -1, -1)
        centres = faces[..., samples // 2 :: samples, samples // 2 :: samples]
        return RenderOutput(features, coverage, depth, shading, centres)

    def silhouette(
        self, vertices: Float[Tensor, "B N 3"], cameras: Cameras, size: int, *, samples: int = 2
    ) -> Float[Tensor, "B V 1 size size"]:
        """See the base class; details smaller than a pixel and away from the outline may be missed."""
        self._check(vertices, cameras, None, None)
        vertices = vertices.contiguous()
        self._meshes.update(vertices)
        frames = camera_frames(cameras)
        coverage, hits = self._meshes.covered(frames, size, samples)
        return self._with_gradient(coverage[:, :, None], vertices, frames, hits)

    def _visible_faces(self, vertices: Tensor, frames: Frames, size: int) -> tuple[Tensor, Tensor]:
        """Return faces and directions as `MeshBatch.visible_faces` does; another renderer may find them differently."""
        self._meshes.update(vertices)
        return self._meshes.visible_faces(frames, size)

    def _with_gradient(self, coverage: Tensor, vertices: Tensor, frames: Frames, seen: Tensor) -> Tensor:
        """Return the coverage, differentiable in the vertices if they require gradients."""
        if not (torch.is_grad_enabled() and vertices.requires_grad):
            return coverage
        if self._edges is None:
            self._edges = ContourEdges(self.topology.faces)
        return with_contour_gradient(coverage, vertices, frames, self._edges, self._meshes, seen)

    def _check(self, vertices, cameras, texture, attributes) -> None:
        """Raise ValueError if batch sizes differ, or if there are both texture and attributes."""
        if texture is not None and attributes is not None:
            raise ValueError("render: got both texture and attributes; give one of the two or neither")
        tables = {"cameras": cameras.fov, "texture": texture, "attributes": attributes}
        for name, table in tables.items():
            if table is not None and len(table) != len(vertices):
                raise ValueError(f"render: got {name} for {len(table)} meshes; expected {len(vertices)}")

    def _hits(self, vertices, frames: Frames, faces, directions) -> Hits:
        """Return where the rays of samples that see a face meet it."""
        sample, face, seen = shaded_samples(faces, len(self._faces))
        view = torch.div(sample, faces[0, 0].numel(), rounding_mode="floor")
        batch = torch.div(view, faces.shape[1], rounding_mode="floor")
        corners = self._faces.index_select(0, face) + (batch * vertices.shape[1])[:, None]
        points = vertices.reshape(-1, 3).index_select(0, corners.flatten()).view(-1, 3, 3)
        origins = frames.positions.view(-1, 3).index_select(0, view)
        weights, depth = intersect(points, origins, directions.view(-1, 3).index_select(0, sample), seen)
        if seen is not None:
            weights = weights.where(seen[:, None], 1 / 3)
        return Hits(sample, batch, face, corners, weights, depth, seen)

    def _features(self, vertices, hits: Hits, texture, attributes) -> Tensor:
        """Return texture or attributes at the hits, (P, C)."""
        if texture is not None:
            uvs = self._corner_uvs.index_select(0, hits.face).view(-1, 3, 2)
            return bilinear(texture, (uvs * hits.weights[:, :, None]).sum(1), hits.batch)
        if attributes is not None:
            return weighted_rows(attributes.reshape(-1, attributes.shape[-1]), hits.corners, hits.weights)
        return vertices.new_zeros(len(hits.face), 0)

    def _normals(self, vertices, hits: Hits) -> Tensor:
        """Return smooth unit normals at the hits, (P, 3)."""
        if self._rings is None:
            self._rings = VertexRings(self._faces, vertices.shape[1])
        needed = torch.zeros(vertices.shape[:2], dtype=torch.bool, device=vertices.device)
        needed.view(-1).index_fill_(0, hits.corners.flatten(), True)
        normals = vertex_normals(vertices, needed, self._rings)
        smooth = weighted_rows(normals.view(-1, 3), hits.corners, hits.weights)
        return torch.nn.functional.normalize(smooth, dim=-1)


@dataclass(frozen=True)
class Pixels:
    """The pixels of P samples.

    Attributes:
        index: pixel of each sample, a flat index in the (B, V, H, W) grid of pixels.
        counts: number of samples that hit in each pixel.
        seen: see `Hits`.
    """

    index: Int[Tensor, " P"]
    counts: Float[Tensor, "B V H W"]
    seen: Bool[Tensor, " P"] | None

    @classmethod
    def of(cls, hits: Hits, shape: torch.Size, samples: int) -> Pixels:
        """Assign the samples of a (B, V, H * samples, W * samples) grid to pixels."""
        size = shape[-1] // samples
        index = sample = hits.sample
        if samples > 1:
            row = torch.div(sample, shape[-1] * samples, rounding_mode="floor")
            index = row * size + torch.div(sample % shape[-1], samples, rounding_mode="floor")
        counts = torch.zeros((*shape[:2], size, size), device=sample.device)
        hit = counts.new_ones(()).expand(len(index)) if hits.seen is None else hits.seen.to(counts.dtype)
        counts.view(-1).index_add_(0, index, hit)
        return cls(index, counts, hits.seen)

    def coverage(self, samples: int) -> Float[Tensor, "B V 1 H W"]:
        """Return the fraction of each pixel's samples that hit."""
        return (self.counts / samples**2)[:, :, None]

    def mean(self, values: Float[Tensor, "P C"]) -> Float[Tensor, "B V C H W"]:
        """Return the mean over the samples that hit in each pixel, zero where none does."""
        counts = self.counts
        if self.seen is not None:
            values, counts = values.where(self.seen[:, None], 0.0), counts.clamp(min=1.0)
        values = values / counts.view(-1).index_select(0, self.index)[:, None]
        return add_rows(values, self.index, self.counts.numel()).view(*self.counts.shape, -1).movedim(-1, 2)


def flat_layout(topology: HeadTopology) -> Float[Tensor, "N 3"]:
    """Return the texture layout as flat vertices, in which neighbours on the surface stay close.

    A vertex takes the texture coordinates of the first face corner that it belongs to.
    """
    vertex, corner = topology.faces.flatten().long(), topology.face_uvs.flatten().long()
    first = corner.new_full((int(vertex.max()) + 1,), len(corner) - 1)
    first.scatter_reduce_(0, vertex, torch.arange(len(corner), device=corner.device), reduce="amin")
    return torch.nn.functional.pad(topology.uvs[corner[first]], (0, 1))


def shaded_samples(
    faces: Int[Tensor, "B V Hk Wk"], count: int
) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"], Bool[Tensor, " P"] | None]:
    """Return the samples that are shaded: those that see a face, and on a GPU the others, too.

    The host would have to wait for a GPU's number of samples that see a face, which only images of more than `LARGE`
    samples are worth. The others get faces in turn, so that the additions of their gradients, which are zero, do not
    queue for the memory of one face.

    Args:
        faces: that the samples see, -1 for none.
        count: of the mesh's faces.

    Returns:
        flat index of each sample in the grid; its face; and whether it sees it, None if all do.
    """
    flat = faces.flatten()
    if flat.device.type == "cpu" or len(flat) > LARGE:
        sample = (flat >= 0).nonzero()[:, 0]
        return sample, flat.index_select(0, sample).long(), None
    sample, seen = torch.arange(len(flat), device=flat.device), flat >= 0
    return sample, torch.where(seen, flat, sample % count), seen


def nearest_depth(
    depth: Float[Tensor, " P"],
    sample: Int[Tensor, " P"],
    shape: torch.Size,
    samples: int,
    seen: Bool[Tensor, " P"] | None = None,
) -> Float[Tensor, "B V 1 H W"]:
    """Return the smallest view depth among the samples of each pixel, 0 where none hits.

    Args:
        depth: of the samples that hit, metres.
        sample: their flat indices in the grid of samples.
        shape: of the grid of samples, (B, V, H * samples, W * samples).
        samples: along each side of a pixel.
        seen: False for samples that hit nothing; None if all hit.
    """
    if seen is not None:
        depth = depth.where(seen, 0.0 if samples == 1 else torch.inf)
    if samples == 1:
        return depth.new_zeros(shape.numel()).index_add(0, sample, depth).view(shape)[:, :, None]
    grid = depth.new_full((shape.numel(),), -torch.inf).index_put((sample,), -depth).view(-1, 1, *shape[2:])
    nearest = -torch.nn.functional.max_pool2d(grid, samples)
    return nearest.where(nearest < torch.inf, nearest.new_zeros(())).unflatten(0, shape[:2])
