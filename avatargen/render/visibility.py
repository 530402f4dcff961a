"""Which face does each ray hit first? Ray queries against Warp's bounding volume hierarchies.

One `wp.Mesh` for each avatar of a batch, kept between calls and refitted to the vertices of each; one kernel launch
for all avatars, views and rays. Nothing here is differentiable: only face ids leave this module.
Runs on the CPU and on CUDA, on the device of the faces. Source: NVIDIA Warp, https://github.com/NVIDIA/warp.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.render.geometry import camera_bases, camera_positions, half_extents
from avatargen.types import Cameras

wp.config.log_level = wp.LOG_ERROR

FAR = 1.0e6  # metres; beyond every scene


@wp.kernel
@no_type_check
def _cast_pixels(
    meshes: wp.array(dtype=wp.uint64),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    bases: wp.array(dtype=wp.mat33, ndim=2),
    extents: wp.array(dtype=wp.float32, ndim=2),
    far: wp.float32,
    faces: wp.array(dtype=wp.int32, ndim=4),
):
    b, v, row, column = wp.tid()
    scale = 2.0 / wp.float32(faces.shape[3])
    x = ((wp.float32(column) + 0.5) * scale - 1.0) * extents[b, v]
    y = (1.0 - (wp.float32(row) + 0.5) * scale) * extents[b, v]
    direction = wp.normalize(wp.vec3(x, y, 1.0) @ bases[b, v])
    query = wp.mesh_query_ray(meshes[b], positions[b, v], direction, far)
    if query.result:
        faces[b, v, row, column] = query.face
    else:
        faces[b, v, row, column] = -1


class MeshBatch:
    """B meshes of one topology, each with its hierarchy, that rays can be cast against.

    Args:
        faces: vertex indices of each triangle; their device is the one everything runs on.
        template: vertices that the hierarchies are built around (metres). Only the order in which exactly tied hits
            are found depends on it; without it, the vertices of the first call for a batch size serve.
    """

    def __init__(self, faces: Int[Tensor, "F 3"], template: Float[Tensor, "N 3"] | None = None):
        wp.init()
        self._device = wp.device_from_torch(faces.device)
        self._indices = wp.from_torch(faces.to(torch.int32).flatten().contiguous())
        self._template = template
        self._points: list[Tensor] = []
        self._meshes: list[wp.Mesh] = []
        self._ids: wp.array | None = None

    def update(self, vertices: Float[Tensor, "B N 3"]) -> None:
        """Refit the hierarchies to new vertices (copied)."""
        vertices = vertices.detach().float()
        for b in range(len(self._meshes), len(vertices)):
            self._add(vertices[b] if self._template is None else self._template)
        if self._ids is None or self._ids.shape[0] < len(vertices):
            self._ids = wp.array([mesh.id for mesh in self._meshes], dtype=wp.uint64, device=self._device)
        for b in range(len(vertices)):
            self._points[b].copy_(vertices[b])
            self._meshes[b].refit()

    def _add(self, vertices: Float[Tensor, "N 3"]) -> None:
        points = vertices.detach().float().clone(memory_format=torch.contiguous_format)
        self._points.append(points)
        self._meshes.append(wp.Mesh(wp.from_torch(points, dtype=wp.vec3), self._indices))

    def visible_faces(self, cameras: Cameras, size: int) -> Int[Tensor, "B V size size"]:
        """The face seen through each pixel centre of a `size` x `size` image, -1 for none; int32."""
        positions, bases = camera_positions(cameras).contiguous(), camera_bases(cameras).contiguous()
        faces = torch.empty((*cameras.fov.shape, size, size), dtype=torch.int32, device=cameras.fov.device)
        inputs = [
            self._ids,
            wp.from_torch(positions, dtype=wp.vec3),
            wp.from_torch(bases, dtype=wp.mat33),
            wp.from_torch(half_extents(cameras).contiguous()),
            FAR,
            wp.from_torch(faces),
        ]
        wp.launch(_cast_pixels, dim=faces.shape, inputs=inputs, device=self._device)
        return faces
