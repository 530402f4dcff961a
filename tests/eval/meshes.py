"""Meshes whose normals and curvatures are known."""

import numpy as np


def grid(rows: int, columns: int, around_rows=False, around_columns=False) -> np.ndarray:
    """Return the triangles of a grid of vertices, row by row, closed in the directions that are asked for."""
    row, column = np.meshgrid(
        np.arange(rows if around_rows else rows - 1),
        np.arange(columns if around_columns else columns - 1),
        indexing="ij",
    )
    below, right = (row + 1) % rows, (column + 1) % columns
    a, b, c, d = (r * columns + s for r, s in ((row, column), (row, right), (below, right), (below, column)))
    return np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], axis=2).reshape(-1, 3)


def sphere(radius: float, levels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return a sphere: an octahedron whose triangles are split in four, `levels` times."""
    points = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    upper = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4]]
    faces = np.array(upper + [[b, a, 5] for a, b, _ in upper])
    for _ in range(levels):
        corners = points[faces]
        middles = (corners + np.roll(corners, -1, axis=1)) / 2
        a, b, c = corners.swapaxes(0, 1)
        ab, bc, ca = middles.swapaxes(0, 1)
        parts = np.concatenate([np.stack(p, 1) for p in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
        points, index = np.unique(parts.reshape(-1, 3).round(12), axis=0, return_inverse=True)
        faces = index.reshape(-1, 3)
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    return radius * points, faces


def torus(large: float, small: float, rows: int = 160, columns: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Return a torus around z; rows go around the axis, columns around the tube."""
    u, v = np.meshgrid(np.arange(rows) * 2 * np.pi / rows, np.arange(columns) * 2 * np.pi / columns, indexing="ij")
    away = large + small * np.cos(v)
    points = np.stack([away * np.cos(u), away * np.sin(u), small * np.sin(v)], -1).reshape(-1, 3)
    return points, grid(rows, columns, True, True)[:, [0, 2, 1]]


def sheet(height, size: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the graph of `height(x, y)` over a square of side `size` around the origin, upwards."""
    axis = np.linspace(-size / 2, size / 2, count)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    points = np.stack([x, y, height(x, y) + 0 * x], -1).reshape(-1, 3)
    return points, grid(count, count)[:, [0, 2, 1]]


def middle(points: np.ndarray, share: float = 0.5) -> np.ndarray:
    """Return the points of a sheet that are within a share of its side of the centre."""
    return (np.abs(points[:, :2]) < share / 2 * np.ptp(points[:, :2], axis=0)).all(axis=1)
