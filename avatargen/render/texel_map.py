"""The surface point of each texel, to turn vertex colours into textures and to project images onto textures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from avatargen.geometry.types import Cameras, HeadTopology
from avatargen.render.geometry import camera_frames, intersect
from avatargen.render.visibility import MeshBatch


@dataclass(frozen=True)
class TexelMap:
    """The surface points under the texels' centres.

    Attributes:
        covered: texels that lie in a chart, K of them.
        corners: vertex indices of the face under each covered texel, in row-major order.
        weights: barycentric coordinates of each covered texel.
        nearest: row-major index of the covered texel nearest to each texel, to fill gutters.
    """

    covered: Bool[Tensor, "H W"]
    corners: Int[Tensor, "K 3"]
    weights: Float[Tensor, "K 3"]
    nearest: Int[Tensor, "H W"]

    def gather(self, values: Float[Tensor, "N C"]) -> Float[Tensor, "K C"]:
        """Return vertex values interpolated at the covered texels."""
        return (values[self.corners] * self.weights[..., None]).sum(1)

    def to_image(self, values: Float[Tensor, "K C"]) -> Float[Tensor, "C H W"]:
        """Return values of the covered texels as a texture, gutters filled from the nearest covered texel."""
        flat = values.new_zeros(self.covered.numel(), values.shape[1])
        flat[self.covered.flatten()] = values
        return flat[self.nearest.flatten()].T.reshape(-1, *self.covered.shape)


def build_texel_map(topology: HeadTopology, size: int) -> TexelMap:
    """Rasterise the charts of a topology: cast rays through texel centres at the charts, laid out in a plane.

    Args:
        topology: of the heads.
        size: rows and columns of the texture.
    """
    flat = torch.cat([topology.uvs - 0.5, torch.zeros_like(topology.uvs[:, :1])], dim=1)
    both_sides = torch.cat([topology.face_uvs, topology.face_uvs.flip(1)])
    meshes = MeshBatch(both_sides, by_rays=True)  # all hits tie, since two faces lie everywhere, and rays decide ties
    meshes.update(flat[None])
    one = flat.new_ones(1, 1)
    camera = Cameras(0 * one, 0 * one, one, one * math.degrees(2 * math.atan(0.5)), flat.new_zeros(1, 1, 3))
    frames = camera_frames(camera)
    faces, directions = meshes.visible_faces(frames, size)
    covered = faces[0, 0] >= 0
    face = faces[0, 0][covered].long() % len(topology.face_uvs)
    corners = flat[topology.face_uvs[face].long()]
    origins = frames.positions[0].expand(len(face), -1)
    weights, _ = intersect(corners, origins, directions[0, 0][covered])
    return TexelMap(covered, topology.faces[face].long(), weights, nearest_indices(covered))


def nearest_indices(known: Bool[Tensor, "H W"]) -> Int[Tensor, "H W"]:
    """Return for each texel the row-major index of the nearest known texel.

    Example:
        >>> nearest_indices(torch.tensor([[True, False, False, True]])).tolist()
        [[0, 0, 3, 3]]
    """
    absent = ~known.cpu().numpy()
    nearest = distance_transform_edt(absent, return_distances=False, return_indices=True)
    assert nearest is not None  # because of return_indices
    rows, columns = nearest
    return torch.from_numpy(rows.astype("int64") * known.shape[1] + columns).to(known.device)
