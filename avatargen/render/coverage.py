"""The gradient of coverage: a boundary integral along the contour of the mesh in the image.

The coverage of a pixel is the area of the mesh's image inside it. So its derivative is the integral of the outline's
normal speed over the part of the outline that runs through the pixel (Reynolds' transport theorem; for rendering: Li et
al., "Differentiable Monte Carlo Ray Tracing through Edge Sampling", 2018, eq. 4). The outline consists of contour edges
(one adjacent face is seen from the front and one from behind, or there is only one face) with nothing but background
beyond them. Faces are often smaller than pixels, so most of the outline runs through pixels whose visible face does not
own it. Hence the integral loops over edges, not over pixels.

1. For each edge and view: test whether it is a contour edge, and divide it into segments of up to `STEP` pixels.
2. For the middle of each segment: a ray just outside must miss everything, and a ray just inside must hit. Faces that
   are likely to be hit are tested first, which saves most rays.
3. The middles p of the remaining segments (a few hundred a view) move with the vertices. The term
   n · (p - p.detach()) * length, added to the pixel that holds p, is zero and has exactly the gradient of coverage.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.render.geometry import Frames, image_from_world
from avatargen.render.raster import hit_distance
from avatargen.render.rays import view_direction
from avatargen.render.visibility import FAR, MeshBatch, camera_arrays

STEP = 0.5  # pixels; longest segment. Halving it changes few derivatives by over 2% at 64 x 64
NUDGE = 1.0e-5  # half image heights; distance of the rays from the outline, inside and outside
NEAR = 1.0e-6  # metres; edges nearer than this to the camera plane are left out


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


@wp.kernel(enable_backward=False)
@no_type_check
def _face_sides(
    points: wp.array(dtype=wp.vec3, ndim=2),
    faces: wp.array(dtype=wp.int32, ndim=2),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    front: wp.array(dtype=wp.bool, ndim=3),
):
    """Write whether each view sees each face from the front."""
    f = wp.tid()  # one dimension with loops inside: on the CPU, decoding more dimensions costs as much as the work
    first, second, third = faces[f, 0], faces[f, 1], faces[f, 2]
    for b in range(front.shape[0]):
        corner = points[b, first]
        normal = wp.cross(points[b, second] - corner, points[b, third] - corner)
        for v in range(front.shape[1]):
            front[b, v, f] = wp.dot(normal, positions[b, v] - corner) > 0.0


@wp.kernel(enable_backward=False)
@no_type_check
def _count_segments(
    points: wp.array(dtype=wp.vec3, ndim=2),
    ends: wp.array(dtype=wp.int32, ndim=2),
    sides: wp.array(dtype=wp.int32, ndim=2),
    front: wp.array(dtype=wp.bool, ndim=3),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    bases: wp.array(dtype=wp.mat33, ndim=2),
    extents: wp.array(dtype=wp.float32, ndim=2),
    steps_per_half_height: wp.float32,
    near: wp.float32,
    counts: wp.array(dtype=wp.int32, ndim=3),
):
    """Write the number of segments of each contour edge in each view, 0 for other edges."""
    e = wp.tid()
    side, other = sides[e, 0], sides[e, 1]
    for b in range(counts.shape[0]):
        for v in range(counts.shape[1]):
            count = wp.int32(0)
            contour = other < 0
            if not contour:
                contour = front[b, v, side] != front[b, v, other]
            if contour:
                first = to_image(points[b, ends[e, 0]], positions[b, v], bases[b, v], extents[b, v])
                last = to_image(points[b, ends[e, 1]], positions[b, v], bases[b, v], extents[b, v])
                if first[2] > near and last[2] > near and overlaps_image(first, last):
                    length = wp.length(wp.vec2(last[0] - first[0], last[1] - first[1]))
                    count = wp.int32(wp.ceil(length * steps_per_half_height))
            counts[b, v, e] = count


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


@wp.kernel(enable_backward=False)
@no_type_check
def _find_outline(
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
    segments: wp.array(dtype=wp.int64, ndim=2),
    fractions: wp.array(dtype=wp.float32),
    nudge: wp.float32,
    far: wp.float32,
    outward: wp.array(dtype=wp.vec2),
):
    """Write each segment's outward unit normal (y up), zero for segments that are not part of the outline."""
    i = wp.tid()
    b, v, e = wp.int32(segments[i, 0]), wp.int32(segments[i, 1]), wp.int32(segments[i, 2])
    position, basis, extent = positions[b, v], bases[b, v], extents[b, v]
    first = to_image(points[b, ends[e, 0]], position, basis, extent)
    last = to_image(points[b, ends[e, 1]], position, basis, extent)
    inner = to_image(points[b, opposite[e]], position, basis, extent)
    normal = wp.normalize(wp.vec2(last[1] - first[1], first[0] - last[0]))
    if normal[0] * (inner[0] - first[0]) + normal[1] * (inner[1] - first[1]) > 0.0:
        normal = -normal
    x = wp.lerp(first[0], last[0], fractions[i])
    y = wp.lerp(first[1], last[1], fractions[i])
    found = wp.abs(x) < 1.0 and wp.abs(y) < 1.0
    if found:
        found = not surrounded(seen, b, v, x, y)
    if found:
        outside = wp.normalize(view_direction(x + nudge * normal[0], y + nudge * normal[1], extent, basis))
        found = not hits_seen(points, faces, seen, b, v, x, y, position, outside)
        if found:
            found = not wp.mesh_query_ray_anyhit(meshes[b], position, outside, far)
    if found:
        inside = wp.normalize(view_direction(x - nudge * normal[0], y - nudge * normal[1], extent, basis))
        found = hits_face(points, faces, b, sides[e, 0], position, inside)
        if not found:
            found = wp.mesh_query_ray_anyhit(meshes[b], position, inside, far)
    if not found:
        normal = wp.vec2(0.0, 0.0)
    outward[i] = normal


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


def _contour_counts(points, cameras, edges: ContourEdges, meshes: MeshBatch, size: int) -> Int[Tensor, "B V E"]:
    """Return the number of segments of each contour edge, 0 for other edges."""
    faces, ends, sides, _ = edges.arrays
    shape, device = cameras[0].shape, edges.ends.device
    front = torch.empty((*shape, faces.shape[0]), dtype=torch.bool, device=device)
    inputs = [points, faces, cameras[0], wp.from_torch(front)]
    wp.launch(_face_sides, dim=faces.shape[0], inputs=inputs, device=meshes.device)
    counts = torch.empty((*shape, ends.shape[0]), dtype=torch.int32, device=device)
    inputs = [points, ends, sides, inputs[-1], *cameras, size / (2 * STEP), NEAR, wp.from_torch(counts)]
    wp.launch(_count_segments, dim=ends.shape[0], inputs=inputs, device=meshes.device)
    return counts


def outline_segments(
    vertices: Float[Tensor, "B N 3"],
    frames: Frames,
    edges: ContourEdges,
    meshes: MeshBatch,
    seen: Int[Tensor, "B V Hk Wk"],
    size: int,
) -> tuple[Int[Tensor, "S 3"], Float[Tensor, " S"], Float[Tensor, " S"], Float[Tensor, "S 2"]]:
    """Return the segments of the outline in every view.

    Args:
        vertices: metres; `meshes` must already hold them.
        frames: of the cameras.
        edges: of the topology.
        meshes: for the rays.
        seen: face at each sample (int32, -1 for none; 0 may stand for any face). Contours between samples that all hit
            cast no rays: a gap there is narrower than a sample, and coverage does not show it either.
        size: rows and columns of the image.

    Returns:
        (avatar, view, edge) of each segment; place of its middle along the edge, in [0, 1]; its share of the edge; and
        its outward unit normal in the image (column, row).
    """
    points, cameras = wp.from_torch(vertices.detach(), dtype=wp.vec3), camera_arrays(frames)
    counts = _contour_counts(points, cameras, edges, meshes, size)
    contour = counts.nonzero()
    number = counts[contour.unbind(1)].long()
    source = torch.arange(len(number), device=number.device).repeat_interleave(number)
    segments, share = contour[source], (1.0 / number)[source]
    rank = torch.arange(len(source), device=number.device) - (number.cumsum(0) - number)[source]
    fractions = (rank + 0.5) * share
    outward = fractions.new_empty(len(segments), 2)
    arrays = [wp.from_torch(tensor) for tensor in (seen, segments, fractions)]
    inputs = [meshes.ids, points, *edges.arrays, *cameras, *arrays, NUDGE, FAR]
    inputs.append(wp.from_torch(outward, dtype=wp.vec2))
    wp.launch(_find_outline, dim=len(segments), inputs=inputs, device=meshes.device)
    found = (outward != 0).any(1).nonzero()[:, 0]
    flip = outward.new_tensor((1.0, -1.0))
    return segments[found], fractions[found], share[found], outward[found] * flip


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
        vertices, frames, edges, meshes, seen: see `outline_segments`.
    """
    size = coverage.shape[-1]
    segments, fractions, share, outward = outline_segments(vertices, frames, edges, meshes, seen, size)
    batch, view, edge = segments.unbind(1)
    rows = edges.ends[edge] + (batch * vertices.shape[1])[:, None]
    ends = vertices.reshape(-1, 3).index_select(0, rows.flatten()).view(-1, 2, 3)
    camera = (batch * frames.extents.shape[1] + view)[:, None]
    positions, bases = frames.positions.flatten(0, 1)[camera], frames.bases.flatten(0, 1)[camera]
    place, _ = image_from_world(ends, positions, bases, frames.extents.flatten()[camera], size)
    middle = torch.lerp(place[:, 0], place[:, 1], fractions[:, None])
    length = (place[:, 1] - place[:, 0]).detach().norm(dim=1) * share
    speed = ((middle - middle.detach()) * outward).sum(1) * length
    cell = middle.detach().long().clamp(0, size - 1)
    pixel = (camera[:, 0] * size + cell[:, 1]) * size + cell[:, 0]
    return torch.index_add(coverage.flatten(), 0, pixel, speed).view_as(coverage)
