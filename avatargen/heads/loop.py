"""Refine triangle meshes smoothly: Loop subdivision.

Source: Loop, "Smooth Subdivision Surfaces Based on Triangles", 1987, for the masks inside; those of borders are the
cubic B-spline's, as in :mod:`avatargen.heads.subdivide`. Like the steps there, it is a linear operator, which carries
blend shapes, skinning weights and masks to the finer mesh.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

from avatargen.heads.flame.mesh import split


def loop(faces: Int[np.ndarray, "F 3"], vertices: int) -> tuple[sp.csr_matrix, Int[np.ndarray, "F4 3"]]:
    """Apply one step of Loop subdivision.

    Args:
        faces: triangles.
        vertices: number V of points that the indices refer to; unused points stay where they are.

    Returns:
        The operator from old vertices to [old vertices, edges], and the triangles, as
        :func:`avatargen.heads.flame.mesh.split` numbers and orders them.

    Example:
        >>> operator, fine = loop(np.array([[0, 1, 2]]), 3)
        >>> operator.shape, fine.shape
        ((6, 3), (4, 3))
        >>> operator @ np.array([0.0, 8.0, 0.0])  # all edges are borders: (1, 6, 1) / 8 and midpoints
        array([1., 6., 1., 4., 0., 4.])
    """
    plain, fine = split(faces, vertices)
    midpoints = sp.csr_matrix(plain[vertices:])
    count = midpoints.indices.size // 2
    a, b, c = faces.T
    ab, ca = fine[: len(faces), 1] - vertices, fine[: len(faces), 2] - vertices
    bc = fine[len(faces) : 2 * len(faces), 2] - vertices
    edge, across = np.concatenate([ab, bc, ca]), np.concatenate([c, a, b])
    opposite = sp.csr_matrix((np.full(len(edge), 1 / 8), (edge, across)), shape=(count, vertices))
    inner = np.bincount(edge, minlength=count) == 2
    keep, smooth = sp.diags((~inner).astype(float)), sp.diags(inner.astype(float))
    edges = keep @ midpoints + smooth @ (0.75 * midpoints + opposite)
    return sp.csr_matrix(sp.vstack([_vertex_points(midpoints, inner, vertices), edges])), fine


def _vertex_points(midpoints: sp.csr_matrix, inner: np.ndarray, vertices: int) -> sp.csr_matrix:
    """Return the rule for old vertices: 1 - n β and β of each of n neighbours, or (1, 6, 1) / 8 on borders."""
    ends = midpoints.indices.reshape(-1, 2)
    valence = np.bincount(ends.ravel(), minlength=vertices)
    rim = ends[~inner]
    on_border = np.bincount(rim.ravel(), minlength=vertices) > 0
    n = np.maximum(valence, 1)
    share = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / n) / 4) ** 2) * (~on_border & (valence > 0))
    weights = np.where(on_border, 1 / 4, share)
    neighbours = sp.diags((~on_border).astype(float)) @ _adjacency(ends, vertices)
    neighbours = neighbours + sp.diags(on_border.astype(float)) @ _adjacency(rim, vertices)
    degree = np.maximum(np.asarray(neighbours.sum(axis=1)).ravel(), 1)
    return sp.csr_matrix(sp.diags(1 - weights) + sp.diags(weights / degree) @ neighbours)


def _adjacency(edges: Int[np.ndarray, "E 2"], vertices: int) -> sp.csr_matrix:
    both = np.concatenate([edges, edges[:, ::-1]])
    return sp.csr_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(vertices, vertices))
