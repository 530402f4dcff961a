"""Mesh refinement as linear operators: Catmull-Clark, triangulation, and a clean cut along a plane.

Every step returns a sparse matrix that takes old vertices to new ones, so that a blend shape (a field of
displacements on the old vertices) is carried by the very same matrix: subdividing the sum is the sum of the
subdivided. Pure numpy and scipy; used once, when a head model is baked.

Source of the masks: Catmull and Clark, "Recursively generated B-spline surfaces on arbitrary topological
meshes", 1978; boundary masks are those of the cubic B-spline curve.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

SNAP = 0.3  # a vertex closer to the cutting plane than this fraction of an edge is moved onto it (no slivers)


def _edges(quads: Int[np.ndarray, "Q 4"]) -> tuple[Int[np.ndarray, "E 2"], Int[np.ndarray, "Q 4"]]:
    """Unique edges (sorted ends) and, for each quad, the edges leaving corners 0 to 3."""
    pairs = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1)
    edges, index = np.unique(np.sort(pairs.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    return edges, index.reshape(quads.shape)


def _rows(index: np.ndarray, columns: int) -> sp.csr_matrix:
    """Matrix whose row r averages the columns listed in index[r]."""
    count, width = index.shape
    rows = np.repeat(np.arange(count), width)
    return sp.csr_matrix((np.full(rows.shape, 1 / width), (rows, index.ravel())), shape=(count, columns))


def _split(quads: np.ndarray, quad_edges: np.ndarray, vertices: int, edges: int) -> Int[np.ndarray, "Q4 4"]:
    """Four quads for each quad, over the numbering [vertices, edges, faces]."""
    centre = vertices + edges + np.arange(len(quads))
    leaving = vertices + quad_edges
    arriving = np.roll(leaving, 1, axis=1)
    corners = [np.stack([quads[:, k], leaving[:, k], centre, arriving[:, k]], 1) for k in range(4)]
    return np.stack(corners, axis=1).reshape(-1, 4)


def linear(quads: Int[np.ndarray, "Q 4"], vertices: int) -> tuple[sp.csr_matrix, Int[np.ndarray, "Q4 4"]]:
    """Split each quad in four without smoothing (for texture coordinates). Returns (operator, quads)."""
    edges, quad_edges = _edges(quads)
    operator = sp.vstack([sp.identity(vertices), _rows(edges, vertices), _rows(quads, vertices)]).tocsr()
    return operator, _split(quads, quad_edges, vertices, len(edges))


def catmull_clark(quads: Int[np.ndarray, "Q 4"], vertices: int) -> tuple[sp.csr_matrix, Int[np.ndarray, "Q4 4"]]:
    """One Catmull-Clark step.

    Args:
        quads: corner indices into `vertices` points; unused points are kept where they are.
    Returns:
        (V', V) operator over the numbering [vertices, edges, faces], and the new quads in the same order of
        faces and corners as `linear` gives.
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
    operator = sp.vstack([vertex_points, edge_points, face_points]).tocsr()
    return operator, _split(quads, quad_edges, vertices, len(edges))


def _vertex_points(
    quads: np.ndarray, edges: np.ndarray, border: np.ndarray,
    face_points: sp.csr_matrix, midpoints: sp.csr_matrix, vertices: int,
) -> sp.csr_matrix:  # fmt: skip
    """Catmull-Clark's rule for old vertices: (F + 2R + (n-3)P)/n inside, (1, 6, 1)/8 on a border."""

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
    """Two triangles for each quad along its shorter diagonal, so that mirrored quads are split alike.

    Ties (within 1e-6 of the length) take the diagonal that holds the highest corner.
    """
    first = np.linalg.norm(points[quads[:, 0]] - points[quads[:, 2]], axis=1)
    second = np.linalg.norm(points[quads[:, 1]] - points[quads[:, 3]], axis=1)
    tie = np.abs(first - second) < 1e-6 * (first + second)
    height = points[quads, 1] + 1e-3 * points[quads, 2]
    use_second = np.where(tie, np.argmax(height.round(9), axis=1) % 2 == 1, second < first)
    turned = np.where(use_second[:, None], np.roll(quads, -1, axis=1), quads)
    return np.stack([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]], axis=1).reshape(-1, 3)


def _interpolation(ends: np.ndarray, fraction: np.ndarray, vertices: int) -> sp.csr_matrix:
    """Matrix whose row r is (1 - fraction) of ends[r, 0] plus fraction of ends[r, 1]."""
    rows = np.repeat(np.arange(len(ends)), 2)
    values = np.stack([1 - fraction, fraction], 1).ravel()
    return sp.csr_matrix((values, (rows, ends.ravel())), shape=(len(ends), vertices))


def _crossings(faces: np.ndarray, height: np.ndarray) -> np.ndarray:
    pairs = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2), axis=1)
    edges = np.unique(pairs, axis=0)
    return edges[height[edges[:, 0]] * height[edges[:, 1]] < 0]


def cut(
    faces: Int[np.ndarray, "F 3"], points: Float[np.ndarray, "V 3"], height: Float[np.ndarray, " V"]
) -> tuple[sp.csr_matrix, Int[np.ndarray, "G 3"], Int[np.ndarray, " G"]]:
    """Keep what lies above a plane; the border lies exactly on it.

    Vertices near the plane slide along a crossing edge onto it; remaining crossing edges get a new vertex.

    Args:
        height: signed distance of each vertex from the plane, metres.
    Returns:
        ((V + C), V) operator, kept faces over its rows, and the face that each came from.
    """
    vertices = len(height)
    edges = _crossings(faces, height)
    fraction = height[edges[:, 0]] / (height[edges[:, 0]] - height[edges[:, 1]])
    near = np.stack([fraction, 1 - fraction], 1)
    order = np.argsort(near.ravel().round(9), kind="stable")
    operator = sp.identity(vertices, format="lil")
    height = height.copy()
    for slot in order[near.ravel()[order] < SNAP]:
        edge, end = divmod(int(slot), 2)
        vertex = edges[edge, end]
        if height[vertex] == 0 or height[edges[edge, 1 - end]] == 0:
            continue
        operator[vertex, vertex] = 1 - near[edge, end]
        operator[vertex, edges[edge, 1 - end]] = near[edge, end]
        height[vertex] = 0.0
    edges = _crossings(faces, height)
    fraction = height[edges[:, 0]] / (height[edges[:, 0]] - height[edges[:, 1]])
    new_vertex = {(int(a), int(b)): vertices + k for k, (a, b) in enumerate(edges)}
    stacked = sp.vstack([operator.tocsr(), _interpolation(edges, fraction, vertices)]).tocsr()
    kept, source = _clip(faces, stacked @ points, height, new_vertex)
    return stacked, kept, source


def _clip(
    faces: np.ndarray, points: np.ndarray, height: np.ndarray, new_vertex: dict[tuple[int, int], int]
) -> tuple[np.ndarray, np.ndarray]:
    """Clip triangles that straddle the plane; see `cut`."""
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
