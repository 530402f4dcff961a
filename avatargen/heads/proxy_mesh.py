"""Build the proxy mesh: a mesh with a quarter of the faces of a subdivided mesh, on a subset of its vertices.

Optimisation renders the head thousands of times, and the proxy mesh keeps that cheap. One subdivision step turns a
quad into eight triangles. Where all eight are present and no texture seam runs between them, two triangles on the
quad's own corners replace them. Catmull-Clark has moved those corners onto the smooth surface, so the error is the
height of a chord.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from avatargen.heads.subdivide import triangulate

EIGHTHS = 8
"""Triangles per quad after one subdivision step."""


def build_proxy_mesh(
    faces: Int[np.ndarray, "F 3"],
    face_uvs: Int[np.ndarray, "F 3"],
    quads: Int[np.ndarray, " F"],
    corners: Bool[np.ndarray, " N"],
    points: Float[np.ndarray, "N 3"],
) -> tuple[Int[np.ndarray, "G 3"], Int[np.ndarray, "G 3"]]:
    """Return the faces of the proxy mesh and their texture indices.

    Indices refer to the vertices and texture coordinates of the subdivided mesh. Merged quads come first, then the
    faces that stay as they are, in their order.

    Args:
        faces, face_uvs: vertex and texture indices of the subdivided mesh.
        quads: the quad that each face is a part of; parts of a whole quad follow each other, corner by corner.
        corners: True for vertices that existed before subdivision.
        points: positions of the subdivided mesh's vertices, metres.
    """
    whole = np.flatnonzero(np.bincount(quads) == EIGHTHS)
    eighths = np.flatnonzero(np.isin(quads, whole))
    order = eighths[np.argsort(quads[eighths], kind="stable")].reshape(-1, EIGHTHS)
    outer = _outer_corners(faces[order], corners)
    merged = (outer >= 0).all(axis=1) & (np.diff(order, axis=1) == 1).all(axis=1)  # clipped faces come last in order
    index = np.full((len(order), 4), -1)
    for row in np.flatnonzero(merged):
        index[row] = _texture_indices(faces[order[row]], face_uvs[order[row]], outer[row])
    merged &= (index >= 0).all(axis=1)
    coarse = triangulate(outer[merged], points)
    uvs = index[merged].repeat(2, axis=0)
    slot = (outer[merged].repeat(2, axis=0)[:, None, :] == coarse[:, :, None]).argmax(axis=2)
    left = np.setdiff1d(np.arange(len(faces)), order[merged])
    return np.concatenate([coarse, faces[left]]), np.concatenate([np.take_along_axis(uvs, slot, 1), face_uvs[left]])


def _outer_corners(eighths: Int[np.ndarray, "Q 8 3"], corners: Bool[np.ndarray, " N"]) -> Int[np.ndarray, "Q 4"]:
    """Return the quad's own vertex in each pair of its triangles; -1 where a cut has left none or several."""
    pairs = eighths.reshape(len(eighths), 4, 6)
    own = np.where(corners[pairs], pairs, -1)
    found = own.max(axis=2)
    return np.where(((own == found[..., None]) | (own < 0)).all(axis=2), found, -1)


def _texture_indices(
    faces: Int[np.ndarray, "8 3"], face_uvs: Int[np.ndarray, "8 3"], outer: Int[np.ndarray, " 4"]
) -> Int[np.ndarray, " 4"]:
    """Return the texture indices of a quad's corners; all -1 where one of its vertices has several (a seam)."""
    pairs = {(int(v), int(t)) for v, t in zip(faces.ravel(), face_uvs.ravel(), strict=True)}
    known = dict(pairs)
    return np.array([known[int(v)] for v in outer] if len(pairs) == len(known) else [-1] * 4)
