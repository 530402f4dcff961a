"""Refine meshes by linear operators: Catmull-Clark subdivision, triangulation, and a cut along a plane.

Each step returns a sparse matrix from old vertices to new ones. Because it is linear, the same matrix carries blend
shapes (displacements of the old vertices) to the new mesh. Pure numpy and scipy; runs once, when a head model is baked.

Source of the subdivision masks: Catmull and Clark, "Recursively generated B-spline surfaces on arbitrary topological
meshes", 1978; boundary masks are those of the cubic B-spline curve.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

SNAP = 0.3
"""Vertices closer to the cutting plane than this fraction of an edge move onto it, which avoids sliver triangles."""


def _edges(quads: Int[np.ndarray, "Q 4"]) -> tuple[Int[np.ndarray, "E 2"], Int[np.ndarray, "Q 4"]]:
    """Return the unique edges (sorted ends) and, for each quad, the edges that leave corners 0 to 3."""
    pairs = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1)
    edges, index = np.unique(np.sort(pairs.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    return edges, index.reshape(quads.shape)


def _rows(index: np.ndarray, columns: int) -> sp.csr_matrix:
    """Return the matrix whose row r averages the columns listed in `index[r]`."""
    count, width = index.shape
    rows = np.repeat(np.arange(count), width)
    return sp.csr_matrix((np.full(rows.shape, 1 / width), (rows, index.ravel())), shape=(count, columns))


def _split(quads: np.ndarray, quad_edges: np.ndarray, vertices: int, edges: int) -> Int[np.ndarray, "Q4 4"]:
    """Return four quads for each quad, over the numbering [vertices, edges, faces]."""
    centre = vertices + edges + np.arange(len(quads))
    leaving = vertices + quad_edges
    arriving = np.roll(leaving, 1, axis=1)
    corners = [np.stack([quads[:, k], leaving[:, k], centre, arriving[:, k]], 1) for k in range(4)]
    return np.stack(corners, axis=1).reshape(-1, 4)


def linear(quads: Int[np.ndarray, "Q 4"], vertices: int) -> tuple[sp.csr_matrix, Int[np.ndarray, "Q4 4"]]:
    """Split each quad in four without smoothing (for texture coordinates).

    Args:
        quads: corner indices.
        vertices: number V of points that the indices refer to.

    Returns:
        The (V', V) operator over the numbering [vertices, edges, faces], and the new quads.

    Example:
        >>> operator, quads = linear(np.array([[0, 1, 2, 3]]), 4)
        >>> operator.shape, quads.shape
        ((9, 4), (4, 4))
        >>> operator @ np.array([0.0, 1.0, 1.0, 0.0])  # x of a unit square's corners
        array([0. , 1. , 1. , 0. , 0.5, 0. , 1. , 0.5, 0.5])
    """
    edges, quad_edges = _edges(quads)
    operator = sp.csr_matrix(sp.vstack([sp.identity(vertices), _rows(edges, vertices), _rows(quads, vertices)]))
    return operator, _split(quads, quad_edges, vertices, len(edges))


def catmull_clark(quads: Int[np.ndarray, "Q 4"], vertices: int) -> tuple[sp.csr_matrix, Int[np.ndarray, "Q4 4"]]:
    """Apply one Catmull-Clark step.

    Args:
        quads: corner indices.
        vertices: number V of points that the indices refer to; unused points stay where they are.

    Returns:
        The (V', V) operator over the numbering [vertices, edges, faces], and the new quads in the same order of faces
        and corners as in `linear`.

    Example:
        >>> operator, quads = catmull_clark(np.array([[0, 1, 2, 3]]), 4)
        >>> operator.shape, quads.shape
        ((9, 4), (4, 4))
        >>> (operator @ np.array([0.0, 1.0, 1.0, 0.0]))[:4]  # corners of the border shrink by the cubic B-spline's mask
        array([0.125, 0.875, 0.875, 0.125])
    """
    edges, quad_edges = _edges(quads)
    faces_of_edge = np.bincount(quad_edges.ravel(), minlength=len(edges))
    border = faces_of_edge == 1
    face_points = _rows(quads, vertices)
    midpoints = _rows(edges, vertices)
    incidence = sp.csr_matrix(
        (np.ones(quads.size), (quad_edges.ravel(), np.repeat(np.arange(len(quads)), 4))),
        shape=(len(edges), len(quads)),
    )
    smooth_edges = 0.5 * midpoints + 0.5 * sp.diags(1 / faces_of_edge) @ incidence @ face_points
    rim = sp.diags(border.astype(float))
    edge_points = rim @ midpoints + (sp.identity(len(edges)) - rim) @ smooth_edges
    vertex_points = _vertex_points(quads, edges, border, face_points, midpoints, vertices)
    operator = sp.csr_matrix(sp.vstack([vertex_points, edge_points, face_points]))
    return operator, _split(quads, quad_edges, vertices, len(edges))


def _vertex_points(
    quads: np.ndarray,
    edges: np.ndarray,
    border: np.ndarray,
    face_points: sp.csr_matrix,
    midpoints: sp.csr_matrix,
    vertices: int,
) -> sp.csr_matrix:
    """Return Catmull-Clark's rule for old vertices: (F + 2R + (n-3)P)/n inside, (1, 6, 1)/8 on a border."""

    def average(members: np.ndarray) -> sp.csr_matrix:
        owners = np.repeat(np.arange(len(members)), members.shape[1])
        entries = (np.ones(members.size), (members.ravel(), owners))
        matrix = sp.csr_matrix(entries, shape=(vertices, len(members)))
        return sp.diags(1 / np.maximum(np.asarray(matrix.sum(1)).ravel(), 1)) @ matrix

    valence = np.bincount(edges.ravel(), minlength=vertices).astype(float)
    on_border = np.zeros(vertices, bool)
    on_border[edges[border].ravel()] = True
    inside = (valence > 0) & ~on_border
    share = np.where(inside, 1 / np.maximum(valence, 1), 0)
    smooth = sp.diags(share) @ (average(quads) @ face_points + 2 * average(edges) @ midpoints)
    smooth = smooth + sp.diags(np.where(inside, 1 - 3 * share, 0)) @ sp.identity(vertices)
    rim = np.zeros((0, 2), int) if not border.any() else edges[border]
    curve = sp.diags(on_border * 0.5) @ (average(rim) @ _rows(rim, vertices) + sp.identity(vertices))
    return smooth + curve + sp.diags((valence == 0).astype(float))


def triangulate(quads: Int[np.ndarray, "Q 4"], points: Float[np.ndarray, "V 3"]) -> Int[np.ndarray, "T 3"]:
    """Split each quad in two triangles along its shorter diagonal, so that mirrored quads split alike.

    Ties (within 1e-6 of the length) take the diagonal that holds the highest corner.

    Args:
        quads: corner indices.
        points: positions, metres.

    Example:
        >>> kite = np.array([[0.0, 0, 0], [1, -0.2, 0], [2, 0, 0], [1, 0.2, 0]])
        >>> triangulate(np.array([[0, 1, 2, 3]]), kite).tolist()
        [[1, 2, 3], [1, 3, 0]]
    """
    first = np.linalg.norm(points[quads[:, 0]] - points[quads[:, 2]], axis=1)
    second = np.linalg.norm(points[quads[:, 1]] - points[quads[:, 3]], axis=1)
    tie = np.abs(first - second) < 1e-6 * (first + second)
    height = points[quads, 1] + 1e-3 * points[quads, 2]
    use_second = np.where(tie, np.argmax(height.round(9), axis=1) % 2 == 1, second < first)
    turned = np.where(use_second[:, None], np.roll(quads, -1, axis=1), quads)
    return np.stack([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]], axis=1).reshape(-1, 3)


def _interpolation(ends: np.ndarray, fraction: np.ndarray, vertices: int) -> sp.csr_matrix:
    """Return the matrix whose row r is (1 - fraction) of `ends[r, 0]` plus fraction of `ends[r, 1]`."""
    rows = np.repeat(np.arange(len(ends)), 2)
    values = np.stack([1 - fraction, fraction], 1).ravel()
    return sp.csr_matrix((values, (rows, ends.ravel())), shape=(len(ends), vertices))


def _crossings(faces: np.ndarray, height: np.ndarray) -> Int[np.ndarray, "C 2"]:
    """Return the edges whose ends lie on different sides of the plane."""
    pairs = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2), axis=1)
    edges = np.unique(pairs, axis=0)
    return edges[height[edges[:, 0]] * height[edges[:, 1]] < 0]


def cut(
    faces: Int[np.ndarray, "F 3"], points: Float[np.ndarray, "V 3"], height: Float[np.ndarray, " V"]
) -> tuple[sp.csr_matrix, Int[np.ndarray, "G 3"], Int[np.ndarray, " G"]]:
    """Keep the part of a mesh above a plane; the new border lies exactly on the plane.

    Vertices near the plane slide along a crossing edge onto it; each remaining crossing edge gets a new vertex.

    Args:
        faces: triangles.
        points: positions, metres.
        height: signed distance of each vertex from the plane, metres.

    Returns:
        The (V + C, V) operator, the kept faces over its rows, and the index of the face that each comes from.

    Example:
        >>> points = np.array([[0.0, -1, 0], [1, 1, 0], [-1, 1, 0]])
        >>> operator, kept, source = cut(np.array([[0, 1, 2]]), points, points[:, 1])
        >>> operator.shape, (operator @ points)[3:].tolist(), source.tolist()
        ((5, 3), [[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]], [0, 0])
    """
    vertices = len(height)
    operator, height = _snap(faces, height)
    edges = _crossings(faces, height)
    fraction = height[edges[:, 0]] / (height[edges[:, 0]] - height[edges[:, 1]])
    new_vertex = {(int(a), int(b)): vertices + k for k, (a, b) in enumerate(edges)}
    stacked = sp.csr_matrix(sp.vstack([operator, _interpolation(edges, fraction, vertices)]))
    kept, source = _clip(faces, stacked @ points, height, new_vertex)
    return stacked, kept, source


def _snap(faces: np.ndarray, height: np.ndarray) -> tuple[sp.csr_matrix, Float[np.ndarray, " V"]]:
    """Slide vertices near the plane onto it, nearest first; return the operator and the new heights."""
    edges = _crossings(faces, height)
    fraction = height[edges[:, 0]] / (height[edges[:, 0]] - height[edges[:, 1]])
    near = np.stack([fraction, 1 - fraction], 1)
    order = np.argsort(near.ravel().round(9), kind="stable")
    operator = sp.lil_matrix(sp.identity(len(height)))
    height = height.copy()
    for slot in order[near.ravel()[order] < SNAP]:
        edge, end = divmod(int(slot), 2)
        vertex = edges[edge, end]
        if height[vertex] == 0 or height[edges[edge, 1 - end]] == 0:
            continue
        operator[vertex, vertex] = 1 - near[edge, end]
        operator[vertex, edges[edge, 1 - end]] = near[edge, end]
        height[vertex] = 0.0
    return sp.csr_matrix(operator), height


def _clip(
    faces: np.ndarray, points: np.ndarray, height: np.ndarray, new_vertex: dict[tuple[int, int], int]
) -> tuple[Int[np.ndarray, "G 3"], Int[np.ndarray, " G"]]:
    """Return the faces above the plane, clipping those that straddle it, and the face that each comes from."""
    above = height[faces]
    whole = (above >= 0).all(1) & (above > 0).any(1)
    kept, source = [faces[whole]], [np.flatnonzero(whole)]
    for face in np.flatnonzero((above > 0).any(1) & (above < 0).any(1)):
        polygon: list[int] = []
        for k in range(3):
            here, there = int(faces[face, k]), int(faces[face, (k + 1) % 3])
            if height[here] >= 0:
                polygon.append(here)
            if height[here] * height[there] < 0:
                polygon.append(new_vertex[min(here, there), max(here, there)])
        if len(polygon) == 4:
            pair = triangulate(np.array([polygon]), points)
        else:
            pair = np.array([polygon])
        kept.append(pair)
        source.append(np.full(len(pair), face))
    return np.concatenate(kept), np.concatenate(source)
