"""Visibility on the CPU: rasterise faces one by one, with the ray/triangle test of Warp's queries.

Faces of a head are about as small as the spacing of samples. A ray descends a hierarchy to test a handful of faces; a
rasterised face is tested at one or two samples. For a head of 9,664 faces, rasterising takes two thirds of the time of
ray casting at 64 x 64 and a quarter at 512 x 512 (`benchmarks/renderer.py`, with warm caches); within a step of the
method, a third.

The test is that of Warp's queries (Woop, Benthin and Wald, "Watertight Ray/Triangle Intersection", JCGT 2013) with the
same ray. Where two faces tie to within rounding, as in folds, the query decides. So the visible faces are those of ray
casting, to the bit, unless a ray grazes a box of the hierarchy: the query may then miss the box and its faces.

Each kernel thread rasterises a whole view, so that there are no races; on the CPU, Warp runs threads one by one.
"""

# no `from __future__ import annotations`: Warp needs the type that `hit_distance` returns, not its name
from typing import no_type_check

import warp as wp

from avatargen.render.rays import on_outline, pixel_direction, sample_direction

MARGIN = 0.01
"""Margin around a face's image within which samples are tested, in samples; far above the rounding of projections."""
NEAR, WIDE = 0.01, 4096.0
"""Least depth in metres, and largest distance from the image in samples, at which a corner's place in the image is
accurate. A face with a corner beyond these limits is tested at all samples."""
FLAT = 1.0e-6
"""Height of an edge below which it does not limit the columns of a row, in samples."""
TIE, LOOSE = 1.0e-5, 1.0e-4
"""Relative difference of distances below which two hits tie; and relative margin on depths, so that no face that may
tie is skipped."""


@wp.func_native("""
    float t, u, v, sign;
    return wp::intersect_ray_tri_woop(start, direction, first, second, third, t, u, v, sign, nullptr) ? t : -1.0f;
""")
def hit_distance(start: wp.vec3, direction: wp.vec3, first: wp.vec3, second: wp.vec3, third: wp.vec3) -> wp.float32:
    """Return the distance of a ray's hit of a triangle, in units of its direction's length; -1 if it misses."""
    ...


@wp.func
@no_type_check
def in_samples(a: wp.vec3, b: wp.vec3, c: wp.vec3, size: wp.int32):
    """Return a face's corners as rows (column, row, depth), in samples from the top left and metres.

    The arguments are corners as `place_points` writes them.
    """
    half = 0.5 * wp.float32(size)
    return wp.mat33(half * a[0], half * a[1], a[2], half * b[0], half * b[1], b[2], half * c[0], half * c[1], c[2])


@wp.func
@no_type_check
def lowest(corners: wp.mat33):
    """Return the smallest column, row and depth of a face's corners."""
    return wp.min(wp.min(corners[0], corners[1]), corners[2])


@wp.func
@no_type_check
def highest(corners: wp.mat33):
    """Return the largest column, row and depth of a face's corners."""
    return wp.max(wp.max(corners[0], corners[1]), corners[2])


@wp.func
@no_type_check
def are_known(low: wp.vec3, high: wp.vec3, size: wp.int32):
    """Return True if the places of a face's corners in the image are accurate; see NEAR and WIDE."""
    beyond = wp.max(wp.max(-low[0], -low[1]), wp.max(high[0], high[1]))
    return low[2] > NEAR and beyond < WIDE + wp.float32(size)


@wp.func
@no_type_check
def box_of(corners: wp.mat33, size: wp.int32):
    """Return first and last row, first and last column of the samples that a face may cover; last < first for none."""
    low, high, last = lowest(corners), highest(corners), wp.float32(size)
    if high[2] < -NEAR:  # all of it is behind the camera
        return wp.vec4i(0, -1, 0, -1)
    if not are_known(low, high, size):
        return wp.vec4i(0, size - 1, 0, size - 1)
    left, right = wp.ceil(low[0] - 0.5 - MARGIN), wp.floor(high[0] - 0.5 + MARGIN)
    top, bottom = wp.ceil(low[1] - 0.5 - MARGIN), wp.floor(high[1] - 0.5 + MARGIN)
    return wp.vec4i(
        wp.int32(wp.clamp(top, 0.0, last)),
        wp.int32(wp.clamp(bottom, -1.0, last - 1.0)),
        wp.int32(wp.clamp(left, 0.0, last)),
        wp.int32(wp.clamp(right, -1.0, last - 1.0)),
    )


@wp.func
@no_type_check
def edge_line(a: wp.vec3, b: wp.vec3, turn: wp.float32):
    """Return (p, q, r) with p x + q y + r >= 0 on the inner side of an edge and up to MARGIN beyond it.

    `turn` is the sign of the face's area.
    """
    x, y = turn * (b[0] - a[0]), turn * (b[1] - a[1])
    return wp.vec3(-y, x, y * a[0] - x * a[1] + MARGIN * (wp.abs(x) + wp.abs(y)))


@wp.func
@no_type_check
def edge_lines(corners: wp.mat33, size: wp.int32):
    """Return the `edge_line` of each edge as rows; zeros, which exclude nothing, unless `are_known`."""
    a, b, c = corners[0], corners[1], corners[2]
    turn = wp.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
    if not are_known(lowest(corners), highest(corners), size):
        turn = 0.0
    return wp.matrix_from_rows(edge_line(a, b, turn), edge_line(b, c, turn), edge_line(c, a, turn))


@wp.func
@no_type_check
def columns_within(lines: wp.mat33, row: wp.int32, box: wp.vec4i):
    """Return first and last column of a row's samples within a face's box and edges."""
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
    """Write (x, y, depth) of each vertex in each view: half image heights from the top left corner, y down; metres."""
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
    """Write the face that each pixel's centre sees, -1 for none, and the direction of the ray.

    Scratch, per pixel: `rays`, unit directions; `slopes`, depth by distance, with a margin; `nearest`, distance and
    depth of the nearest hit; `tied`, whether another hit ties with it.
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
    """Write a face that the ray through each pixel's centre hits, -1 for none."""
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
    """Write the share of each pixel's samples that hit.

    Samples are tested only in pixels on the outline, where the centres of the 3 x 3 pixels around do not all agree.

    Scratch: `outline`, these pixels; `missed`, samples in them that no face has covered yet.
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
