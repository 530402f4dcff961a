"""Show heads of our models with eyes and chin at the template's, so that only the shape of a face is compared.

Meshes of another system whose size comes from landmarks are shown so already (:mod:`avatargen.exchange.mesh_import`).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.types import HeadParameters
from avatargen.heads.base import HeadModel, Rig
from avatargen.heads.face_points import FacePoints


class FaceFitted(HeadModel):
    """A head model whose vertices are scaled and moved: eyes to the template's, the chin to the height of its chin.

    Scale and move follow from the shape alone. Offsets sculpt beards, and expressions open mouths: neither changes the
    size of a face.

    Args:
        head: the head model.
        shape: of the avatar that is shown.
    """

    def __init__(self, head: HeadModel, shape: Float[Tensor, " S"]):
        self._head = head
        for name in ("id", "topology", "shape_template"):
            setattr(self, name, getattr(head, name))
        for name in ("shape", "expression"):
            setattr(self, f"{name}_names", getattr(head, f"{name}_names"))
            setattr(self, f"{name}_bounds", getattr(head, f"{name}_bounds"))
        self.joint_names = head.joint_names
        both = head.canonical(torch.stack([shape.to(head.shape_template), head.shape_template]))
        points = FacePoints.of(head)
        (own, wanted), heights = points.eyes(both), points.eyes(both)[:, 1] - both[:, points.chin, 1]
        self.scale = float(heights[1] / heights[0])
        self.move = wanted - self.scale * own

    def canonical(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B N 3"]:
        return self._placed(self._head.canonical(shape))

    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        return self._placed(self._head.vertices(parameters))

    def rig(self, shape: Float[Tensor, " S"]) -> Rig:
        rig = self._head.rig(shape)
        return Rig(rig.parents, self._placed(rig.pivots), rig.weights)

    def to(self, device: torch.device | str) -> HeadModel:
        raise NotImplementedError("avatars are shown on the CPU; fit the head model that is there")

    def _placed(self, points: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
        return points * self.scale + self.move
