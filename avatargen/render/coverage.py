"""The gradient of coverage: a boundary integral along the contour of the mesh in the image.

The coverage of a pixel is the area of the mesh's image inside it. So its derivative is the integral of the outline's
normal speed over the part of the outline that runs through the pixel (Reynolds' transport theorem; for rendering: Li et
al., "Differentiable Monte Carlo Ray Tracing through Edge Sampling", 2018, eq. 4). The outline consists of contour edges
(one adjacent face is seen from the front and one from behind, or there is only one face) with nothing but background
beyond them. Faces are often smaller than pixels, so most of the outline runs through pixels whose visible face does not
own it. Hence the integral loops over edges, not over pixels.

The backward pass is one kernel, and the forward pass does nothing:

1. For each edge and view: test whether it is a contour edge, and divide it into segments of up to `STEP` pixels.
2. For the middle p of each segment: a ray just outside must miss everything, and a ray just inside must hit. Faces that
   are likely to be hit are tested first, which saves most rays.
3. The remaining segments (a few hundred a view) move with the ends of their edge, and the coverage of the pixel that
   holds p grows by n · dp * length, where n is the outline's outward normal. The gradient of the ends follows.

No list of segments is made, whose length a host would have to wait for.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from avatargen.render.geometry import Frames
from avatargen.render.launch import launch
from avatargen.render.raster import hit_distance
from avatargen.render.rays import view_direction
from avatargen.render.visibility import FAR, MeshBatch, camera_arrays

STEP = 0.5  # pixels; longest segment. Halving it changes few derivatives by over 2% at 64 x 64
NUDGE = 1.0e-5  # half image heights; distance of the rays from the outline, inside and outside
NEAR = 1.0e-6  # metres; edges nearer than this to the camera plane are left out
MOST = 16384.0  # segments of an edge; only edges that nearly reach the camera plane could have more


@wp.func
@no_type_check
def to_image(point: wp.vec3, position: wp.vec3, basis: wp.mat33, extent: wp.float32):
    """Return (x, y) in half image heights from the image's centre, y up, and view depth in metres."""
    view = basis * (point - position)
    return wp.vec3(view[0] / (extent * view[2]), view[1] / (extent * view[2]), view[2])


@wp.func
@no_type_check
def overlaps_image(first: wp.vec3, last: wp.vec3):
    """Return True if the box around two image points overlaps the image."""
    low, high = wp.min(first, last), wp.max(first, last)
    return low[0] < 1.0 and low[1] < 1.0 and high[0] > -1.0 and high[1] > -1.0


@wp.func
@no_type_check
def surrounded(seen: wp.array(dtype=wp.int32, ndim=4), b: wp.int32, v: wp.int32, x: wp.float32, y: wp.float32):
    """Return True if the 3 x 3 samples around an image point all show the mesh; False at the image's border."""
    size = seen.shape[3]
    half = 0.5 * wp.float32(size)
    column, row = wp.int32((x + 1.0) * half), wp.int32((1.0 - y) * half)
    if column < 1 or row < 1 or column > size - 2 or row > size - 2:
        return False
    for i in range(row - 1, row + 2):
        for j in range(column - 1, column + 2):
            if seen[b, v, i, j] < 0:
                return False
    return True


@wp.func
@no_type_check
def face_normal(
    points: wp.array(dtype=wp.vec3, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), b: wp.int32, face: wp.int32
):
    """Return the normal of a face, twice as long as its area; zero for face -1."""
    normal = wp.vec3()
    if face >= 0:
        corner = points[b, faces[face, 0]]
        normal = wp.cross(points[b, faces[face, 1]] - corner, points[b, faces[face, 2]] - corner)
    return normal


@wp.func
@no_type_check
def hits_face(
    points: wp.array(dtype=wp.vec3, ndim=2),
    faces: wp.array(dtype=wp.int32, ndim=2),
    b: wp.int32,
    face: wp.int32,
    start: wp.vec3,
    direction: wp.vec3,
):
    """Return True if a ray hits a face; False for face -1."""
    hit = wp.bool(False)
    if face >= 0:
        first, second, third = points[b, faces[face, 0]], points[b, faces[face, 1]], points[b, faces[face, 2]]
        hit = hit_distance(start, direction, first, second, third) >= 0.0
    return hit


@wp.func
@no_type_check
def hits_seen(
    points: wp.array(dtype=wp.vec3, ndim=2),
    faces: wp.array(dtype=wp.int32, ndim=2),
    seen: wp.array(dtype=wp.int32, ndim=4),
    b: wp.int32,
    v: wp.int32,
    x: wp.float32,
    y: wp.float32,
    start: wp.vec3,
    direction: wp.vec3,
):
    """Return True if a ray hits one of the faces that the 3 x 3 samples around an image point see."""
    half, last, hit, before = 0.5 * wp.float32(seen.shape[3]), seen.shape[3] - 1, wp.bool(False), wp.int32(-1)
    column, row = wp.int32((x + 1.0) * half), wp.int32((1.0 - y) * half)
    for i in range(wp.max(row - 1, 0), wp.min(row + 1, last) + 1):
        for j in range(wp.max(column - 1, 0), wp.min(column + 1, last) + 1):
            face = wp.int32(seen[b, v, i, j])
            if not hit and face != before:
                hit = hits_face(points, faces, b, face, start, direction)
                before = face
    return hit


@wp.func
@no_type_check
def is_outline(
    meshes: wp.array(dtype=wp.uint64),
    points: wp.array(dtype=wp.vec3, ndim=2),
    faces: wp.array(dtype=wp.int32, ndim=2),
    seen: wp.array(dtype=wp.int32, ndim=4),
    b: wp.int32,
    v: wp.int32,
    side: wp.int32,
    x: wp.float32,
    y: wp.float32,
    normal: wp.vec2,
    position: wp.vec3,
    basis: wp.mat33,
    extent: wp.float32,
    far: wp.float32,
):
    """Return True if a ray just outside an image point of a contour edge misses the mesh, and one just inside hits.

    `normal` leads outside and is as long as the distance of the rays; `side` is a face that the inner ray is likely to
    hit.
    """
    if surrounded(seen, b, v, x, y):
        return False
    outside = wp.normalize(view_direction(x + normal[0], y + normal[1], extent, basis))
    if hits_seen(points, faces, seen, b, v, x, y, position, outside):
        return False
    if wp.mesh_query_ray_anyhit(meshes[b], position, outside, far):
        return False
    inside = wp.normalize(view_direction(x - normal[0], y - normal[1], extent, basis))
    if hits_face(points, faces, b, side, position, inside):
        return True
    return wp.mesh_query_ray_anyhit(meshes[b], position, inside, far)


@wp.func
@no_type_check
def outward(first: wp.vec3, last: wp.vec3, inner: wp.vec3):
    """Return the unit normal of an edge's image that leads away from the third corner's; see `to_image`."""
    normal = wp.normalize(wp.vec2(last[1] - first[1], first[0] - last[0]))
    if normal[0] * (inner[0] - first[0]) + normal[1] * (inner[1] - first[1]) > 0.0:
        normal = -normal
    return normal


@wp.func
@no_type_check
def at_image(values: wp.array(dtype=wp.float32, ndim=4), b: wp.int32, v: wp.int32, x: wp.float32, y: wp.float32):
    """Return the value of the pixel that holds an image point; 0 outside the image."""
    value = wp.float32(0.0)
    if wp.abs(x) < 1.0 and wp.abs(y) < 1.0:
        last, half = values.shape[3] - 1, 0.5 * wp.float32(values.shape[3])
        row, column = wp.min(wp.int32((1.0 - y) * half), last), wp.min(wp.int32((x + 1.0) * half), last)
        value = values[b, v, row, column]
    return value


@wp.func
@no_type_check
def from_image(image: wp.vec3, gradient: wp.vec2, basis: wp.mat33, extent: wp.float32):
    """Return the gradient of a world point, given that of its image; see `to_image`, which wrote `image`."""
    along = -(image[0] * gradient[0] + image[1] * gradient[1]) * extent
    return wp.transpose(basis) * wp.vec3(gradient[0], gradient[1], along) / (extent * image[2])


@wp.kernel(enable_backward=False)
@no_type_check
def _add_gradient(
    meshes: wp.array(dtype=wp.uint64),
    points: wp.array(dtype=wp.vec3, ndim=2),
    faces: wp.array(dtype=wp.int32, ndim=2),
    ends: wp.array(dtype=wp.int32, ndim=2),
    sides: wp.array(dtype=wp.int32, ndim=2),
    opposite: wp.array(dtype=wp.int32),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    bases: wp.array(dtype=wp.mat33, ndim=2),
    extents: wp.array(dtype=wp.float32, ndim=2),
    seen: wp.array(dtype=wp.int32, ndim=4),
    incoming: wp.array(dtype=wp.float32, ndim=4),
    step: wp.float32,
    most: wp.float32,
    nudge: wp.float32,
    near: wp.float32,
    far: wp.float32,
    outgoing: wp.array(dtype=wp.vec3, ndim=2),
):
    """Add the gradient of the vertices, given that of coverage. A thread takes an edge of an avatar, in all views.

    Threads have one dimension: on the CPU, decoding more of them costs as much as the work.
    """
    i = wp.tid()
    e, half = i / points.shape[0], 0.5 * wp.float32(incoming.shape[3])
    b = i - e * points.shape[0]
    start, end = points[b, ends[e, 0]], points[b, ends[e, 1]]
    one, other = face_normal(points, faces, b, sides[e, 0]), face_normal(points, faces, b, sides[e, 1])
    for v in range(positions.shape[1]):
        position, basis, extent = positions[b, v], bases[b, v], extents[b, v]
        front = wp.dot(one, position - start) > 0.0
        if sides[e, 1] >= 0 and front == (wp.dot(other, position - start) > 0.0):
            continue
        first, last = to_image(start, position, basis, extent), to_image(end, position, basis, extent)
        if not (first[2] > near and last[2] > near and overlaps_image(first, last)):
            continue
        inner = to_image(points[b, opposite[e]], position, basis, extent)
        normal = outward(first, last, inner)
        length = wp.length(wp.vec2(last[0] - first[0], last[1] - first[1])) * half
        count = wp.min(wp.ceil(length / step), most)
        to_first, to_last = wp.float32(0.0), wp.float32(0.0)
        for k in range(wp.int32(count)):
            place = (wp.float32(k) + 0.5) / count
            x, y = wp.lerp(first[0], last[0], place), wp.lerp(first[1], last[1], place)
            slope = at_image(incoming, b, v, x, y)
            if slope != 0.0 and is_outline(
                meshes, points, faces, seen, b, v, sides[e, 0], x, y, nudge * normal, position, basis, extent, far
            ):
                to_first += slope * (1.0 - place)
                to_last += slope * place
        if to_first != 0.0 or to_last != 0.0:
            normal *= half * length / count
            wp.atomic_add(outgoing, b, ends[e, 0], from_image(first, to_first * normal, basis, extent))
            wp.atomic_add(outgoing, b, ends[e, 1], from_image(last, to_last * normal, basis, extent))


class ContourEdges:
    """The edges of a topology and their adjacent faces; built once.

    An edge with one face is open. If more than two faces meet in an edge, each face beyond the second counts as a
    further open edge, and the rays decide whether it is part of the outline.

    Attributes:
        ends: vertices at the two ends of each edge, (E, 2).
        sides: adjacent faces of each edge, (E, 2); -1 if there is no second one.

    Example:
        >>> ContourEdges(torch.tensor([[0, 1, 2]])).sides.tolist()  # three open edges
        [[0, -1], [0, -1], [0, -1]]
    """

    def __init__(self, faces: Int[Tensor, "F 3"]):
        wp.init()
        faces = faces.long()
        directed = torch.stack((faces, faces.roll(-1, dims=1)), dim=-1).reshape(-1, 2)
        opposite = faces.roll(-2, dims=1).flatten()
        owner = torch.arange(len(faces), device=faces.device).repeat_interleave(3)
        self.ends, edge = directed.sort(dim=1).values.unique(dim=0, return_inverse=True)
        order = edge.argsort(stable=True)
        edge, opposite, owner = edge[order], opposite[order], owner[order]
        rank = torch.arange(len(edge), device=faces.device) - torch.searchsorted(edge, edge)
        first = (rank != 1).nonzero()[:, 0]
        partner = torch.where(edge.roll(-1) == edge, owner.roll(-1), -1)
        partner[rank != 0] = -1
        self.ends = self.ends[edge[first]]
        self.sides = torch.stack((owner[first], partner[first]), dim=1)
        self.arrays = [
            wp.from_torch(tensor.int().contiguous()) for tensor in (faces, self.ends, self.sides, opposite[first])
        ]


class _ContourGradient(torch.autograd.Function):
    """`with_contour_gradient`: the identity, with a gradient of the vertices."""

    @staticmethod
    def forward(ctx, coverage, vertices, seen, frames, edges, meshes):
        ctx.save_for_backward(vertices, seen)
        ctx.vertices, ctx.frames, ctx.edges, ctx.meshes = vertices, frames, edges, meshes
        return coverage.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, incoming):
        _, seen = ctx.saved_tensors  # raises if the vertices have changed since
        ctx.meshes.update(ctx.vertices)
        outgoing = torch.zeros_like(ctx.vertices)
        points, gradient = (wp.from_torch(tensor, dtype=wp.vec3) for tensor in (ctx.vertices.detach(), outgoing))
        images = [wp.from_torch(seen), wp.from_torch(incoming[:, :, 0].contiguous())]
        inputs = [ctx.meshes.ids, points, *ctx.edges.arrays, *camera_arrays(ctx.frames), *images]
        inputs += [STEP, MOST, NUDGE, NEAR, FAR, gradient]
        launch(_add_gradient, len(ctx.edges.ends) * len(outgoing), inputs, ctx.meshes.device)
        return incoming, outgoing, None, None, None, None


def with_contour_gradient(
    coverage: Float[Tensor, "B V 1 H W"],
    vertices: Float[Tensor, "B N 3"],
    frames: Frames,
    edges: ContourEdges,
    meshes: MeshBatch,
    seen: Int[Tensor, "B V Hk Wk"],
) -> Float[Tensor, "B V 1 H W"]:
    """Return the coverage, made differentiable in the vertices.

    Args:
        coverage: in [0, 1].
        vertices: contiguous, metres. Rays are cast in the backward pass, for which `meshes` is refitted if it holds
            others by then.
        frames: of the cameras.
        edges: of the topology.
        meshes: for the rays.
        seen: face at each sample (int32, -1 for none; 0 may stand for any face). Contours between samples that all hit
            cast no rays: a gap there is narrower than a sample, and coverage does not show it either.
    """
    return _ContourGradient.apply(coverage, vertices, seen, frames, edges, meshes)
