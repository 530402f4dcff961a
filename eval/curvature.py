"""Compute the discrete curvatures of triangle meshes.

Mean curvature comes from the cotangent Laplacian, Gaussian curvature from the angle deficit, both divided by the mixed
Voronoi area of the vertex: Meyer, Desbrun, Schröder and Barr, "Discrete Differential-Geometry Operators for
Triangulated 2-Manifolds", 2003, eqs. 7 to 9 and figure 4. Neither is defined on a border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

LEAST = 1.0e-12
"""Least area of a triangle, as a fraction of its longest edge squared: cotangents of slivers stay finite."""


@dataclass(frozen=True)
class Curvatures:
    """Curvatures at the vertices of a mesh; NaN on borders and at vertices without faces.

    Attributes:
        mean: mean of the two principal curvatures, in 1 / unit; positive where the surface is convex seen from outside.
        gaussian: product of the two, in 1 / unit².
        areas: mixed Voronoi area of each vertex, in unit²; they sum to the area of the mesh.
    """

    mean: Float[np.ndarray, " N"]
    gaussian: Float[np.ndarray, " N"]
    areas: Float[np.ndarray, " N"]


def curvatures(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Curvatures:
    """Return the mean and the Gaussian curvature of a mesh.

    Args:
        vertices: any unit.
        faces: vertex indices of each triangle, counter-clockwise seen from outside.

    Example:
        >>> octahedron = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
        >>> upper = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4]]
        >>> found = curvatures(octahedron, np.array(upper + [[b, a, 5] for a, b, _ in upper]))
        >>> bool(np.isclose((found.gaussian * found.areas).sum(), 4 * np.pi))  # Gauss and Bonnet
        True
    """
    areas, border = mixed_areas(vertices, faces), border_vertices(faces, len(vertices))
    areas_or_nan = np.where((areas > 0) & ~border, areas, np.nan)
    normals = (cotangent_laplacian(vertices, faces) @ vertices) / areas_or_nan[:, None]  # Meyer's K, eq. 8
    outwards = np.sign((normals * vertex_normals(vertices, faces)).sum(axis=1))
    mean = outwards * np.linalg.norm(normals, axis=1) / 2
    return Curvatures(mean, angle_deficits(vertices, faces) / areas_or_nan, areas)


def cotangent_laplacian(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> sp.csr_matrix:
    """Return the symmetric matrix of (cot α + cot β) / 2 over edges, positive semidefinite; its rows sum to 0.

    Divided by the vertices' areas it is minus the Laplacian. Borders have no condition of their own: what diffuses does
    not flow out.

    Example:
        >>> corners = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> cotangent_laplacian(corners, np.array([[0, 1, 2]])).toarray().tolist()
        [[1.0, -0.5, -0.5], [-0.5, 0.5, 0.0], [-0.5, 0.0, 0.5]]
    """
    cotangents = _cotangents(vertices, faces)
    ends, others = np.roll(faces, -1, axis=1), np.roll(faces, -2, axis=1)
    count = len(vertices)
    entries = (cotangents.ravel() / 2, (ends.ravel(), others.ravel()))  # the edge opposite to each corner
    half = sp.coo_matrix(entries, shape=(count, count))
    edges = sp.csr_matrix(half + half.T)
    return sp.csr_matrix(sp.diags(np.asarray(edges.sum(axis=1)).ravel()) - edges)


def mixed_areas(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, " N"]:
    """Return the part of the surface around each vertex: its Voronoi cell, or in obtuse triangles, a half or a quarter.

    Meyer et al., figure 4. The parts tile the surface.

    Example:
        >>> corners = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [1.0, 1.0, 0.0]])  # obtuse at the last
        >>> mixed_areas(corners, np.array([[0, 1, 2]])).tolist()
        [0.5, 0.5, 1.0]
    """
    cotangents, whole = _cotangents(vertices, faces), face_areas(vertices, faces)
    opposite = np.roll(vertices[faces], -1, axis=1) - np.roll(vertices[faces], -2, axis=1)
    terms = (opposite**2).sum(axis=2) * cotangents / 8  # of the edge opposite to each corner, for either of its ends
    voronoi = np.roll(terms, -1, axis=1) + np.roll(terms, -2, axis=1)
    obtuse = cotangents < 0
    shares = np.where(obtuse, 0.5, 0.25) * whole[:, None]
    parts = np.where(np.any(obtuse, axis=1, keepdims=True), shares, voronoi)
    return np.bincount(faces.ravel(), parts.ravel(), len(vertices))


def angle_deficits(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, " N"]:
    """Return what the angles around each vertex lack of 2π, or of π on a border; 0 at vertices without faces.

    They sum to 2π times the Euler characteristic, for open meshes too (Gauss and Bonnet).

    Example:
        >>> corners = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> (angle_deficits(corners, np.array([[0, 1, 2]])) / np.pi).round(2).tolist()  # a disk
        [0.5, 0.75, 0.75]
    """
    sines, cosines = _sines_and_cosines(vertices, faces)
    angles = np.bincount(faces.ravel(), np.arctan2(sines, cosines).ravel(), len(vertices))
    whole = np.where(border_vertices(faces, len(vertices)), np.pi, 2 * np.pi)
    return np.where(np.bincount(faces.ravel(), minlength=len(vertices)) > 0, whole - angles, 0.0)


def border_vertices(faces: Int[np.ndarray, "F 3"], count: int) -> Bool[np.ndarray, " N"]:
    """Return the vertices on edges that belong to one face alone.

    Args:
        faces: triangles.
        count: number of vertices, N.

    Example:
        >>> border_vertices(np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]), 5).tolist()
        [True, True, True, True, False]
    """
    edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    keys, times = np.unique(edges[:, 0].astype(np.int64) * count + edges[:, 1], return_counts=True)
    alone = keys[times == 1]
    border = np.zeros(count, dtype=bool)
    border[np.concatenate([alone // count, alone % count])] = True
    return border


def face_areas(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, " F"]:
    """Return the area of each face, in the vertices' unit squared."""
    return np.linalg.norm(_crosses(vertices, faces), axis=1) / 2


def face_normals(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "F 3"]:
    """Return the unit normal of each face; zero for a face without area.

    Example:
        >>> corners = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> face_normals(corners, np.array([[0, 1, 2]])).tolist()
        [[0.0, 0.0, 1.0]]
    """
    return _unit(_crosses(vertices, faces))


def vertex_normals(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "N 3"]:
    """Return unit vertex normals, the mean of the faces' normals weighted by area; zero at vertices without faces.

    As renderers shade (:mod:`avatargen.render.normals`), in float64.
    """
    crosses, summed = _crosses(vertices, faces), np.zeros_like(vertices)
    for corner in faces.T:
        np.add.at(summed, corner, crosses)
    return _unit(summed)


def _crosses(vertices: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, "F 3"]:
    a, b, c = vertices[faces].swapaxes(0, 1)
    return np.cross(b - a, c - a)


def _unit(vectors: np.ndarray) -> Float[np.ndarray, "N 3"]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def _sines_and_cosines(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sine and cosine of the angle at each corner, both times the lengths of the two edges that meet there."""
    corners = vertices[faces]
    one, other = (np.roll(corners, -shift, axis=1) - corners for shift in (1, 2))
    return np.linalg.norm(np.cross(one, other), axis=2), (one * other).sum(axis=2)


def _cotangents(vertices: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, "F 3"]:
    sines, cosines = _sines_and_cosines(vertices, faces)
    corners = vertices[faces]
    longest = ((np.roll(corners, -1, axis=1) - corners) ** 2).sum(axis=2).max(axis=1)
    return cosines / np.maximum(sines, np.maximum(LEAST * longest, np.finfo(float).tiny)[:, None])
