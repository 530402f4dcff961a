"""Flatten a disc-like surface onto a rectangle without overlaps, with more room where it is wanted.

Start: every inner vertex is the mean of its neighbours and the border is convex, so no triangle can flip (Tutte, "How
to draw a graph", 1963). Then SLIM (Rabinovich et al., "Scalable locally injective mappings", 2017) minimises the
symmetric Dirichlet energy (s² + s⁻² over the singular values of the map from each triangle at its wanted size) by
repeated weighted least squares, each step cut short of the first flip. The border slides along the rectangle's sides
and its corners stay, so that the map remains one to one. Fans fill the holes (eyes, mouth) while flattening, so that
they cannot fold.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

ROUNDS = 12
"""Rounds of least squares; the energy has settled after nine."""


def open_seam(
    faces: Int[np.ndarray, "F 3"], seam: Int[np.ndarray, "E 2"]
) -> tuple[Int[np.ndarray, "F 3"], Int[np.ndarray, " T"]]:
    """Cut a mesh along edges.

    Args:
        faces: triangles.
        seam: the edges, in either direction.

    Returns:
        Faces over the new vertices, and the old vertex of each new one.

    Example:
        >>> faces, origin = open_seam(np.array([[0, 1, 2], [2, 1, 3]]), seam=np.array([[1, 2]]))
        >>> len(origin)  # both ends of the seam are doubled
        6
    """
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
    # two triangles traverse their shared edge in opposite directions
    ends = np.concatenate(
        [np.stack([corner[first], following[second]]), np.stack([following[first], corner[second]])], axis=1
    )
    graph = sp.coo_matrix((np.ones(ends.shape[1]), ends), shape=(faces.size, faces.size))
    count, label = connected_components(graph, directed=False)
    origin = np.zeros(count, int)
    origin[label] = here
    return label.reshape(-1, 3), origin


def border_loops(faces: Int[np.ndarray, "F 3"]) -> list[Int[np.ndarray, " L"]]:
    """Return closed walks along the border, each with the surface on its left, longest first.

    Example:
        >>> border_loops(np.array([[0, 1, 2], [2, 1, 3]]))
        [array([0, 1, 3, 2])]
    """
    here, there = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    size = faces.max() + 1
    lonely = ~np.isin(here * size + there, there * size + here)
    following = dict(zip(here[lonely].tolist(), there[lonely].tolist(), strict=True))
    loops = []
    while following:
        vertex = next(iter(following))
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
    scale: Float[np.ndarray, " T"],
) -> Float[np.ndarray, "T 2"]:
    """Return texture coordinates of a disc with at least one hole.

    Args:
        faces: triangles.
        points: vertices, metres.
        fixed, fixed_uvs: the outer border, and where it starts on the outline of an axis-aligned rectangle.
        scale: wanted texture length per metre at each vertex, up to a common factor.
    """
    filled, extended, scale = _fill_holes(faces, points, scale, set(fixed.tolist()))
    pairs = np.concatenate([filled[:, [0, 1]], filled[:, [1, 2]], filled[:, [2, 0]]])
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    uvs = _tutte(pairs, len(extended), fixed, fixed_uvs)
    low, high = fixed_uvs.min(axis=0), fixed_uvs.max(axis=0)
    on_side = (np.abs(fixed_uvs - low) < 1e-9) | (np.abs(fixed_uvs - high) < 1e-9)
    held = np.zeros((len(extended), 2), bool)
    held[fixed] = on_side
    # the outline may have no vertex exactly on a corner: hold the nearest one
    for corner in ((low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])):
        held[fixed[np.linalg.norm(fixed_uvs - corner, axis=1).argmin()]] = True
    gradients, areas = _rest_gradients(filled, extended, scale, float(np.prod(high - low)))
    for _ in range(ROUNDS):
        uvs = _improve(filled, uvs, gradients, areas, held)
    return uvs[: len(points)]


def _fill_holes(
    faces: np.ndarray, points: np.ndarray, scale: np.ndarray, outer: set[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill every border loop but the outer one with a fan around a hub; return faces, points and scale."""
    fans, hubs, sizes = [], [], []
    for loop in border_loops(faces):
        if int(loop[0]) in outer:
            continue
        hub = np.full(len(loop), len(points) + len(hubs))
        fans.append(np.stack([np.roll(loop, -1), loop, hub], axis=1))
        hubs.append(points[loop].mean(axis=0))
        sizes.append(scale[loop].mean())
    return np.concatenate([faces, *fans]), np.concatenate([points, hubs]), np.concatenate([scale, sizes])


def _tutte(pairs: np.ndarray, size: int, fixed: np.ndarray, fixed_uvs: np.ndarray) -> np.ndarray:
    """Place each free vertex at the mean of its neighbours."""
    matrix = sp.csr_matrix((np.ones(len(pairs)), pairs.T), shape=(size, size))
    matrix = sp.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix
    free = np.setdiff1d(np.arange(size), fixed)
    uvs = np.zeros((size, 2))
    uvs[fixed] = fixed_uvs
    system = (sp.identity(len(free)) - matrix[free][:, free]).tocsc()
    uvs[free] = np.asarray(spsolve(system, matrix[free] @ uvs))
    return uvs


def _rest_gradients(
    faces: np.ndarray, points: np.ndarray, scale: np.ndarray, room: float
) -> tuple[Float[np.ndarray, "F 2 3"], Float[np.ndarray, " F"]]:
    """Return gradient operators and areas of flat copies of the triangles, scaled to a total area of `room`."""
    p, q, r = points[faces].transpose(1, 0, 2)
    along = np.linalg.norm(q - p, axis=1)
    unit = (q - p) / along[:, None]
    x = ((r - p) * unit).sum(axis=1)
    y = np.linalg.norm((r - p) - x[:, None] * unit, axis=1)
    size = scale[faces].mean(axis=1)
    size = size * np.sqrt(room / (along * y / 2 * size**2).sum())
    along, x, y = along * size, x * size, y * size
    zero = np.zeros_like(x)
    by_x = np.stack([-1 / along, 1 / along, zero], axis=1)
    by_y = np.stack([x / along - 1, -x / along, np.ones_like(x)], axis=1) / y[:, None]
    return np.stack([by_x, by_y], axis=1), along * y / 2


def _jacobians(faces: np.ndarray, uvs: np.ndarray, gradients: np.ndarray) -> Float[np.ndarray, "F 2 2"]:
    """Return the derivatives of (u, v) (rows) by the rest coordinates (columns)."""
    return np.einsum("fdk,fkc->fcd", gradients, uvs[faces])


def _energy(jacobians: np.ndarray, areas: np.ndarray) -> float:
    """Return the symmetric Dirichlet energy; infinite if a triangle has flipped."""
    determinant = np.linalg.det(jacobians)
    if (determinant <= 0).any():
        return float("inf")
    squared = (jacobians**2).sum(axis=(1, 2))
    return float((areas * (squared + squared / determinant**2)).sum())


def _least_squares(
    faces: np.ndarray,
    uvs: np.ndarray,
    gradients: np.ndarray,
    weight: np.ndarray,
    target: np.ndarray,
    held: Bool[np.ndarray, "T 2"],
) -> Float[np.ndarray, "T 2"]:
    """Return the displacement that brings weight times Jacobian closest to the target; zero where held."""
    count, size = len(faces), len(uvs)
    values = np.einsum("fic,fdk->fidck", weight, gradients)
    rows = np.arange(count * 4).reshape(count, 2, 2, 1, 1)  # face, row of the product, rest axis
    columns = faces[:, None, None, None, :] + np.array([0, size]).reshape(1, 1, 1, 2, 1)
    index = [np.broadcast_to(part, values.shape).ravel() for part in (rows, columns)]
    matrix = sp.csr_matrix((values.ravel(), index), shape=(count * 4, 2 * size))
    free = np.flatnonzero(~held.T.ravel())
    residual = target.ravel() - matrix @ uvs.T.ravel()
    part = matrix[:, free]
    normal = (part.T @ part + 1e-10 * sp.identity(len(free))).tocsc()
    step = np.zeros(2 * size)
    step[free] = np.asarray(spsolve(normal, part.T @ residual, permc_spec="MMD_AT_PLUS_A"))
    return step.reshape(2, size).T


def _improve(
    faces: np.ndarray,
    uvs: np.ndarray,
    gradients: np.ndarray,
    areas: np.ndarray,
    held: Bool[np.ndarray, "T 2"],
) -> np.ndarray:
    """Run one round of SLIM: weighted least squares towards the nearest rotations, then a step that flips nothing."""
    jacobians = _jacobians(faces, uvs, gradients)
    left, sigma, right = np.linalg.svd(jacobians)
    isometric = np.abs(sigma - 1) < 1e-6
    stiff = np.sqrt(np.where(isometric, 4.0, (sigma - sigma**-3) / np.where(isometric, 1.0, sigma - 1)))
    weight = np.einsum("fik,fk,fjk->fij", left, stiff, left) * np.sqrt(areas)[:, None, None]
    direction = _least_squares(faces, uvs, gradients, weight, weight @ (left @ right), held)
    start, length = _energy(jacobians, areas), min(1.0, 0.9 * _first_flip(faces, uvs, direction))
    while length > 1e-8:
        moved = uvs + length * direction
        if _energy(_jacobians(faces, moved, gradients), areas) < start:
            return moved
        length /= 2
    return uvs


def _first_flip(faces: np.ndarray, uvs: np.ndarray, direction: np.ndarray) -> float:
    """Return the largest step along the direction before a triangle's area reaches zero."""

    def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]

    (p, q, r), (dp, dq, dr) = uvs[faces].transpose(1, 0, 2), direction[faces].transpose(1, 0, 2)
    c = cross(q - p, r - p)
    b = cross(dq - dp, r - p) + cross(q - p, dr - dp)
    a = cross(dq - dp, dr - dp)
    root = np.sqrt(np.maximum(b * b - 4 * a * c, 0))
    # the smaller positive root of a t² + b t + c, in the form that does not cancel
    lower = -b - np.copysign(root, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = np.stack([lower / (2 * a), 2 * c / lower])
    roots = np.where((roots > 0) & (b * b - 4 * a * c >= 0), roots, np.inf)
    return float(np.nanmin(roots))
