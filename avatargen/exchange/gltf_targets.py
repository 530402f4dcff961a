"""Morph targets of exported heads: expressions, facial actions, visemes and pose correctives."""

from __future__ import annotations

import torch
from jaxtyping import Float

from avatargen.exchange.gltf_clips import CORRECTIVE, corrective_weight
from avatargen.exchange.visemes import viseme_targets
from avatargen.geometry.types import HeadParameters
from avatargen.heads.base import HeadModel
from avatargen.io.avatar_file import Avatar

SMALLEST = 1e-5
"""Metres; morph targets leave out smaller displacements."""
VISIBLE = 1e-4
"""Metres; correctives that move no vertex by more in a quarter turn are left out."""
AXES = "xyz"


def morph_targets(
    head: HeadModel, rest: HeadParameters, visemes: bool = False
) -> dict[str, Float[torch.Tensor, "N 3"]]:
    """Return the displacement by each expression, facial action and corrective that moves some vertex, metres.

    Args:
        head: the head model.
        rest: the neutral head, a batch of one.
        visemes: add those of :mod:`avatargen.exchange.visemes`.
    """
    neutral = head.vertices(rest)[0]
    units = torch.eye(len(head.expression_names))
    moves = {name: (unit, rest.joints[0]) for name, unit in zip(head.expression_names, units, strict=True)}
    moves |= {name: (action.expression, action.joints) for name, action in head.actions().items()}
    targets = {}
    for name, (expression, joints) in moves.items():
        moved = head.vertices(HeadParameters(rest.shape, expression[None], joints[None], rest.offsets))[0] - neutral
        if moved.abs().max() > SMALLEST:
            targets[name] = moved
    spoken = viseme_targets(targets) if visemes else {}
    return targets | spoken | _correctives(head)


def _correctives(head: HeadModel) -> dict[str, Float[torch.Tensor, "N 3"]]:
    """Return the displacements of sin θ and cos θ - 1 of a rotation of each joint about each axis, metres.

    About one axis, R - I is linear in these two, and correctives c are linear in R - I. With quarter turns to both
    sides, c(90°) = s - k and c(-90°) = -s - k, where s belongs to the sine and k to the cosine.
    """
    targets = {}
    for joint, name in enumerate(head.joint_names):
        for axis, letter in enumerate(AXES):
            turns = torch.zeros(2, len(head.joint_names), 3)
            turns[:, joint, axis] = torch.tensor([torch.pi / 2, -torch.pi / 2])
            forth, back = head.correctives(turns)
            pair = {"sin": (forth - back) / 2, "cos": -(forth + back) / 2}
            targets |= {
                f"{CORRECTIVE}{name}_{letter}_{part}": move for part, move in pair.items() if move.abs().max() > VISIBLE
            }
    return targets


def initial_weight(name: str, avatar: Avatar, head: HeadModel) -> float:
    """Return the weight that a morph target has in the avatar."""
    if name in head.expression_names:
        return float(avatar.expression[head.expression_names.index(name)])
    if not name.startswith(CORRECTIVE):  # an action or a viseme
        return 0.0
    joint, axis, part = name.removeprefix(CORRECTIVE).rsplit("_", 2)
    return corrective_weight(part, float(avatar.joints[head.joint_names.index(joint), AXES.index(axis)]))
