"""A coarser mesh over some of a subdivided mesh's vertices, for the thousands of times that optimisation renders it.

Where a quad's eight triangles are all there, and no seam of the texture runs between them, the quad's own corners make
two triangles. Catmull-Clark has put those corners on the smooth surface, so that what is left out is a chord's height.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from avatargen.heads.subdivide import triangulate

EIGHTHS = 8


def coarsen(
    faces: Int[np.ndarray, "F 3"],
    face_uvs: Int[np.ndarray, "F 3"],
    quads: Int[np.ndarray, " F"],
    corners: Bool[np.ndarray, " N"],
    points: Float[np.ndarray, "N 3"],
) -> tuple[Int[np.ndarray, "G 3"], Int[np.ndarray, "G 3"]]:
    """Faces and texture indices of the coarser mesh, over the same vertices and texture coordinates.

    Args:
        quads: the quad that each face is a part of; parts of a whole quad follow each other, corner by corner.
        corners: which vertices were there before subdivision.
    """
    whole = np.flatnonzero(np.bincount(quads) == EIGHTHS)
    eighths = np.flatnonzero(np.isin(quads, whole))
    order = eighths[np.argsort(quads[eighths], kind="stable")].reshape(-1, EIGHTHS)
    outer = _corners(faces[order], corners)
    merged = (outer >= 0).all(axis=1) & (np.diff(order, axis=1) == 1).all(axis=1)  # what is clipped comes last
    index = np.full((len(order), 4), -1)
    for row in np.flatnonzero(merged):
        index[row] = _texture(faces[order[row]], face_uvs[order[row]], outer[row])
    merged &= (index >= 0).all(axis=1)
    coarse = triangulate(outer[merged], points)
    uvs = index[merged].repeat(2, axis=0)
    slot = (outer[merged].repeat(2, axis=0)[:, None, :] == coarse[:, :, None]).argmax(axis=2)
    left = np.setdiff1d(np.arange(len(faces)), order[merged])
    return np.concatenate([coarse, faces[left]]), np.concatenate([np.take_along_axis(uvs, slot, 1), face_uvs[left]])


def _corners(eighths: Int[np.ndarray, "Q 8 3"], corners: Bool[np.ndarray, " N"]) -> Int[np.ndarray, "Q 4"]:
    """The quad's vertex in each pair of its triangles, -1 where there is not just one, as a cut may leave it."""
    pairs = eighths.reshape(len(eighths), 4, 6)
    own = np.where(corners[pairs], pairs, -1)
    found = own.max(axis=2)
    return np.where(((own == found[..., None]) | (own < 0)).all(axis=2), found, -1)


def _texture(
    faces: Int[np.ndarray, "8 3"], face_uvs: Int[np.ndarray, "8 3"], outer: Int[np.ndarray, " 4"]
) -> Int[np.ndarray, " 4"]:
    """Texture indices of a quad's corners, all -1 where a vertex of it has several."""
    pairs = {(int(v), int(t)) for v, t in zip(faces.ravel(), face_uvs.ravel(), strict=True)}
    known = dict(pairs)
    return np.array([known[int(v)] for v in outer] if len(pairs) == len(known) else [-1] * 4)
