"""Camera rays in Warp's kernel language, shared by all kernels so that a ray has the same bits in each of them."""

from __future__ import annotations

from typing import no_type_check

import warp as wp


@wp.func
@no_type_check
def view_direction(x: wp.float32, y: wp.float32, extent: wp.float32, basis: wp.mat33):
    """Return the world direction through (x, y) in half image heights from the centre, y up; 1 long along the axis."""
    return wp.transpose(basis) * wp.vec3(x * extent, y * extent, 1.0)


@wp.func
@no_type_check
def pixel_direction(row: wp.int32, column: wp.int32, size: wp.int32, extent: wp.float32, basis: wp.mat33):
    """Return the world direction through the centre of a pixel."""
    scale = 2.0 / wp.float32(size)
    x = (wp.float32(column) + 0.5) * scale - 1.0
    y = 1.0 - (wp.float32(row) + 0.5) * scale
    return view_direction(x, y, extent, basis)


@wp.func
@no_type_check
def sample_direction(
    row: wp.int32, column: wp.int32, samples: wp.int32, size: wp.int32, extent: wp.float32, basis: wp.mat33
):
    """Return the world direction through a sample, given by row and column in the grid of all samples."""
    scale, across, down = 2.0 / wp.float32(size), column / samples, row / samples
    right, below = wp.float32(column - across * samples), wp.float32(row - down * samples)
    x = (wp.float32(across) + (right + 0.5) / wp.float32(samples)) * scale - 1.0
    y = 1.0 - (wp.float32(down) + (below + 0.5) / wp.float32(samples)) * scale
    return view_direction(x, y, extent, basis)


@wp.func
@no_type_check
def on_outline(hits: wp.array(dtype=wp.int32, ndim=4), b: wp.int32, v: wp.int32, row: wp.int32, column: wp.int32):
    """Return True if, of the 3 x 3 pixels around a pixel, some are hit and others are not (-1)."""
    size, own = hits.shape[3], hits[b, v, row, column] >= 0
    found = wp.bool(False)
    for y in range(wp.max(row - 1, 0), wp.min(row + 2, size)):
        for x in range(wp.max(column - 1, 0), wp.min(column + 2, size)):
            found = found or (hits[b, v, y, x] >= 0) != own
    return found
