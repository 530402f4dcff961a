"""Joints of exported files: bones that point along what they move, and what binds the mesh to them.

glTF has no bones' tails; importers draw a bone along the joint's own y axis. So a joint's axes at rest are the head's,
pitched about x: the neck points to the head, the jaw to the chin, eyes where they look, all others up. The x axis stays
the head's (to the person's left): jaws open and heads nod about it. Below the neck stands a body that does not move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import roma
import torch
from jaxtyping import Float

from avatargen.exchange.gltf_clips import JAW
from avatargen.exchange.gltf_options import DEFAULTS, GltfOptions
from avatargen.heads.base import HeadModel, Rig

BODY_LENGTH = 0.1
"""Distance from the body's joint up to the neck's, metres."""


@dataclass(frozen=True)
class Skeleton:
    """Joints at rest, in the head's axes; the body is the first, the head model's follow.

    Attributes:
        names: of the joints.
        parents: index of each joint's parent, which precedes it; -1 for the body's.
        places: metres.
        pitches: rotation of the joints' axes about x, radians.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    places: Float[np.ndarray, "J 3"]
    pitches: Float[np.ndarray, " J"]

    @staticmethod
    def of(head: HeadModel, rig: Rig, points: Float[torch.Tensor, "N 3"]) -> Skeleton:
        """Return the joints of a head.

        Args:
            head: names the joints.
            rig: its joints and skinning weights.
            points: vertices of the neutral head, metres; the jaw points to the middle of those that it moves.
        """
        names = ("body", *head.joint_names)
        parents = (-1, *(parent + 1 for parent in rig.parents))
        pivots = rig.pivots.double().numpy()
        places = np.concatenate([pivots[:1] - (0, BODY_LENGTH, 0), pivots])
        aims = np.tile((0.0, 1.0, 0.0), (len(names), 1))
        for joint, name in enumerate(names):
            if name.startswith("eye"):
                aims[joint] = 0, 0, 1
            elif name == "neck" and "head" in names:
                aims[joint] = places[names.index("head")] - places[joint]
            elif name == JAW:
                weights = rig.weights[joint - 1].double().numpy()
                aims[joint] = np.average(points.double().numpy(), axis=0, weights=weights) - places[joint]
        return Skeleton(names, parents, places, np.arctan2(aims[:, 2], aims[:, 1]))

    def bend(self, joint: int) -> float:
        """Return the rotation about x from a joint's parent's axes to its own, radians."""
        parent = self.parents[joint]
        return float(self.pitches[joint] - (self.pitches[parent] if parent >= 0 else 0))

    def inverse_bind(self, step: float = 1.0) -> Float[np.ndarray, "J 4 4"]:
        """Return the matrices from the mesh to the joints' axes, column by column as glTF stores them.

        Args:
            step: metres of the mesh's unit.
        """
        turns = np.stack([pitch_matrix(-pitch) for pitch in self.pitches])
        matrices = np.tile(np.eye(4), (len(self.names), 1, 1))
        matrices[:, :3, :3] = step * turns.swapaxes(1, 2)
        matrices[:, 3, :3] = -np.einsum("jrc,jc->jr", turns, self.places)
        return matrices.astype("f4")

    def nodes(self, turns: Float[torch.Tensor, "K 3"], options: GltfOptions = DEFAULTS) -> list[dict[str, Any]]:
        """Return the JSON of the joints; their indices count from 1, behind the mesh's node.

        Args:
            turns: rotation of each joint but the body about the head's axes, axis-angle, radians.
            options: names of the bones.
        """
        quaternions = roma.rotvec_to_unitquat(torch.cat([turns.new_zeros(1, 3), turns]).double())  # x, y, z, w
        nodes: list[dict[str, Any]] = []
        for joint, (name, parent) in enumerate(zip(self.names, self.parents, strict=True)):
            above = self.pitches[parent] if parent >= 0 else 0.0
            place = self.places[joint] - (self.places[parent] if parent >= 0 else 0)
            turn = roma.quat_composition([about_x(-above), quaternions[joint], about_x(self.pitches[joint])])
            nodes.append(
                {
                    "name": options.bone(name),
                    "translation": (pitch_matrix(-above) @ place).tolist(),
                    "rotation": turn.tolist(),
                }
            )
            if parent >= 0:
                nodes[parent].setdefault("children", []).append(joint + 1)
        return nodes


def pitch_matrix(angle: float) -> Float[np.ndarray, "3 3"]:
    """Return the rotation about x.

    Example:
        >>> (pitch_matrix(math.pi / 2) @ (0, 1, 0)).round().tolist()
        [0.0, 0.0, 1.0]
    """
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])


def about_x(angle: float) -> Float[torch.Tensor, "4"]:
    """Return the quaternion (x, y, z, w) of a rotation about x.

    Example:
        >>> about_x(0.0).tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    return torch.tensor([math.sin(angle / 2), 0.0, 0.0, math.cos(angle / 2)], dtype=torch.float64)
