"""What do samples see? On the CPU: faces walked one by one over the samples that their image may cover.

Faces of a head are about as small as the spacing of samples. A ray descends a hierarchy to test a handful of them;
walked face by face, each is tested at one or two samples. Of a head of 9,664 faces that takes two thirds of the rays'
time at 64 x 64 and a quarter at 512 x 512 (`benchmarks/renderer.py`, where caches are warm); amid a step of the method
a third. The test is that of Warp's queries (Woop, Benthin and Wald, "Watertight Ray/Triangle Intersection", JCGT 2013)
of the same ray, and where two faces tie to within rounding, as in folds, the query itself is asked: the same faces are
seen as by rays, to the bit, except where a ray grazes a box of the hierarchy, which the query may miss with all that is
in it.

A kernel's thread walks a whole view, so that nothing races; Warp runs threads one after the other on the CPU.
"""

# no `from __future__ import annotations`: Warp needs the type that `hit_distance` returns, not its name
from typing import no_type_check

import warp as wp

from avatargen.render.rays import on_outline, pixel_direction, sample_direction

MARGIN = 0.01
"""Samples by which a face's image is widened before any is tested: far more than projections are rounded by."""
NEAR, WIDE = 0.01, 4096.0
"""Depth in metres below which a corner's place in the image is not relied on, and samples beyond which it is not: its
face is tested at all samples then."""
FLAT = 1.0e-6
"""Samples; an edge that rises by less bounds no row."""
TIE, LOOSE = 1.0e-5, 1.0e-4
"""Share of a distance below which a difference may be rounding; and by which depths are overrated, so that none that
may tie is passed over."""


@wp.func_native("""
    float t, u, v, sign;
    return wp::intersect_ray_tri_woop(start, direction, first, second, third, t, u, v, sign, nullptr) ? t : -1.0f;
""")
def hit_distance(start: wp.vec3, direction: wp.vec3, first: wp.vec3, second: wp.vec3, third: wp.vec3) -> wp.float32:
    """Where a ray meets a triangle, in units of its direction's length; -1 where it does not."""
    ...


@wp.func
@no_type_check
def in_samples(a: wp.vec3, b: wp.vec3, c: wp.vec3, size: wp.int32):
    """A face's corners, given as `place_points` does, as rows: column and row of samples, from the top left, depth."""
    half = 0.5 * wp.float32(size)
    return wp.mat33(half * a[0], half * a[1], a[2], half * b[0], half * b[1], b[2], half * c[0], half * c[1], c[2])


@wp.func
@no_type_check
def lowest(corners: wp.mat33):
    """The smallest column, row and depth of a face's corners."""
    return wp.min(wp.min(corners[0], corners[1]), corners[2])


@wp.func
@no_type_check
def highest(corners: wp.mat33):
    """The largest column, row and depth of a face's corners."""
    return wp.max(wp.max(corners[0], corners[1]), corners[2])


@wp.func
@no_type_check
def are_known(low: wp.vec3, high: wp.vec3, size: wp.int32):
    """Whether a face's corners are where they are said to be; see NEAR and WIDE."""
    beyond = wp.max(wp.max(-low[0], -low[1]), wp.max(high[0], high[1]))
    return low[2] > NEAR and beyond < WIDE + wp.float32(size)


@wp.func
@no_type_check
def box_of(corners: wp.mat33, size: wp.int32):
    """First and last row, first and last column of the samples that a face may cover; of none, last comes first."""
    low, high, last = lowest(corners), highest(corners), wp.float32(size)
    if high[2] < -NEAR:  # all of it is behind the camera
        return wp.vec4i(0, -1, 0, -1)
    if not are_known(low, high, size):
        return wp.vec4i(0, size - 1, 0, size - 1)
    left, right = wp.ceil(low[0] - 0.5 - MARGIN), wp.floor(high[0] - 0.5 + MARGIN)
    top, bottom = wp.ceil(low[1] - 0.5 - MARGIN), wp.floor(high[1] - 0.5 + MARGIN)
    return wp.vec4i(
        wp.int32(wp.clamp(top, 0.0, last)), wp.int32(wp.clamp(bottom, -1.0, last - 1.0)),
        wp.int32(wp.clamp(left, 0.0, last)), wp.int32(wp.clamp(right, -1.0, last - 1.0)),
    )  # fmt: skip


@wp.func
@no_type_check
def edge_line(a: wp.vec3, b: wp.vec3, turn: wp.float32):
    """(p, q, r) with p x + q y + r >= 0 on the inner side of an edge and up to MARGIN beyond it.

    Args:
        turn: sign of the face's area.
    """
    x, y = turn * (b[0] - a[0]), turn * (b[1] - a[1])
    return wp.vec3(-y, x, y * a[0] - x * a[1] + MARGIN * (wp.abs(x) + wp.abs(y)))


@wp.func
@no_type_check
def edge_lines(corners: wp.mat33, size: wp.int32):
    """Of a face's three edges, as rows; zeros, which exclude nothing, where its corners are not known."""
    a, b, c = corners[0], corners[1], corners[2]
    turn = wp.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
    if not are_known(lowest(corners), highest(corners), size):
        turn = 0.0
    return wp.matrix_from_rows(edge_line(a, b, turn), edge_line(b, c, turn), edge_line(c, a, turn))


@wp.func
@no_type_check
def columns_within(lines: wp.mat33, row: wp.int32, box: wp.vec4i):
    """First and last column of a row's samples within a face's box and edges."""
    y, low, high = wp.float32(row) + 0.5, wp.float32(box[2]), wp.float32(box[3])
    for k in range(3):
        slope = lines[k, 0]
        if wp.abs(slope) > FLAT:
            x = -(lines[k, 1] * y + lines[k, 2]) / slope - 0.5
            if slope > 0.0:
                low = wp.max(low, wp.min(wp.ceil(x - MARGIN), wp.float32(box[3] + 1)))
            else:
                high = wp.min(high, wp.max(wp.floor(x + MARGIN), wp.float32(box[2] - 1)))
    return wp.vec2i(wp.int32(low), wp.int32(high))


@wp.kernel(enable_backward=False)
@no_type_check
def place_points(
    meshes: wp.array(dtype=wp.uint64),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    bases: wp.array(dtype=wp.mat33, ndim=2),
    extents: wp.array(dtype=wp.float32, ndim=2),
    places: wp.array(dtype=wp.vec3, ndim=3),
):
    """Where points lie in the image, half image heights from its top left corner, y down; and their depth, metres."""
    b, v = wp.tid()
    mesh = wp.mesh_get(meshes[b])
    for n in range(places.shape[2]):
        view = bases[b, v] * (mesh.points[n] - positions[b, v])
        scale = 1.0 / (extents[b, v] * view[2])
        places[b, v, n] = wp.vec3(1.0 + view[0] * scale, 1.0 - view[1] * scale, view[2])


@wp.kernel(enable_backward=False)
@no_type_check
def nearest_faces(
    meshes: wp.array(dtype=wp.uint64),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    bases: wp.array(dtype=wp.mat33, ndim=2),
    extents: wp.array(dtype=wp.float32, ndim=2),
    far: wp.float32,
    places: wp.array(dtype=wp.vec3, ndim=3),
    rays: wp.array(dtype=wp.vec3, ndim=2),
    slopes: wp.array(dtype=wp.float32, ndim=2),
    nearest: wp.array(dtype=wp.vec2, ndim=2),
    tied: wp.array(dtype=wp.bool, ndim=2),
    faces: wp.array(dtype=wp.int32, ndim=4),
    directions: wp.array(dtype=wp.vec3, ndim=4),
):
    """The face that each pixel's centre sees, -1 for none, and the ray's direction.

    Scratch: rays, and their depth by distance, overrated; distance and depth of the nearest hit; whether it is tied.
    """
    b, v = wp.tid()
    size, start, mesh = faces.shape[3], positions[b, v], wp.mesh_get(meshes[b])
    for row in range(size):
        for column in range(size):
            direction = pixel_direction(row, column, size, extents[b, v], bases[b, v])
            directions[b, v, row, column] = direction
            rays[row, column] = wp.normalize(direction)
            slopes[row, column] = (1.0 + LOOSE) / wp.length(direction)
            nearest[row, column] = wp.vec2(far, far)
            tied[row, column] = False
            faces[b, v, row, column] = -1
    for f in range(mesh.indices.shape[0] / 3):
        i, j, k = mesh.indices[3 * f], mesh.indices[3 * f + 1], mesh.indices[3 * f + 2]
        corners = in_samples(places[b, v, i], places[b, v, j], places[b, v, k], size)
        depth, box, wanted = lowest(corners)[2], box_of(corners, size), wp.bool(False)
        for row in range(box[0], box[1] + 1):
            for column in range(box[2], box[3] + 1):
                wanted = wanted or depth < nearest[row, column][1]
        if not wanted:
            continue
        lines = edge_lines(corners, size)
        for row in range(box[0], box[1] + 1):
            columns = columns_within(lines, row, box)
            for column in range(columns[0], columns[1] + 1):
                best = nearest[row, column]
                if depth < best[1]:
                    t = hit_distance(start, rays[row, column], mesh.points[i], mesh.points[j], mesh.points[k])
                    if t >= 0.0 and t < best[0] * (1.0 + TIE):
                        tied[row, column] = t > best[0] * (1.0 - TIE)
                        if t < best[0]:
                            nearest[row, column] = wp.vec2(t, t * slopes[row, column])
                            faces[b, v, row, column] = f
    for row in range(size):
        for column in range(size):
            if tied[row, column]:
                query = wp.mesh_query_ray(meshes[b], start, rays[row, column], far)
                if query.result:
                    faces[b, v, row, column] = query.face


@wp.kernel(enable_backward=False)
@no_type_check
def cover_centres(
    meshes: wp.array(dtype=wp.uint64),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    bases: wp.array(dtype=wp.mat33, ndim=2),
    extents: wp.array(dtype=wp.float32, ndim=2),
    places: wp.array(dtype=wp.vec3, ndim=3),
    hits: wp.array(dtype=wp.int32, ndim=4),
):
    """A face that the ray through each pixel's centre hits, -1 for none."""
    b, v = wp.tid()
    size, mesh = hits.shape[3], wp.mesh_get(meshes[b])
    for row in range(size):
        for column in range(size):
            hits[b, v, row, column] = -1
    for f in range(mesh.indices.shape[0] / 3):
        i, j, k = mesh.indices[3 * f], mesh.indices[3 * f + 1], mesh.indices[3 * f + 2]
        corners = in_samples(places[b, v, i], places[b, v, j], places[b, v, k], size)
        box, wanted = box_of(corners, size), wp.bool(False)
        for row in range(box[0], box[1] + 1):
            for column in range(box[2], box[3] + 1):
                wanted = wanted or hits[b, v, row, column] < 0
        if not wanted:
            continue
        lines = edge_lines(corners, size)
        for row in range(box[0], box[1] + 1):
            columns = columns_within(lines, row, box)
            for column in range(columns[0], columns[1] + 1):
                if hits[b, v, row, column] < 0:
                    ray = wp.normalize(pixel_direction(row, column, size, extents[b, v], bases[b, v]))
                    if hit_distance(positions[b, v], ray, mesh.points[i], mesh.points[j], mesh.points[k]) >= 0.0:
                        hits[b, v, row, column] = f


@wp.kernel(enable_backward=False)
@no_type_check
def cover_outline(
    meshes: wp.array(dtype=wp.uint64),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    bases: wp.array(dtype=wp.mat33, ndim=2),
    extents: wp.array(dtype=wp.float32, ndim=2),
    places: wp.array(dtype=wp.vec3, ndim=3),
    hits: wp.array(dtype=wp.int32, ndim=4),
    samples: wp.int32,
    outline: wp.array(dtype=wp.bool, ndim=2),
    missed: wp.array(dtype=wp.bool, ndim=2),
    coverage: wp.array(dtype=wp.float32, ndim=4),
):
    """Share of each pixel's samples that hit, which are tested only where not all of the 3 x 3 centres around agree.

    Scratch: pixels where they do not; samples that have not been hit yet.
    """
    b, v = wp.tid()
    size, grid, mesh = hits.shape[3], hits.shape[3] * samples, wp.mesh_get(meshes[b])
    for row in range(size):
        for column in range(size):
            outline[row, column] = on_outline(hits, b, v, row, column)
            inside = hits[b, v, row, column] >= 0 and not outline[row, column]
            coverage[b, v, row, column] = wp.where(inside, wp.float32(samples * samples), 0.0)
            for y in range(row * samples, row * samples + samples):
                for x in range(column * samples, column * samples + samples):
                    missed[y, x] = outline[row, column]
    for f in range(mesh.indices.shape[0] / 3):
        i, j, k = mesh.indices[3 * f], mesh.indices[3 * f + 1], mesh.indices[3 * f + 2]
        corners = in_samples(places[b, v, i], places[b, v, j], places[b, v, k], grid)
        box, wanted = box_of(corners, grid), wp.bool(False)
        for row in range(box[0] / samples, box[1] / samples + 1):
            for column in range(box[2] / samples, box[3] / samples + 1):
                wanted = wanted or outline[row, column]
        if not wanted:
            continue
        lines = edge_lines(corners, grid)
        for row in range(box[0], box[1] + 1):
            columns = columns_within(lines, row, box)
            for column in range(columns[0], columns[1] + 1):
                if missed[row, column]:
                    ray = wp.normalize(sample_direction(row, column, samples, size, extents[b, v], bases[b, v]))
                    if hit_distance(positions[b, v], ray, mesh.points[i], mesh.points[j], mesh.points[k]) >= 0.0:
                        missed[row, column] = False
                        coverage[b, v, row / samples, column / samples] += 1.0
    for row in range(size):
        for column in range(size):
            coverage[b, v, row, column] = coverage[b, v, row, column] / wp.float32(samples * samples)
