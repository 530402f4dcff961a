"""What a user may choose of a glTF file; `avatargen export` has an option for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Material = Literal["unlit", "lit", "both"]
ImageKind = Literal["png", "jpeg", "webp"]
Bones = Literal["own", "readyplayerme", "vrm"]


@dataclass(frozen=True)
class GltfOptions:
    """Options of an exported file.

    Attributes:
        material: ``unlit`` shows the texture as our renders do; ``lit`` is a rough dielectric under the viewer's
            lights, whose morph targets turn the normals too; ``both`` holds lit first and unlit as a variant.
        texture: format of the image; None for PNG in plain files and JPEG in compressed ones. PNG loses nothing.
        visemes: add :mod:`avatargen.exchange.visemes` as morph targets.
        clip: add a clip in which the head blinks, looks around and talks.
        rig: names of the joints, see `BONES`.
    """

    material: Material = "unlit"
    texture: ImageKind | None = None
    visemes: bool = False
    clip: bool = True
    rig: Bones = "own"

    def bone(self, joint: str) -> str:
        """Return the name of a joint in the file.

        Example:
            >>> GltfOptions(rig="vrm").bone("eye_left"), GltfOptions().bone("eye_left")
            ('leftEye', 'eye_left')
        """
        return BONES.get(self.rig, {}).get(joint, joint)


BONES: dict[str, dict[str, str]] = {
    "readyplayerme": {
        "body": "Spine2",
        "neck": "Neck",
        "head": "Head",
        "jaw": "Jaw",
        "eye_left": "LeftEye",
        "eye_right": "RightEye",
    },
    "vrm": {
        "body": "upperChest",
        "neck": "neck",
        "head": "head",
        "jaw": "jaw",
        "eye_left": "leftEye",
        "eye_right": "rightEye",
    },
}
"""Bones by our names of joints. Ready Player Me's armature names them as Mixamo does and has no jaw, so `Jaw` is ours;
VRM: "Humanoid bones" of VRM 1.0. ``body`` is what the neck stands on."""
DEFAULTS = GltfOptions()
