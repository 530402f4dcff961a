"""Visibility: the faces that samples see, and the pixels that meshes cover.

There is one `wp.Mesh` with its bounding volume hierarchy for each avatar of a batch; it is kept between calls and
refitted to new vertices. One kernel launch serves all avatars, views and rays. Face ids, directions and coverage leave
this module without gradients. It runs on the device of the faces, CPU or CUDA. On the CPU most images are rasterised
face by face, which gives the same result sooner (see `avatargen.render.raster`). Source: NVIDIA Warp,
https://github.com/NVIDIA/warp.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, no_type_check

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.render.geometry import Frames
from avatargen.render.launch import launch, torch_stream
from avatargen.render.raster import cover_centres, cover_outline, nearest_faces, place_points
from avatargen.render.rays import on_outline, pixel_direction, sample_direction

wp.config.log_level = wp.LOG_ERROR

FAR = 1.0e6  # metres; beyond every scene
FACES_A_SAMPLE = 4
"""Faces for each sample of a view above which casting rays is faster on the CPU, too."""


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
    """Write the face that each pixel's centre sees, -1 for none, and the direction of the ray."""
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
    """Write 0 where the ray through a pixel's centre hits, else -1."""
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
    """Write the share of each pixel's samples that hit; rays are cast only in pixels on the outline."""
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
    """B meshes of one topology, each with its bounding volume hierarchy.

    Args:
        faces: vertex indices of each triangle; everything runs on their device.
        layout: vertices (any unit) that the hierarchies are built around before they are refitted, by default the
            first vertices given. Of two hits that tie exactly, the layout decides which one counts; runs that must
            repeat to the bit need the same layout, whatever they render first.
        by_rays: cast rays instead of rasterising faces, as is always done on a GPU; None: whichever is faster.
    """

    def __init__(
        self, faces: Int[Tensor, "F 3"], layout: Float[Tensor, "N 3"] | None = None, by_rays: bool | None = None
    ):
        wp.init()
        self.device = wp.device_from_torch(faces.device)
        self._by_rays = by_rays if self.device.is_cpu else True
        self._indices = wp.from_torch(faces.to(torch.int32).flatten().contiguous())
        self._layout = layout
        self._points: list[Tensor] = []  # one tensor, (number of meshes, N, 3), for each time that meshes were added
        self._meshes: list[wp.Mesh] = []
        self.ids = _empty(0, wp.uint64, self.device)
        self._holds: Callable[[], Tensor | None] = lambda: None
        self._version = 0

    def update(self, vertices: Float[Tensor, "B N 3"]) -> None:
        """Refit the first B hierarchies to vertices, which are copied.

        The call is free if they hold these vertices already.
        """
        if self._holds() is vertices and self._version == vertices._version:
            return
        self._holds, self._version = weakref.ref(vertices), vertices._version
        with torch.no_grad(), wp.ScopedStream(torch_stream(self.device), sync_enter=False):
            if len(vertices) > len(self._meshes):
                self._grow(vertices)
            start = 0
            for points in self._points:
                new = vertices[start : start + len(points), : points.shape[1]]
                points[: len(new)].copy_(new)
                start += len(points)
            for mesh in self._meshes[: len(vertices)]:
                mesh.refit()

    def _grow(self, vertices: Float[Tensor, "B N 3"]) -> None:
        """Build hierarchies until there are B of them."""
        added = vertices[len(self._meshes) :]
        layout = added if self._layout is None else self._layout.expand(len(added), -1, -1)
        points = layout.detach().float().clone(memory_format=torch.contiguous_format)
        self._points.append(points)
        self._meshes += [wp.Mesh(wp.from_torch(row, dtype=wp.vec3), self._indices) for row in points]
        ids = torch.tensor([mesh.id for mesh in self._meshes], dtype=torch.int64)
        self.ids = wp.from_torch(ids.to(vertices.device, non_blocking=True), dtype=wp.uint64)

    def visible_faces(
        self, frames: Frames, size: int
    ) -> tuple[Int[Tensor, "B V size size"], Float[Tensor, "B V size size 3"]]:
        """Return the visible face at each pixel centre of `size` x `size` images.

        Returns:
            the face, -1 for none (int32); and the ray's world direction, of length 1 along the optical axis.
        """
        shape, device = (*frames.extents.shape, size, size), frames.extents.device
        faces = torch.empty(shape, dtype=torch.int32, device=device)
        directions = torch.empty((*shape, 3), device=device)
        views, outputs = camera_arrays(frames), [wp.from_torch(faces), wp.from_torch(directions, dtype=wp.vec3)]
        if self._rays_serve(size):
            launch(_cast_pixels, shape, [self.ids, *views, FAR, *outputs], self.device)
        else:
            dtypes = (wp.vec3, wp.float32, wp.vec2, wp.bool)
            scratch = [_empty((size, size), dtype, self.device) for dtype in dtypes]
            inputs = [self.ids, *views, FAR, self._places(frames), *scratch, *outputs]
            launch(nearest_faces, shape[:2], inputs, self.device)
        return faces, directions

    def covered(
        self, frames: Frames, size: int, samples: int
    ) -> tuple[Float[Tensor, "B V size size"], Int[Tensor, "B V size size"]]:
        """Return the coverage of each pixel of `size` x `size` images, and whether its centre is covered.

        Samples are tested only in pixels on the outline. In all other pixels all samples count as their centre, so
        details smaller than a pixel may be missed.

        Args:
            frames: of the cameras.
            size: rows and columns of the images.
            samples: along each side of a pixel.

        Returns:
            coverage in [0, 1]; and for each pixel's centre (int32) -1 if it is not covered, else a face that covers it,
            or 0 where rays are cast.
        """
        shape, device = (*frames.extents.shape, size, size), frames.extents.device
        coverage = torch.empty(shape, device=device)
        hits = torch.empty(shape, dtype=torch.int32, device=device)
        inputs, outputs = [self.ids, *camera_arrays(frames)], [wp.from_torch(hits), wp.from_torch(coverage)]
        if self._rays_serve(size):
            launch(_cast_centres, shape, [*inputs, FAR, outputs[0]], self.device)
            launch(_cover_pixels, shape, [*inputs, FAR, samples, *outputs], self.device)
        else:
            inputs += [self._places(frames), outputs[0]]
            launch(cover_centres, shape[:2], inputs, self.device)
            sides = (size, size * samples)
            scratch = [_empty((side, side), wp.bool, self.device) for side in sides]
            inputs += [samples, *scratch, outputs[1]]
            launch(cover_outline, shape[:2], inputs, self.device)
        return coverage, hits

    def _rays_serve(self, size: int) -> bool:
        """Return True if rays are cast for images of this size, False if faces are rasterised."""
        if self._by_rays is None:
            return self._indices.shape[0] // 3 > FACES_A_SAMPLE * size**2
        return self._by_rays

    def _places(self, frames: Frames) -> wp.array:
        """Return the place of each vertex in each view, (B, V, N) of vec3; see `place_points`."""
        shape = (*frames.extents.shape, self._points[0].shape[1])
        places = _empty(shape, wp.vec3, self.device)
        inputs = [self.ids, *camera_arrays(frames), places]
        launch(place_points, shape[:2], inputs, self.device)
        return places


def _empty(shape: int | tuple[int, ...], dtype: Any, device: wp.Device) -> wp.array:
    """Return an array without values; Warp's own annotations allow no dtype but float."""
    return wp.empty(shape, dtype=dtype, device=device)


def camera_arrays(frames: Frames) -> list[wp.array]:
    """Return positions (B, V) of vec3, bases (B, V) of mat33 and extents (B, V) as Warp arrays."""
    return [
        wp.from_torch(frames.positions.contiguous(), dtype=wp.vec3),
        wp.from_torch(frames.bases.contiguous(), dtype=wp.mat33),
        wp.from_torch(frames.extents.contiguous()),
    ]
