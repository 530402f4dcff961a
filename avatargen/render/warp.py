"""The default renderer: Warp decides what is visible, torch computes what it looks like.

A ray through each sample finds the visible face; position, depth, attributes, texture and normals are derived again
in torch from that face's corners, so that gradients reach the vertices and the texture. Coverage is the fraction of
samples that hit; its gradient comes from :mod:`avatargen.render.coverage`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.render.base import Renderer
from avatargen.render.geometry import camera_positions, intersect, ray_directions, vertex_normals
from avatargen.render.sampling import bilinear, weighted_rows
from avatargen.render.visibility import MeshBatch
from avatargen.types import Cameras, HeadTopology, RenderOutput


class WarpRenderer(Renderer):
    """See :class:`avatargen.render.base.Renderer`; runs on the device of the topology.

    Args:
        topology: faces and texture coordinates.
        template: vertices (metres) that the hierarchies are built around; see :class:`MeshBatch`.
    """

    def __init__(self, topology: HeadTopology, template: Float[Tensor, "N 3"] | None = None):
        super().__init__(topology)
        self._meshes = MeshBatch(topology.faces, template)

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
    ) -> RenderOutput:
        """See the base class. With an even number of samples a side, the sample down and right of the pixel's centre
        stands for it in `face_ids`.
        """
        if texture is not None and attributes is not None:
            raise ValueError("render: got both texture and attributes; give one of the two or neither")
        self._meshes.update(vertices)
        faces = self._meshes.visible_faces(cameras, size * samples).long()
        hit = (faces >= 0).flatten().nonzero().squeeze(1)
        rays_per_avatar = faces[0].numel()
        batch, face = torch.div(hit, rays_per_avatar, rounding_mode="floor"), faces.flatten()[hit]
        corner_ids = self.topology.faces.long()[face] + (batch * vertices.shape[1])[:, None]
        directions = ray_directions(cameras, size * samples).reshape(-1, 3)[hit]
        views = torch.div(hit, rays_per_avatar // cameras.fov.shape[1], rounding_mode="floor")
        origins = camera_positions(cameras).reshape(-1, 3)[views]
        weights, depth = intersect(vertices.reshape(-1, 3)[corner_ids], origins, directions)
        normals = vertex_normals(vertices, self.topology.faces.long())
        values = self._features(texture, attributes, face, corner_ids, weights, batch, vertices)
        normals = weighted_rows(normals.reshape(-1, 3), corner_ids, weights)
        values = torch.cat((values, torch.nn.functional.normalize(normals, dim=-1)), dim=-1)
        image, coverage = average_samples(values, hit, faces.shape, samples)
        nearest = nearest_depth(depth, hit, faces.shape, samples)
        middle = samples // 2
        return RenderOutput(
            image[:, :, :-3], coverage, nearest, image[:, :, -3:], faces[..., middle::samples, middle::samples]
        )

    def _features(self, texture, attributes, face, corner_ids, weights, batch, vertices):
        if texture is not None:
            uv = weighted_rows(self.topology.uvs, self.topology.face_uvs.long()[face], weights)
            return bilinear(texture, uv, batch)
        if attributes is not None:
            return weighted_rows(attributes.reshape(-1, attributes.shape[-1]), corner_ids, weights)
        return vertices.new_zeros(len(face), 0)


def average_samples(
    values: Float[Tensor, "P C"], hit: Int[Tensor, " P"], shape: torch.Size, samples: int
) -> tuple[Float[Tensor, "B V C H W"], Float[Tensor, "B V 1 H W"]]:
    """Mean over the samples that hit in each pixel, and the fraction of samples that hit.

    Args:
        values: one row for each sample that hit.
        hit: its flat index in the (B, V, size * samples, size * samples) grid of samples.
        shape: of that grid.
        samples: on each side of a pixel.
    """
    grid = values.new_zeros(shape.numel(), values.shape[1] + 1)
    grid = grid.index_put((hit,), torch.cat((values, torch.ones_like(values[:, :1])), dim=1))
    grid = grid.view(shape[0] * shape[1], *shape[2:], -1).permute(0, 3, 1, 2)
    if samples > 1:
        grid = torch.nn.functional.avg_pool2d(grid, samples)
    grid = grid.unflatten(0, shape[:2])
    coverage = grid[:, :, -1:]
    return grid[:, :, :-1] / coverage.clamp_min(0.5 / samples**2), coverage.detach()


def nearest_depth(
    depth: Float[Tensor, " P"], hit: Int[Tensor, " P"], shape: torch.Size, samples: int
) -> Float[Tensor, "B V 1 H W"]:
    """The smallest view depth among the samples of each pixel, 0 where none hits."""
    grid = depth.new_full((shape.numel(),), -torch.inf).index_put((hit,), -depth).view(-1, 1, *shape[2:])
    nearest = -torch.nn.functional.max_pool2d(grid, samples) if samples > 1 else -grid
    return nearest.where(nearest < torch.inf, nearest.new_zeros(())).unflatten(0, shape[:2])
