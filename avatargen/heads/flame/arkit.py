"""Facial actions of FLAME by their ARKit names.

FLAME's expression components are principal components, which have no names. ARKit's 52 names become poses of FLAME in
two ways:

- Eleven are rotations of a joint and need no data: ``jawOpen``, ``jawLeft``, ``jawRight`` and the eight ``eyeLook…``
  (see `rotations`).
- The others need expression coefficients, which somebody must fit. None ship here. A file ``arkit.npz`` or
  ``arkit.json`` beside the model gives them, for some of the names or for all; it also replaces rotations.

An npz holds ``names`` (K strings) and, each optional, ``expression`` (K, up to 100), ``jaw`` (K, 3) and ``eyes``
(K, 6; left, right): coefficients in standard deviations and axis-angle rotations in radians, at full strength. A JSON
file holds ``{"mouthSmileLeft": {"expression": […], "jaw": [x, y, z], "eyes": […]}}``. Names are required because the
public matrices do not store them and order them differently; docs/flame.md converts two of these.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from avatargen.config.errors import InputError, unknown

_SIDED = {
    "brow": ("Down", "OuterUp"),
    "cheek": ("Squint",),
    "eye": ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide"),
    "jaw": ("",),
    "mouth": ("", "Dimple", "Frown", "LowerDown", "Press", "Smile", "Stretch", "UpperUp"),
    "nose": ("Sneer",),
}
_SINGLE = {
    "brow": ("InnerUp",),
    "cheek": ("Puff",),
    "jaw": ("Forward", "Open"),
    "mouth": ("Close", "Funnel", "Pucker", "RollLower", "RollUpper", "ShrugLower", "ShrugUpper"),
    "tongue": ("Out",),
}
NAMES = tuple(
    sorted(
        [part + name for part, names in _SINGLE.items() for name in names]
        + [part + name + side for part, names in _SIDED.items() for name in names for side in ("Left", "Right")]
    )
)
"""ARKit's 52 names (Apple, `ARFaceAnchor.BlendShapeLocation`); left and right are the person's."""
JAW_OPEN, JAW_ASIDE, LOOK = 25.0, 10.0, 30.0
"""Degrees at full strength. ARKit states none; these are ours: a wide-open mouth, and the usual reach of a gaze."""
_PARTS = {"jaw": 3, "eyes": 6}
JAW, EYE_LEFT, EYE_RIGHT = 1, 2, 3
"""Indices of the joints: neck, jaw, left and right eye."""


@dataclass(frozen=True)
class Pose:
    """A facial action at full strength.

    Attributes:
        expression: coefficients, standard deviations.
        joints: rotations of neck, jaw, left and right eye, axis-angle, radians.
    """

    expression: Float[np.ndarray, " E"]
    joints: Float[np.ndarray, "4 3"]


Actions = dict[str, Pose]


def rotations(components: int) -> Actions:
    """Return the actions that are rotations of a joint.

    FLAME's y points up and its face along +z, so +x is the person's left: about +x a jaw opens and a gaze falls, about
    +y both turn to the person's left.

    Args:
        components: number of expression components.

    Example:
        >>> rotations(100)["jawOpen"].joints.round(3).tolist()
        [[0.0, 0.0, 0.0], [0.436, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    turns = {"jawOpen": (JAW, 0, JAW_OPEN), "jawLeft": (JAW, 1, JAW_ASIDE), "jawRight": (JAW, 1, -JAW_ASIDE)}
    for side, joint, out in (("Left", EYE_LEFT, LOOK), ("Right", EYE_RIGHT, -LOOK)):
        turns[f"eyeLookUp{side}"] = (joint, 0, -LOOK)
        turns[f"eyeLookDown{side}"] = (joint, 0, LOOK)
        turns[f"eyeLookOut{side}"] = (joint, 1, out)
        turns[f"eyeLookIn{side}"] = (joint, 1, -out)
    actions = {}
    for name, (joint, axis, degrees) in sorted(turns.items()):
        joints = np.zeros((4, 3))
        joints[joint, axis] = np.radians(degrees)
        actions[name] = Pose(np.zeros(components), joints)
    return actions


def read_actions(path: Path, components: int) -> Actions:
    """Read and check a file of facial actions; see the module.

    Args:
        path: of the npz or JSON file.
        components: number of expression components.

    Raises:
        InputError: the file cannot be read, or names or numbers are wrong; all problems at once.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _npz_rows(path)
    lines = [unknown("facial action", name, NAMES, str(path)) for name in rows if name not in NAMES]
    actions: Actions = {}
    for name, parts in rows.items():
        faults = _faults(parts, components)
        lines += [f"{path}: {name}: {fault}" for fault in faults]
        if not faults:
            actions[name] = _pose(parts, components)
    if not rows:
        lines.append(f"{path}: got no facial action; expected some of ARKit's 52")
    if lines:
        raise InputError(lines)
    return actions


def _faults(parts: Mapping[str, Any], components: int) -> list[str]:
    """Return what is wrong with the numbers of one action."""
    faults = [
        f"unknown '{part}'; expected expression, jaw or eyes" for part in parts if part not in ("expression", *_PARTS)
    ]
    for part, values in parts.items():
        try:
            array = np.asarray(values, float)
        except (TypeError, ValueError):
            faults.append(f"{part}: got {values!r:.40}; expected numbers")
            continue
        size = _PARTS.get(part)
        fits = array.ndim == 1 and (len(array) == size if size else len(array) <= components)
        if not fits or not np.isfinite(array).all():
            wanted = str(size) if size else f"at most {components}"
            shape = " x ".join(map(str, array.shape)) or "1 number"
            faults.append(f"{part}: got {shape}; expected {wanted} finite numbers")
    return faults


def _pose(parts: Mapping[str, Any], components: int) -> Pose:
    """Return the pose of one action whose numbers are right."""
    expression = np.zeros(components)
    given = np.asarray(parts.get("expression", ()), float)
    expression[: len(given)] = given
    joints = np.zeros((4, 3))
    joints[JAW] = parts.get("jaw", 0.0)
    joints[EYE_LEFT : EYE_RIGHT + 1] = np.reshape(np.asarray(parts.get("eyes", np.zeros(6)), float), (2, 3))
    return Pose(expression, joints)


def _json_rows(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the parts of each action of a JSON file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError([f"{path}: cannot be read ({error}); expected JSON"]) from error
    if not isinstance(found, dict) or not all(isinstance(parts, dict) for parts in found.values()):
        raise InputError([f'{path}: got another structure; expected {{"jawOpen": {{"jaw": [0.4, 0, 0]}}, …}}'])
    return found


def _npz_rows(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the parts of each action of an npz."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError([f"{path}: cannot be read ({error}); expected an npz of plain arrays"]) from error
    names = [str(name) for name in np.ravel(arrays.pop("names", ()))]
    lines = [f"{path}: names: duplicate '{name}'" for name in dict.fromkeys(names) if names.count(name) > 1]
    lines += [
        f"{path}: {part}: got {' x '.join(map(str, array.shape))}; expected a row for each of {len(names)} names"
        for part, array in arrays.items()
        if array.ndim != 2 or len(array) != len(names)
    ]
    if lines:
        raise InputError(lines)
    return {name: {part: array[row] for part, array in arrays.items()} for row, name in enumerate(names)}
