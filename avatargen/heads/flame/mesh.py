"""Build FLAME's mesh for avatars: without the vertices of its mask ``boundary``, every triangle split in four.

New vertices are midpoints of edges, so the surface stays FLAME's own. The same linear operator carries all vertex data:
shapes, correctives, skinning weights, masks and offsets.

The number of vertices depends on ``boundary`` alone. A trimmed mesh of V vertices, F triangles and b edges on its
borders has E = (3 F + b) / 2 edges and gets a vertex on each: N = V + (3 F + b) / 2. A ring of k vertices takes 2 k
triangles and 3 k edges with it, so N falls by four for each vertex that is trimmed. FLAME's 5,023 vertices and 9,976
triangles, with 60 edges around the neck, make 20,017 vertices untrimmed, 19,777 without a lowest ring of 60, and
16,177 without sixteen such rings (960). The paper's 16,227 needs a mask of about 948. `avatargen check` reports the
count of the files in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from avatargen.heads.flame.reading import FlameSource

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
class TrimmedMesh:
    """FLAME's own mesh without the vertices of ``boundary``: M vertices, G triangles.

    Attributes:
        kept: indices of FLAME's vertices that are left, increasing.
        faces: triangles, as indices into `kept`.
        uvs: texture coordinates that are left.
        face_uvs: indices into `uvs` of the corners of each triangle.
    """

    kept: Int[np.ndarray, " M"]
    faces: Int[np.ndarray, "G 3"]
    uvs: Float[np.ndarray, "S 2"]
    face_uvs: Int[np.ndarray, "G 3"]

    def refined(self) -> int:
        """Return the number of vertices after subdivision, one more for each edge."""
        return len(self.kept) + len(_edges(self.faces)[0])


@dataclass(frozen=True)
class FlameMesh:
    """The trimmed and refined mesh: N fine vertices, the first M of which are those of the trimmed mesh.

    Attributes:
        coarse: the trimmed mesh.
        operator: the (N, M) matrix from its vertices to the fine ones.
        faces, uvs, face_uvs: as in `avatargen.geometry.types.HeadTopology`; the texture coordinates of `coarse` come
            first.
        regions: masks of the fine vertices.
    """

    coarse: TrimmedMesh
    operator: sp.csr_matrix
    faces: Int[np.ndarray, "F 3"]
    uvs: Float[np.ndarray, "T 2"]
    face_uvs: Int[np.ndarray, "F 3"]
    regions: dict[str, Bool[np.ndarray, " N"]]


def build_mesh(source: FlameSource) -> FlameMesh:
    """Trim and refine FLAME's mesh."""
    coarse = trim(source)
    operator, fine = split(coarse.faces, len(coarse.kept))
    uv_operator, fine_uvs = split(coarse.face_uvs, len(coarse.uvs))
    regions = {name: _mask(source, parts, coarse.kept, operator) for name, parts in REGIONS.items()}
    regions["skin"] = ~regions["eyes"]
    return FlameMesh(coarse, operator, fine, uv_operator @ coarse.uvs, fine_uvs, regions)


def trim(source: FlameSource) -> TrimmedMesh:
    """Leave out the vertices of FLAME's mask ``boundary`` and every triangle that has one of them."""
    border = np.zeros(len(source.template), bool)
    border[source.masks["boundary"]] = True
    inside = ~border[source.faces].any(axis=1)
    kept, faces = _compact(source.faces[inside])
    used, face_uvs = _compact(source.face_uvs[inside])
    return TrimmedMesh(kept, faces, source.uvs[used], face_uvs)


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
    edges, index = _edges(faces)
    ab, bc, ca = (vertices + index).T
    a, b, c = faces.T
    fine = np.concatenate([np.stack(corners, 1) for corners in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    rows = np.repeat(np.arange(len(edges)), 2)
    middles = sp.csr_matrix((np.full(edges.size, 0.5), (rows, edges.ravel())), shape=(len(edges), vertices))
    return sp.csr_matrix(sp.vstack([sp.identity(vertices), middles])), fine


def _edges(faces: Int[np.ndarray, "F 3"]) -> tuple[Int[np.ndarray, "E 2"], Int[np.ndarray, "F 3"]]:
    """Return the edges as sorted pairs of vertices, and those of each triangle: from its corners 0, 1 and 2."""
    pairs = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1), axis=-1)
    edges, index = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    return edges, index.reshape(-1, 3)


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
