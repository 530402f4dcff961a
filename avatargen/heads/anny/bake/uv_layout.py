"""Lay out the texture of the Anny head: one large chart for the skin, and a strip of small charts for inner parts.

The skin opens along the back of the head, from the neck to behind the crown, and fills a rectangle; u grows towards the
subject's left (+x), v upwards, and the face gets most of the room (`uv_flatten`). Eyeballs, teeth, tongue, the inside
of the mouth and the eye sockets keep MakeHuman's own islands, packed below the skin. A gutter separates the rectangles,
so that no colour bleeds at a resolution of 128 x 128.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from avatargen.heads.anny.bake.uv_flatten import border_loops, flatten, open_seam

Box = tuple[float, float, float, float]
"""Left, bottom, right and top of a chart, in texture coordinates."""
GUTTER = 3 / 128
"""Least distance between charts, in texture coordinates."""
SKIN_BOX: Box = (GUTTER / 2, 0.175, 1 - GUTTER / 2, 1 - GUTTER / 2)
BOXES: dict[str, Box] = {
    "eye_right_front": (0.012, 0.012, 0.148, 0.148),
    "eye_left_front": (0.172, 0.012, 0.308, 0.148),
    "mouth": (0.332, 0.012, 0.512, 0.148),
    "tongue": (0.536, 0.012, 0.596, 0.148),
    "teeth_upper": (0.620, 0.092, 0.820, 0.148),
    "teeth_lower": (0.620, 0.012, 0.820, 0.068),
    "cavity_right": (0.844, 0.092, 0.900, 0.148),
    "cavity_left": (0.844, 0.012, 0.900, 0.068),
    "eye_right_back": (0.924, 0.092, 0.980, 0.148),
    "eye_left_back": (0.924, 0.012, 0.980, 0.068),
}
"""Boxes of the small charts; the fronts of the eyes get the most room."""


def back_seam(faces: Int[np.ndarray, "F 3"], points: Float[np.ndarray, "N 3"], crown: float) -> Int[np.ndarray, "E 2"]:
    """Return the edges on the midline behind z = `crown`, metres."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(pairs, axis=1), axis=0)
    middle = (np.abs(points[edges][..., 0]) < 1e-7).all(axis=1)
    return edges[middle & (points[edges][..., 2] < crown).all(axis=1)]


def layout(
    faces: Int[np.ndarray, "F 3"],
    points: Float[np.ndarray, "N 3"],
    charts: np.ndarray,
    corner_uvs: Float[np.ndarray, "F 3 2"],
    scale: Float[np.ndarray, " N"],
    crown: float,
) -> tuple[Float[np.ndarray, "T 2"], Int[np.ndarray, "F 3"]]:
    """Return texture coordinates, and the indices into them of each triangle's corners.

    Args:
        faces: triangles.
        points: template vertices, metres.
        charts: name of each triangle's surface: skin, or a key of `BOXES`.
        corner_uvs: MakeHuman's texture coordinates, for the small charts.
        scale: wanted texture length per metre at each vertex of the skin, up to a common factor.
        crown: z behind which the midline is opened, metres.

    Raises:
        ValueError: a chart is neither the skin nor in `BOXES`.
    """
    unknown = set(np.unique(charts)) - set(BOXES) - {"skin"}
    if unknown:
        raise ValueError(f"texture layout: got charts {', '.join(sorted(unknown))}; expected skin, {', '.join(BOXES)}")
    face_uvs = np.zeros_like(faces)
    skin = charts == "skin"
    uvs, face_uvs[skin] = _skin(faces[skin], points, scale, crown)
    pieces = [uvs]
    for name, box in BOXES.items():
        members = charts == name
        corners = corner_uvs[members].reshape(-1, 2)
        unique, index = np.unique(corners.round(9), axis=0, return_inverse=True)
        face_uvs[members] = sum(map(len, pieces)) + index.reshape(-1, 3)
        pieces.append(_fit(unique, box))
    return np.concatenate(pieces), face_uvs


def _fit(uvs: np.ndarray, box: Box) -> np.ndarray:
    """Move and scale an island to fill its box."""
    low, high = np.array(box[:2]), np.array(box[2:])
    return low + (uvs - uvs.min(axis=0)) / np.ptp(uvs, axis=0) * (high - low)


def _skin(
    faces: np.ndarray, points: np.ndarray, scale: np.ndarray, crown: float
) -> tuple[Float[np.ndarray, "T 2"], Int[np.ndarray, "F 3"]]:
    """Return texture coordinates and indices of the skin's chart, in `SKIN_BOX`."""
    opened, origin = open_seam(faces, back_seam(faces, points, crown))
    loop = border_loops(opened)[0]
    places = points[origin]
    loop, outline = _outline(loop, places, origin)
    width, height = SKIN_BOX[2] - SKIN_BOX[0], SKIN_BOX[3] - SKIN_BOX[1]
    outline = outline * [width, height]
    uvs = flatten(opened, places, loop, outline, scale[origin])
    return uvs + SKIN_BOX[:2], opened


def _outline(loop: np.ndarray, places: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start the border at the bottom left and distribute it along the unit square's outline.

    The neck takes the bottom, each side of the seam one side and half the top, the crown the middle of the top.
    """
    values, counts = np.unique(origin[loop], return_counts=True)
    nape = min(values[counts == 2], key=lambda vertex: places[np.flatnonzero(origin == vertex)[0], 1])
    first, second = np.flatnonzero(origin[loop] == nape)
    rotated = np.roll(loop, -first)
    ahead = second - first
    if places[rotated[1 : max(ahead, 2)], 0].std() < 1e-7:  # on the midline: this stretch is the seam, not the neck
        rotated = np.roll(loop, -second)
        ahead = len(loop) - ahead
    steps = np.linalg.norm(np.diff(places[np.append(rotated, rotated[0])], axis=0), axis=1)
    neck = np.concatenate([[0], np.cumsum(steps[:ahead])])
    seam = np.concatenate([[0], np.cumsum(steps[ahead:])])[:-1]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float)
    around = 1 + 3 * seam / steps[ahead:].sum()
    length = np.concatenate([neck[:-1] / neck[-1], around])
    at = np.array([np.interp(length, np.arange(5), corners[:, k]) for k in range(2)]).T
    return rotated, at
