"""Flatten a disc-like surface on a rectangle without overlaps, giving chosen places more room.

Every inner vertex is a convex combination of its neighbours and the border is convex, so no triangle can flip
(Tutte 1963; Floater 1997). The weights are then adapted so that places that should be larger become larger:
Yoshizawa, Belyaev and Seidel, "A fast and simple stretch-minimizing mesh parameterization", 2004, with the
stretch of each triangle multiplied by the scale wanted there. Holes (eyes, mouth) are bridged by a virtual
vertex so that they cannot fold.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

ROUNDS = 12  # reweighting rounds; the best round is kept
DAMPING = 0.6  # exponent on the stretch when reweighting; 1 is Yoshizawa's, smaller is steadier


def open_seam(
    faces: Int[np.ndarray, "F 3"], seam: Int[np.ndarray, "E 2"]
) -> tuple[Int[np.ndarray, "F 3"], Int[np.ndarray, " T"]]:
    """Cut a mesh along edges. Returns faces over the new vertices, and the old vertex of each new one."""
    here, there = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    corner = np.arange(faces.size)
    following = np.roll(corner.reshape(-1, 3), -1, axis=1).ravel()
    size = faces.max() + 1
    key = np.minimum(here, there) * size + np.maximum(here, there)
    closed = ~np.isin(key, seam.min(axis=1) * size + seam.max(axis=1))
    order = np.argsort(key, kind="stable")
    first, second = order[:-1], order[1:]
    pair = (key[first] == key[second]) & closed[first]
    first, second = first[pair], second[pair]
    # the two triangles run along a shared edge in opposite directions
    ends = np.concatenate(
        [np.stack([corner[first], following[second]]), np.stack([following[first], corner[second]])], axis=1
    )
    graph = sp.coo_matrix((np.ones(ends.shape[1]), ends), shape=(faces.size, faces.size))
    count, label = connected_components(graph, directed=False)
    origin = np.zeros(count, int)
    origin[label] = here
    return label.reshape(-1, 3), origin


def border_loops(faces: Int[np.ndarray, "F 3"]) -> list[Int[np.ndarray, " L"]]:
    """Closed walks along the border, each with the surface on its left, longest first."""
    here, there = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    size = faces.max() + 1
    lonely = ~np.isin(here * size + there, there * size + here)
    following = dict(zip(here[lonely].tolist(), there[lonely].tolist(), strict=True))
    loops = []
    while following:
        start, vertex = next(iter(following.items()))
        walk = []
        while vertex in following:
            walk.append(vertex)
            vertex = following.pop(vertex)
        loops.append(np.array(walk))
    return sorted(loops, key=len, reverse=True)


def flatten(
    faces: Int[np.ndarray, "F 3"],
    points: Float[np.ndarray, "T 3"],
    fixed: Int[np.ndarray, " L"],
    fixed_uvs: Float[np.ndarray, "L 2"],
    scale: Float[np.ndarray, " F"],
) -> Float[np.ndarray, "T 2"]:
    """Texture coordinates of a disc with holes.

    Args:
        fixed, fixed_uvs: the outer border and its place on a convex outline.
        scale: wanted texture length per metre of each triangle, up to a common factor.
    """
    filled = _fill_holes(faces, len(points), set(fixed.tolist()))
    extended = np.concatenate([points, np.zeros((filled.max() + 1 - len(points), 3))])
    pairs = np.concatenate([filled[:, [0, 1]], filled[:, [1, 2]], filled[:, [2, 0]]])
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    weights = np.ones(len(pairs))
    best, best_energy = None, np.inf
    for _ in range(ROUNDS):
        uvs = _solve(pairs, weights, len(extended), fixed, fixed_uvs)
        stretch, energy = _stretch(faces, points, uvs[: len(points)], scale)
        if energy < best_energy:
            best, best_energy = uvs, energy
        full = np.ones(len(extended))
        full[: len(points)] = stretch
        weights = weights / full[pairs[:, 1]] ** DAMPING
    assert best is not None
    return best[: len(points)]


def _fill_holes(faces: np.ndarray, vertices: int, outer: set[int]) -> np.ndarray:
    """Add a fan around a virtual vertex to every border loop but the outer one."""
    fans = []
    for loop in border_loops(faces):
        if int(loop[0]) in outer:
            continue
        hub = np.full(len(loop), vertices + len(fans))
        fans.append(np.stack([np.roll(loop, -1), loop, hub], axis=1))
    return np.concatenate([faces, *fans])


def _solve(pairs: np.ndarray, weights: np.ndarray, size: int, fixed: np.ndarray, fixed_uvs: np.ndarray) -> np.ndarray:
    """Convex combination map: each free vertex is the weighted mean of its neighbours."""
    matrix = sp.csr_matrix((weights, pairs.T), shape=(size, size))
    matrix = sp.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix
    free = np.setdiff1d(np.arange(size), fixed)
    uvs = np.zeros((size, 2))
    uvs[fixed] = fixed_uvs
    system = (sp.identity(len(free)) - matrix[free][:, free]).tocsc()
    uvs[free] = spsolve(system, matrix[free] @ uvs)
    return uvs


def _stretch(
    faces: np.ndarray, points: np.ndarray, uvs: np.ndarray, scale: np.ndarray
) -> tuple[Float[np.ndarray, " T"], float]:
    """Scaled L2 stretch (Sander et al. 2001) around each vertex, relative to the mean, and in all."""
    (p, q, r), (a, b, c) = (points[faces].transpose(1, 0, 2), uvs[faces].transpose(1, 0, 2))
    double = (b - a)[:, 0] * (c - a)[:, 1] - (c - a)[:, 0] * (b - a)[:, 1]
    double = np.maximum(double, 1e-14)[:, None]
    along_u = (p * (b - c)[:, 1:] + q * (c - a)[:, 1:] + r * (a - b)[:, 1:]) / double
    along_v = (p * (c - b)[:, :1] + q * (a - c)[:, :1] + r * (b - a)[:, :1]) / double
    squared = ((along_u**2).sum(1) + (along_v**2).sum(1)) / 2 * scale**2
    area = np.linalg.norm(np.cross(q - p, r - p), axis=1) / 2
    total, weight = np.zeros(len(points)), np.zeros(len(points))
    for corner in faces.T:
        np.add.at(total, corner, area * squared)
        np.add.at(weight, corner, area)
    local = np.sqrt(total / np.maximum(weight, 1e-14))
    mean = np.sqrt((area * squared).sum() / area.sum())
    return local / mean, float(mean)
