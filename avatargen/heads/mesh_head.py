"""A static head: a mesh made by another system, stored as the offsets of an avatar file."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.types import HeadParameters, HeadTopology
from avatargen.heads.base import HeadModel, Rig

MESH = "mesh"
"""Head id of all static heads; two of them may differ in topology."""


class MeshHead(HeadModel):
    """A head without shape, expression or joints; its vertices are its offsets.

    Args:
        topology: faces and texture coordinates of the mesh; regions are not used.
    """

    def __init__(self, topology: HeadTopology):
        self.id = MESH
        self.topology = topology
        self.shape_names = self.expression_names = self.joint_names = ()
        nothing = topology.uvs.new_zeros(2, 0)
        self.shape_bounds = self.expression_bounds = nothing
        self.shape_template = nothing[0]

    def canonical(self, shape: Float[Tensor, "B 0"]) -> Float[Tensor, "B N 3"]:
        return self.topology.uvs.new_zeros(len(shape), int(self.topology.faces.max()) + 1, 3)

    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        return parameters.offsets

    def rig(self, shape: Float[Tensor, " 0"]) -> Rig:
        vertices = int(self.topology.faces.max()) + 1
        return Rig((), shape.new_zeros(0, 3), shape.new_zeros(0, vertices))

    def to(self, device: torch.device | str) -> MeshHead:
        return MeshHead(self.topology.to(device))
