"""What do rays hit? Queries against Warp's bounding volume hierarchies, and on the CPU faces walked one by one.

One `wp.Mesh` for each avatar of a batch, kept between calls and refitted to the vertices of each; one kernel
launch for all avatars, views and rays. Nothing here is differentiable: face ids, directions and masks leave
this module. Runs on the CPU and on CUDA, on the device of the faces. On the CPU most images are made face by face, not
ray by ray: the same, and sooner (see :mod:`avatargen.render.raster`). Source: NVIDIA Warp,
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
from avatargen.render.raster import cover_centres, cover_outline, nearest_faces, place_points
from avatargen.render.rays import on_outline, pixel_direction, sample_direction

wp.config.log_level = wp.LOG_ERROR

FAR = 1.0e6  # metres; beyond every scene
FACES_A_SAMPLE = 4
"""With more faces for each sample of a view, rays are faster on the CPU, too."""


@wp.kernel(enable_backward=False)
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
    direction = pixel_direction(row, column, faces.shape[3], extents[b, v], bases[b, v])
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
    direction = wp.normalize(pixel_direction(row, column, hits.shape[3], extents[b, v], bases[b, v]))
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
    if not on_outline(hits, b, v, row, column):
        coverage[b, v, row, column] = wp.where(hits[b, v, row, column] >= 0, 1.0, 0.0)
        return
    size, count = hits.shape[3], wp.int32(0)
    for i in range(samples):
        for j in range(samples):
            down, across = row * samples + i, column * samples + j
            direction = sample_direction(down, across, samples, size, extents[b, v], bases[b, v])
            if wp.mesh_query_ray_anyhit(meshes[b], positions[b, v], wp.normalize(direction), far):
                count += 1
    coverage[b, v, row, column] = wp.float32(count) / wp.float32(samples * samples)


class MeshBatch:
    """B meshes of one topology, each with its hierarchy, that rays can be cast against.

    Args:
        faces: vertex indices of each triangle; their device is the one everything runs on.
        layout: vertices (any units) that the hierarchies are built around before they are refitted. Which of
            two exactly tied hits counts depends on it, so it must not depend on what happens to be rendered
            first where a run must repeat itself to the bit. Without it, the first vertices given serve.
        by_rays: make images ray by ray, not face by face, as on a GPU always; if None, whichever is faster.
    """

    def __init__(
        self, faces: Int[Tensor, "F 3"], layout: Float[Tensor, "N 3"] | None = None, by_rays: bool | None = None
    ):
        wp.init()
        self.device = wp.device_from_torch(faces.device)
        self._by_rays = by_rays if self.device.is_cpu else True
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
        shape, device = (*frames.extents.shape, size, size), frames.extents.device
        faces = torch.empty(shape, dtype=torch.int32, device=device)
        directions = torch.empty((*shape, 3), device=device)
        views, outputs = camera_arrays(frames), [wp.from_torch(faces), wp.from_torch(directions, dtype=wp.vec3)]
        if self._rays_serve(size):
            wp.launch(_cast_pixels, dim=shape, inputs=[self.ids, *views, FAR, *outputs], device=self.device)
        else:
            dtypes = (wp.vec3, wp.float32, wp.vec2, wp.bool)
            scratch = [wp.empty((size, size), dtype=dtype, device=self.device) for dtype in dtypes]
            inputs = [self.ids, *views, FAR, self._places(frames), *scratch, *outputs]
            wp.launch(nearest_faces, dim=shape[:2], inputs=inputs, device=self.device)
        return faces, directions

    def covered(
        self, frames: Frames, size: int, samples: int
    ) -> tuple[Float[Tensor, "B V size size"], Int[Tensor, "B V size size"]]:
        """Share of each pixel of a `size` x `size` image that is covered, and whether its centre is.

        Samples (`samples` on each side of a pixel) are cast along the outline only: elsewhere all of them would be
        hits or misses, were nothing smaller than a pixel.

        Returns:
            Coverage in [0, 1]; and for the ray through each pixel's centre (int32) -1 if it misses, else a face that it
            hits, or 0 if images are made by rays.
        """
        shape, device = (*frames.extents.shape, size, size), frames.extents.device
        coverage = torch.empty(shape, device=device)
        hits = torch.empty(shape, dtype=torch.int32, device=device)
        inputs, outputs = [self.ids, *camera_arrays(frames)], [wp.from_torch(hits), wp.from_torch(coverage)]
        if self._rays_serve(size):
            wp.launch(_cast_centres, dim=shape, inputs=[*inputs, FAR, outputs[0]], device=self.device)
            wp.launch(_cover_pixels, dim=shape, inputs=[*inputs, FAR, samples, *outputs], device=self.device)
        else:
            inputs += [self._places(frames), outputs[0]]
            wp.launch(cover_centres, dim=shape[:2], inputs=inputs, device=self.device)
            sides = (size, size * samples)
            scratch = [wp.empty((side, side), dtype=wp.bool, device=self.device) for side in sides]
            inputs += [samples, *scratch, outputs[1]]
            wp.launch(cover_outline, dim=shape[:2], inputs=inputs, device=self.device)
        return coverage, hits

    def _rays_serve(self, size: int) -> bool:
        """Whether an image is made ray by ray."""
        if self._by_rays is None:
            return self._indices.shape[0] // 3 > FACES_A_SAMPLE * size**2
        return self._by_rays

    def _places(self, frames: Frames) -> wp.array:
        """Where the points of each mesh lie in each view, (B, V, N); see `place_points`."""
        shape = (*frames.extents.shape, len(self._points[0]))
        places = wp.empty(shape, dtype=wp.vec3, device=self.device)
        inputs = [self.ids, *camera_arrays(frames), places]
        wp.launch(place_points, dim=shape[:2], inputs=inputs, device=self.device)
        return places


def camera_arrays(frames: Frames) -> list[wp.array]:
    """Positions (B, V) of vec3, bases (B, V) of mat33 and extents (B, V) as kernels take them."""
    return [
        wp.from_torch(frames.positions.contiguous(), dtype=wp.vec3),
        wp.from_torch(frames.bases.contiguous(), dtype=wp.mat33),
        wp.from_torch(frames.extents.contiguous()),
    ]
