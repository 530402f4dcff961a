"""What do rays hit? Queries against Warp's bounding volume hierarchies.

One `wp.Mesh` for each avatar of a batch, kept between calls and refitted to the vertices of each; one kernel
launch for all avatars, views and rays. Nothing here is differentiable: face ids, directions and masks leave
this module. Runs on the CPU and on CUDA, on the device of the faces. Source: NVIDIA Warp,
https://github.com/NVIDIA/warp.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.render.geometry import Frames

wp.config.log_level = wp.LOG_ERROR

FAR = 1.0e6  # metres; beyond every scene


@wp.func
@no_type_check
def view_direction(x: wp.float32, y: wp.float32, extent: wp.float32, basis: wp.mat33):
    """World direction through (x, y), half image heights from the centre, y up; 1 along the axis."""
    return wp.transpose(basis) * wp.vec3(x * extent, y * extent, 1.0)


@wp.kernel
@no_type_check
def _cast_pixels(
    meshes: wp.array(dtype=wp.uint64),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    bases: wp.array(dtype=wp.mat33, ndim=2),
    extents: wp.array(dtype=wp.float32, ndim=2),
    far: wp.float32,
    faces: wp.array(dtype=wp.int32, ndim=4),
    directions: wp.array(dtype=wp.vec3, ndim=4),
):
    b, v, row, column = wp.tid()
    scale = 2.0 / wp.float32(faces.shape[3])
    x = (wp.float32(column) + 0.5) * scale - 1.0
    y = 1.0 - (wp.float32(row) + 0.5) * scale
    direction = view_direction(x, y, extents[b, v], bases[b, v])
    directions[b, v, row, column] = direction
    query = wp.mesh_query_ray(meshes[b], positions[b, v], wp.normalize(direction), far)
    face = wp.int32(-1)
    if query.result:
        face = query.face
    faces[b, v, row, column] = face


@wp.kernel(enable_backward=False)
@no_type_check
def _cast_centres(
    meshes: wp.array(dtype=wp.uint64),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    bases: wp.array(dtype=wp.mat33, ndim=2),
    extents: wp.array(dtype=wp.float32, ndim=2),
    far: wp.float32,
    hits: wp.array(dtype=wp.int32, ndim=4),
):
    """0 where the ray through a pixel's centre hits, else -1."""
    b, v, row, column = wp.tid()
    scale = 2.0 / wp.float32(hits.shape[3])
    x = (wp.float32(column) + 0.5) * scale - 1.0
    y = 1.0 - (wp.float32(row) + 0.5) * scale
    direction = wp.normalize(view_direction(x, y, extents[b, v], bases[b, v]))
    hit = wp.int32(-1)
    if wp.mesh_query_ray_anyhit(meshes[b], positions[b, v], direction, far):
        hit = wp.int32(0)
    hits[b, v, row, column] = hit


@wp.kernel(enable_backward=False)
@no_type_check
def _cover_pixels(
    meshes: wp.array(dtype=wp.uint64),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    bases: wp.array(dtype=wp.mat33, ndim=2),
    extents: wp.array(dtype=wp.float32, ndim=2),
    far: wp.float32,
    samples: wp.int32,
    hits: wp.array(dtype=wp.int32, ndim=4),
    coverage: wp.array(dtype=wp.float32, ndim=4),
):
    """Share of each pixel's samples that hit; cast only where not all of the 3 x 3 centres around agree."""
    b, v, row, column = wp.tid()
    size = hits.shape[3]
    own = hits[b, v, row, column]
    agree = wp.bool(True)
    for i in range(wp.max(row - 1, 0), wp.min(row + 2, size)):
        for j in range(wp.max(column - 1, 0), wp.min(column + 2, size)):
            agree = agree and hits[b, v, i, j] == own
    if agree:
        coverage[b, v, row, column] = wp.float32(1 + own)
        return
    scale = 2.0 / wp.float32(size)
    count = wp.int32(0)
    for i in range(samples):
        for j in range(samples):
            x = (wp.float32(column) + (wp.float32(j) + 0.5) / wp.float32(samples)) * scale - 1.0
            y = 1.0 - (wp.float32(row) + (wp.float32(i) + 0.5) / wp.float32(samples)) * scale
            direction = wp.normalize(view_direction(x, y, extents[b, v], bases[b, v]))
            if wp.mesh_query_ray_anyhit(meshes[b], positions[b, v], direction, far):
                count += 1
    coverage[b, v, row, column] = wp.float32(count) / wp.float32(samples * samples)


class MeshBatch:
    """B meshes of one topology, each with its hierarchy, that rays can be cast against.

    Args:
        faces: vertex indices of each triangle; their device is the one everything runs on.
        layout: vertices (any units) that the hierarchies are built around before they are refitted. Which of
            two exactly tied hits counts depends on it, so it must not depend on what happens to be rendered
            first where a run must repeat itself to the bit. Without it, the first vertices given serve.
    """

    def __init__(self, faces: Int[Tensor, "F 3"], layout: Float[Tensor, "N 3"] | None = None):
        wp.init()
        self.device = wp.device_from_torch(faces.device)
        self._indices = wp.from_torch(faces.to(torch.int32).flatten().contiguous())
        self._layout = layout
        self._points: list[Tensor] = []
        self._meshes: list[wp.Mesh] = []
        self.ids = wp.empty(0, dtype=wp.uint64, device=self.device)
        self._holds: Callable[[], Tensor | None] = lambda: None
        self._version = 0

    def update(self, vertices: Float[Tensor, "B N 3"]) -> None:
        """Refit the first B hierarchies to vertices, which are copied; those that they hold already cost nothing."""
        if self._holds() is vertices and self._version == vertices._version:
            return
        self._holds, self._version = weakref.ref(vertices), vertices._version
        vertices = vertices.detach()
        for b in range(len(self._meshes), len(vertices)):
            layout = vertices[b] if self._layout is None else self._layout
            points = layout.detach().float().clone(memory_format=torch.contiguous_format)
            self._points.append(points)
            self._meshes.append(wp.Mesh(wp.from_torch(points, dtype=wp.vec3), self._indices))
        if self.ids.shape[0] != len(self._meshes):
            self.ids = wp.array([mesh.id for mesh in self._meshes], dtype=wp.uint64, device=self.device)
        for points, mesh, new in zip(self._points, self._meshes, vertices, strict=False):
            points.copy_(new[: len(points)])
            mesh.refit()

    def visible_faces(
        self, frames: Frames, size: int
    ) -> tuple[Int[Tensor, "B V size size"], Float[Tensor, "B V size size 3"]]:
        """What is seen through each pixel centre of a `size` x `size` image.

        Returns:
            The face, -1 for none (int32), and the ray's world direction, 1 along the optical axis.
        """
        shape = (*frames.extents.shape, size, size)
        faces = torch.empty(shape, dtype=torch.int32, device=frames.extents.device)
        directions = torch.empty((*shape, 3), device=frames.extents.device)
        inputs = [*camera_arrays(frames), FAR, wp.from_torch(faces), wp.from_torch(directions, dtype=wp.vec3)]
        wp.launch(_cast_pixels, dim=shape, inputs=[self.ids, *inputs], device=self.device)
        return faces, directions

    def covered(
        self, frames: Frames, size: int, samples: int
    ) -> tuple[Float[Tensor, "B V size size"], Int[Tensor, "B V size size"]]:
        """Share of each pixel of a `size` x `size` image that is covered, and whether its centre is.

        Samples (`samples` on each side of a pixel) are cast along the outline only: elsewhere all of them would be
        hits or misses, were nothing smaller than a pixel.

        Returns:
            Coverage in [0, 1]; 0 where the ray through the centre hits, -1 where it does not (int32).
        """
        shape = (*frames.extents.shape, size, size)
        coverage = torch.empty(shape, device=frames.extents.device)
        hits = torch.empty(shape, dtype=torch.int32, device=frames.extents.device)
        inputs, hit_array = [self.ids, *camera_arrays(frames), FAR], wp.from_torch(hits)
        wp.launch(_cast_centres, dim=shape, inputs=[*inputs, hit_array], device=self.device)
        inputs += [samples, hit_array, wp.from_torch(coverage)]
        wp.launch(_cover_pixels, dim=shape, inputs=inputs, device=self.device)
        return coverage, hits


def camera_arrays(frames: Frames) -> list[wp.array]:
    """Positions (B, V) of vec3, bases (B, V) of mat33 and extents (B, V) as kernels take them."""
    return [
        wp.from_torch(frames.positions.contiguous(), dtype=wp.vec3),
        wp.from_torch(frames.bases.contiguous(), dtype=wp.mat33),
        wp.from_torch(frames.extents.contiguous()),
    ]
