"""Poses that an avatar is articulated through, by names that head models share.

Twelve movements of the face span it, as ARKit divides it (Apple, `ARFaceAnchor.BlendShapeLocation`; 52 names, of which
these use 18: a name with two sides is moved on both). Each part of the face has its movements in opposite directions,
or the two that differ most:

brows   browDown, browInnerUp
lids    eyeBlink, eyeWide
nose    noseSneer, which lifts wings and upper lip
cheeks  cheekPuff
mouth   mouthSmile and mouthFrown move the corners, mouthPucker the rims, mouthLeft all of it sideways
jaw     jawOpen, jawLeft

They move nine tenths of the surface that any of the 52 moves by more than 5 mm. Left out are their mirrors, squints,
movements of the lips inside those, and tongueOut, which ARKit means for an open mouth.
The gaze is ARKit's too, with the lids that follow it. Besides, a rig's joints turn: the jaw by 25°, the neck by 30°
about each axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from avatargen.geometry.types import HeadParameters
from avatargen.heads.base import HeadModel

JAW, NECK = 25.0, 30.0
"""Degrees. 25° of the jaw is FLAME's ``jawOpen`` at full strength; 30° of the neck is half of a person's reach."""
SIDES = ("Left", "Right")


@dataclass(frozen=True)
class Pose:
    """A pose on top of the neutral face.

    Attributes:
        name: for tables.
        group: of poses that are reported together: ``face``, ``gaze``, ``jaw`` or ``neck``.
        actions: ARKit's names, each at full strength.
        joint: name of a joint that turns; empty for none.
        axis: it turns about: 0 for x (nod), 1 for y (shake), 2 for z (tilt).
        degrees: of its turn.
    """

    name: str
    group: str
    actions: tuple[str, ...] = ()
    joint: str = ""
    axis: int = 0
    degrees: float = 0.0


def _both(name: str) -> Pose:
    return Pose(name, "face", tuple(name + side for side in SIDES))


def _one(name: str) -> Pose:
    return Pose(name, "face", (name,))


def _gaze(name: str, left: str, right: str) -> Pose:
    return Pose(f"gaze {name}", "gaze", (f"eyeLook{left}Left", f"eyeLook{right}Right"))


def _neck(name: str, axis: int, sign: int) -> Pose:
    return Pose(f"neck {name} {sign * NECK:+.0f}°", "neck", joint="neck", axis=axis, degrees=sign * NECK)


POSES = (
    *(_both("browDown"), _one("browInnerUp"), _both("eyeBlink"), _both("eyeWide"), _both("noseSneer")),
    *(_one("cheekPuff"), _both("mouthSmile"), _both("mouthFrown"), _one("mouthPucker"), _one("mouthLeft")),
    *(_one("jawOpen"), _one("jawLeft"), Pose(f"jaw {JAW:.0f}°", "jaw", joint="jaw", axis=0, degrees=JAW)),
    *(_gaze("left", "Out", "In"), _gaze("right", "In", "Out"), _gaze("up", "Up", "Up"), _gaze("down", "Down", "Down")),
    *(_neck(name, axis, sign) for axis, name in enumerate(("pitch", "yaw", "roll")) for sign in (-1, 1)),
)
"""Left and right are the person's. A positive pitch nods down, yaw turns left, roll tilts the head to the right."""
GROUPS = tuple(dict.fromkeys(pose.group for pose in POSES))


def posed(head: HeadModel, parameters: HeadParameters, pose: Pose) -> HeadParameters | None:
    """Return heads in a pose, on top of their neutral faces: an expression of their own is set aside.

    Args:
        head: their model. Actions are expression coefficients by these names, or those of `HeadModel.actions`.
        parameters: of the heads.
        pose: to set.

    Returns:
        None where the model has no action or joint of this name.
    """
    neutral, known = parameters.neutral(), head.actions()
    expression, joints = neutral.expression, neutral.joints
    for name in pose.actions:
        if name in head.expression_names:
            index = head.expression_names.index(name)
            expression[:, index] += head.expression_bounds[1, index]
        elif name in known:
            expression, joints = expression + known[name].expression, joints + known[name].joints
        else:
            return None
    if pose.joint:
        if pose.joint not in head.joint_names:
            return None
        joints[:, head.joint_names.index(pose.joint), pose.axis] += math.radians(pose.degrees)
    return replace(neutral, expression=expression, joints=joints)
