"""The default renderer: Warp decides what is visible, torch computes what it looks like.

A ray through each sample finds the visible face; position, depth, attributes, texture and normals are derived again
in torch from that face's corners, so that gradients reach the vertices and the texture. Coverage is the fraction of
samples that hit; its gradient comes from :mod:`avatargen.render.coverage`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.render.base import Renderer
from avatargen.render.coverage import ContourEdges, with_contour_gradient
from avatargen.render.geometry import Frames, camera_frames, intersect
from avatargen.render.normals import VertexRings, vertex_normals
from avatargen.render.sampling import bilinear, weighted_rows
from avatargen.render.visibility import MeshBatch
from avatargen.types import Cameras, HeadTopology, RenderOutput


@dataclass(frozen=True)
class Hits:
    """The P samples that hit a mesh.

    Attributes:
        sample: flat index in the (B, V, size * samples, size * samples) grid of samples.
        batch: which avatar.
        face: which of its faces.
        corners: the face's corners, as rows of the (B * N, ...) table of vertices.
        weights: perspective-correct barycentric coordinates, differentiable in the vertices.
        depth: view depth, metres, differentiable in the vertices.
    """

    sample: Int[Tensor, " P"]
    batch: Int[Tensor, " P"]
    face: Int[Tensor, " P"]
    corners: Int[Tensor, "P 3"]
    weights: Float[Tensor, "P 3"]
    depth: Float[Tensor, " P"]


class WarpRenderer(Renderer):
    """See :class:`avatargen.render.base.Renderer`; runs on the device of the topology.

    Args:
        topology: faces and texture coordinates.
        template: vertices (metres) that the hierarchies are built around; see :class:`MeshBatch`.
    """

    def __init__(self, topology: HeadTopology, template: Float[Tensor, "N 3"] | None = None):
        super().__init__(topology)
        self._faces = topology.faces.long()
        self._corner_uvs = topology.uvs[topology.face_uvs.long()].flatten(1)
        self._meshes = MeshBatch(topology.faces, template)
        self._rings: VertexRings | None = None
        self._edges: ContourEdges | None = None

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
    ) -> RenderOutput:
        """See the base class. With an even number of samples a side, the sample down and right of the pixel's centre
        stands for it in `face_ids`.

        Args:
            normals: compute them; without, they are zero.
        """
        self._check(vertices, cameras, texture, attributes)
        self._meshes.update(vertices)
        frames = camera_frames(cameras)
        faces, directions = self._meshes.visible_faces(frames, size * samples)
        hits = self._hits(vertices, frames, faces, directions)
        features = self._features(vertices, hits, texture, attributes)
        channels = features.shape[1]
        values = torch.cat((features, self._normals(vertices, hits)), dim=1) if normals else features
        image, coverage = average_samples(values, hits.sample, faces.shape, samples)
        depth = nearest_depth(hits.depth, hits.sample, faces.shape, samples)
        if gradients and torch.is_grad_enabled() and vertices.requires_grad:
            if self._edges is None:
                self._edges = ContourEdges(self.topology.faces)
            coverage = with_contour_gradient(coverage, vertices, frames, self._edges, self._meshes)
        shaded = image[:, :, channels:] if normals else torch.zeros_like(depth).expand(-1, -1, 3, -1, -1)
        centres = faces[..., samples // 2 :: samples, samples // 2 :: samples]
        return RenderOutput(image[:, :, :channels], coverage, depth, shaded, centres)

    def _check(self, vertices, cameras, texture, attributes) -> None:
        if texture is not None and attributes is not None:
            raise ValueError("render: got both texture and attributes; give one of the two or neither")
        tables = {"cameras": cameras.fov, "texture": texture, "attributes": attributes}
        for name, table in tables.items():
            if table is not None and len(table) != len(vertices):
                raise ValueError(f"render: {len(vertices)} meshes, but {name} for {len(table)}")

    def _hits(self, vertices, frames: Frames, faces, directions) -> Hits:
        sample = (faces.flatten() >= 0).nonzero()[:, 0]
        face = faces.flatten().index_select(0, sample).long()
        view = torch.div(sample, faces[0, 0].numel(), rounding_mode="floor")
        batch = torch.div(view, faces.shape[1], rounding_mode="floor")
        corners = self._faces.index_select(0, face) + (batch * vertices.shape[1])[:, None]
        points = vertices.reshape(-1, 3).index_select(0, corners.flatten()).view(-1, 3, 3)
        origins = frames.positions.view(-1, 3).index_select(0, view)
        weights, depth = intersect(points, origins, directions.view(-1, 3).index_select(0, sample))
        return Hits(sample, batch, face, corners, weights, depth)

    def _features(self, vertices, hits: Hits, texture, attributes) -> Tensor:
        if texture is not None:
            uvs = self._corner_uvs.index_select(0, hits.face).view(-1, 3, 2)
            return bilinear(texture, (uvs * hits.weights[:, :, None]).sum(1), hits.batch)
        if attributes is not None:
            return weighted_rows(attributes.reshape(-1, attributes.shape[-1]), hits.corners, hits.weights)
        return vertices.new_zeros(len(hits.face), 0)

    def _normals(self, vertices, hits: Hits) -> Tensor:
        if self._rings is None:
            self._rings = VertexRings(self._faces, vertices.shape[1])
        needed = torch.zeros(vertices.shape[:2], dtype=torch.bool, device=vertices.device)
        needed.view(-1)[hits.corners.flatten()] = True
        normals = vertex_normals(vertices, needed, self._rings)
        smooth = weighted_rows(normals.view(-1, 3), hits.corners, hits.weights)
        return torch.nn.functional.normalize(smooth, dim=-1)


def average_samples(
    values: Float[Tensor, "P C"], sample: Int[Tensor, " P"], shape: torch.Size, samples: int
) -> tuple[Float[Tensor, "B V C H W"], Float[Tensor, "B V 1 H W"]]:
    """Mean over the samples that hit in each pixel, and the fraction of samples that hit (without gradient).

    Args:
        values: one row for each sample that hit.
        sample: its flat index in the (B, V, size * samples, size * samples) grid.
        shape: of that grid.
        samples: on each side of a pixel.
    """
    size = shape[-1] // samples
    pixel = pixel_of_sample(sample, shape[-1], samples)
    counts = values.new_zeros(shape[0] * shape[1] * size * size)
    counts = counts.index_add_(0, pixel, counts.new_ones(()).expand(len(pixel)))
    if samples > 1:
        values = values / counts.index_select(0, pixel)[:, None]
    image = values.new_zeros(len(counts), values.shape[1]).index_add(0, pixel, values)
    image = image.view(*shape[:2], size, size, -1).movedim(-1, 2)
    return image, (counts / samples**2).view(*shape[:2], 1, size, size)


def pixel_of_sample(sample: Int[Tensor, " P"], width: int, samples: int) -> Int[Tensor, " P"]:
    """Flat index of the pixel that holds each sample of a (..., width, width) grid."""
    if samples == 1:
        return sample
    row, column = torch.div(sample, width, rounding_mode="floor"), sample % width
    return torch.div(row, samples, rounding_mode="floor") * (width // samples) + torch.div(
        column, samples, rounding_mode="floor"
    )


def nearest_depth(
    depth: Float[Tensor, " P"], sample: Int[Tensor, " P"], shape: torch.Size, samples: int
) -> Float[Tensor, "B V 1 H W"]:
    """The smallest view depth among the samples of each pixel, 0 where none hits."""
    if samples == 1:
        return depth.new_zeros(shape.numel()).index_add(0, sample, depth).view(shape)[:, :, None]
    grid = depth.new_full((shape.numel(),), -torch.inf).index_put((sample,), -depth).view(-1, 1, *shape[2:])
    nearest = -torch.nn.functional.max_pool2d(grid, samples)
    return nearest.where(nearest < torch.inf, nearest.new_zeros(())).unflatten(0, shape[:2])
