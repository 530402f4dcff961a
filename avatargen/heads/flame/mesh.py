"""Build FLAME's mesh for avatars: without the lowest ring of the neck, and with every triangle split in four.

New vertices are midpoints of edges, so the surface stays FLAME's own; offsets add detail. The same linear operator
carries all vertex data: shapes, correctives, skinning weights and masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from avatargen.heads.flame.files import FlameSource

REGIONS = {
    "eyes": ("left_eyeball", "right_eyeball"),
    "ears": ("left_ear", "right_ear"),
    "eyelids": ("left_eye_region", "right_eye_region"),
    "face": ("face",),
    "forehead": ("forehead",),
    "lips": ("lips",),
    "neck": ("neck",),
    "nose": ("nose",),
    "scalp": ("scalp",),
}
"""FLAME's masks that make up each of our regions."""


@dataclass(frozen=True)
class FlameMesh:
    """The trimmed and refined mesh: N fine vertices made of M of FLAME's.

    Attributes:
        kept: indices of the vertices of FLAME that are left, increasing.
        operator: the (N, M) matrix from those to the fine vertices.
        faces, uvs, face_uvs: as in `avatargen.geometry.types.HeadTopology`.
        regions: masks of the fine vertices.
    """

    kept: Int[np.ndarray, " M"]
    operator: sp.csr_matrix
    faces: Int[np.ndarray, "F 3"]
    uvs: Float[np.ndarray, "T 2"]
    face_uvs: Int[np.ndarray, "F 3"]
    regions: dict[str, Bool[np.ndarray, " N"]]


def build_mesh(source: FlameSource) -> FlameMesh:
    """Trim and refine FLAME's mesh."""
    border = np.zeros(len(source.template), bool)
    border[source.masks["boundary"]] = True
    inside = ~border[source.faces].any(axis=1)
    kept, faces = _compact(source.faces[inside])
    used, face_uvs = _compact(source.face_uvs[inside])
    operator, fine = split(faces, len(kept))
    uv_operator, fine_uvs = split(face_uvs, len(used))
    regions = {name: _mask(source, parts, kept, operator) for name, parts in REGIONS.items()}
    regions["skin"] = ~regions["eyes"]
    return FlameMesh(kept, operator, fine, uv_operator @ source.uvs[used], fine_uvs, regions)


def split(faces: Int[np.ndarray, "F 3"], vertices: int) -> tuple[sp.csr_matrix, Int[np.ndarray, "F4 3"]]:
    """Split triangles in four at the midpoints of their edges.

    Args:
        faces: triangles.
        vertices: number of points that the indices refer to.

    Returns:
        The operator from old vertices to [old vertices, midpoints], and the triangles: those at the first corners, at
        the second, at the third, and the inner ones, each in the order and with the winding of `faces`.

    Example:
        >>> operator, fine = split(np.array([[0, 1, 2]]), 3)
        >>> operator.shape, fine.tolist()
        ((6, 3), [[0, 3, 4], [3, 1, 5], [4, 5, 2], [3, 5, 4]])
    """
    pairs = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1), axis=-1)
    edges, index = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    ab, bc, ca = (vertices + index.reshape(-1, 3)).T
    a, b, c = faces.T
    fine = np.concatenate([np.stack(corners, 1) for corners in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    rows = np.repeat(np.arange(len(edges)), 2)
    middles = sp.csr_matrix((np.full(edges.size, 0.5), (rows, edges.ravel())), shape=(len(edges), vertices))
    return sp.csr_matrix(sp.vstack([sp.identity(vertices), middles])), fine


def _compact(faces: Int[np.ndarray, "F 3"]) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, "F 3"]]:
    """Return the vertices that faces use, and the faces as indices into these."""
    used, index = np.unique(faces, return_inverse=True)
    return used, index.reshape(faces.shape)


def _mask(source: FlameSource, parts: tuple[str, ...], kept: np.ndarray, operator: sp.csr_matrix) -> np.ndarray:
    """Return the fine vertices of some of FLAME's masks; a midpoint belongs to a region if both ends do."""
    mask = np.zeros(len(source.template))
    for part in parts:
        mask[source.masks.get(part, [])] = 1
    return operator @ mask[kept] > 0.5
