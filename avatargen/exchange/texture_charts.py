"""Sample textures as viewers do, and lay triangles out as charts of their own.

Texture coordinates here are glTF's: u to the right, v downwards; texel centres lie at half-integers. Those of charts
are the renderer's: v upwards.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from avatargen.exchange.mesh_files import LARGEST

CLAMP, MIRROR, REPEAT = 33071, 33648, 10497
"""What lies beyond the border of an image, as glTF numbers it."""
FEWEST, MOST = 2, 256
"""Texels along a side of a chart."""


def to_linear(colours: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return the linear light of sRGB colours (IEC 61966-2-1).

    Example:
        >>> to_linear(np.array([0.0, 0.5, 1.0])).round(4).tolist()
        [0.0, 0.214, 1.0]
    """
    return np.where(colours <= 0.04045, colours / 12.92, ((np.maximum(colours, 0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(light: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return the sRGB colours of linear light.

    Example:
        >>> to_srgb(np.array([0.0, 0.5, 1.0])).round(4).tolist()
        [0.0, 0.7354, 1.0]
    """
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def bilinear(
    pixels: Float[np.ndarray, "H W K"], uvs: Float[np.ndarray, "*points 2"], wrap: tuple[int, int]
) -> Float[np.ndarray, "*points K"]:
    """Return the colours of an image at points, bilinear between texel centres.

    Args:
        pixels: of the image.
        uvs: texture coordinates.
        wrap: what lies beyond the border, along u and v.

    Example:
        >>> row = np.array([[[0.0], [8.0]]])
        >>> bilinear(row, np.array([[0.5, 0.5], [1.0, 0.5]]), (REPEAT, REPEAT)).ravel().tolist()
        [4.0, 4.0]
        >>> bilinear(row, np.array([[1.0, 0.5], [1.25, 0.5]]), (CLAMP, MIRROR)).ravel().tolist()
        [8.0, 8.0]
    """
    size = np.array(pixels.shape[1::-1])
    places = uvs * size - 0.5
    first = np.floor(places).astype(np.int64)
    right, down = np.moveaxis(places - first, -1, 0)[..., None]
    x, y = ([_within(first[..., k] + step, int(size[k]), wrap[k]) for step in (0, 1)] for k in (0, 1))
    above = pixels[y[0], x[0]] * (1 - right) + pixels[y[0], x[1]] * right
    below = pixels[y[1], x[0]] * (1 - right) + pixels[y[1], x[1]] * right
    return above * (1 - down) + below * down


def _within(index: Int[np.ndarray, "*points"], size: int, wrap: int) -> Int[np.ndarray, "*points"]:
    """Return the texel that a texel beyond the border shows."""
    if wrap == CLAMP:
        return index.clip(0, size - 1)
    if wrap == REPEAT:
        return index % size
    index = index % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)


def folded(
    uvs: Float[np.ndarray, "F 3 2"], wrap: tuple[int, int], width: int, height: int
) -> tuple[Float[np.ndarray, "F 3 2"], Bool[np.ndarray, " F"]]:
    """Move triangles by whole periods into an image, as its repetition allows.

    Args:
        uvs: texture coordinates of the corners.
        wrap: what lies beyond the border, along u and v.
        width, height: of the image.

    Returns:
        Texture coordinates, and which triangles then lie within the image, up to half a texel.

    Example:
        >>> uvs = np.array([[[3.25, 1.25], [3.5, 1.25], [3.25, 1.5]]])
        >>> moved, inside = folded(uvs, (REPEAT, MIRROR), 8, 8)
        >>> moved.tolist(), inside.tolist()
        ([[[0.25, 0.75], [0.5, 0.75], [0.25, 0.5]]], [True])
    """
    middle = uvs.min(axis=1, keepdims=True) / 2 + uvs.max(axis=1, keepdims=True) / 2
    period = np.floor(middle)
    kinds = np.array(wrap)
    moved = np.where(kinds == CLAMP, uvs, uvs - period)
    moved = np.where((kinds == MIRROR) & (period % 2 == 1), 1 - moved, moved)
    border = 0.5 / np.array([width, height])
    return moved, np.all((moved >= -border) & (moved <= 1 + border), axis=(1, 2))


def by_size(texels: Float[np.ndarray, " F"]) -> Iterator[tuple[int, Bool[np.ndarray, " F"]]]:
    """Yield sizes of charts, powers of two, and the triangles that need them.

    Args:
        texels: that each triangle spans.

    Example:
        >>> [(size, chosen.tolist()) for size, chosen in by_size(np.array([0.5, 5.0]))]
        [(2, [True, False]), (8, [False, True])]
    """
    sizes = 2 ** np.ceil(np.log2(texels.clip(FEWEST - 1, MOST - 1) + 1)).astype(np.int64)
    yield from ((int(size), sizes == size) for size in np.unique(sizes))


def largest_chart(count: int, size: int) -> int:
    """Return the size of charts, so that all of them fit into a texture of `LARGEST`.

    Example:
        >>> largest_chart(10_000, 64)
        20
    """
    return max(FEWEST, min(size, LARGEST // _columns(count)))


def _columns(count: int) -> int:
    return int(np.ceil(np.sqrt(count)))


def chart_weights(size: int) -> Float[np.ndarray, "S 3"]:
    """Return the barycentric weights of a chart's texels, row by row.

    Corners lie at the centres of the first texel, of the last of the first row, and of the last of the first column.

    Example:
        >>> chart_weights(2).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 1.0, 1.0]]
    """
    across, down = (grid.ravel() for grid in np.meshgrid(*[np.linspace(0, 1, size)] * 2))
    return np.stack([1 - across - down, across, down], axis=1)


def inner_weights(size: int) -> Float[np.ndarray, "S 3"]:
    """Return the barycentric weights of the centres of size² equal parts of a triangle.

    Example:
        >>> inner_weights(1).round(3).tolist()
        [[0.333, 0.333, 0.333]]
    """
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(size), np.arange(size)))
    upright, turned = x + y < size, x + y < size - 1
    points = np.concatenate(
        [np.stack([x, y], 1)[upright] + 1 / 3, np.stack([x, y], 1)[turned] + 2 / 3],
    )
    return np.concatenate([size - points.sum(axis=1, keepdims=True), points], axis=1) / size


def charts(
    cells: Shaped[np.ndarray, "F S 3"], size: int
) -> tuple[Float[np.ndarray, "3 H W"], Float[np.ndarray, "F 3 2"]]:
    """Return a texture of the charts of triangles, and the texture coordinates of their corners.

    Args:
        cells: colours at `chart_weights`.
        size: of a chart.

    Example:
        >>> texture, uvs = charts(np.ones((1, 4, 3)), 2)
        >>> texture.shape, uvs.tolist()
        ((3, 2, 2), [[[0.25, 0.75], [0.75, 0.75], [0.25, 0.25]]])
    """
    count, columns = len(cells), _columns(len(cells))
    rows = -(-count // columns)
    grid = np.zeros((rows * columns, size, size, 3))
    grid[:count] = cells.reshape(count, size, size, 3)
    texture = grid.reshape(rows, columns, size, size, 3).transpose(4, 0, 2, 1, 3)
    first = np.stack(np.divmod(np.arange(count), columns)[::-1], axis=1) * size + 0.5
    texels = first[:, None] + np.array([[0, 0], [size - 1, 0], [0, size - 1]])
    uvs = texels / (columns * size, rows * size) * (1, -1) + (0, 1)
    return texture.reshape(3, rows * size, columns * size), uvs
