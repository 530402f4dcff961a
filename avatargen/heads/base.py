"""The interface that every head model implements (Anny, FLAME)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.types import HeadParameters, HeadTopology


class HeadModel(ABC):
    """A parametric head: identity, expression, joints, and offsets in canonical space.

    Attributes:
        id: name and version of model and bake, e.g. ``anny-0.6.2-1``; part of every fingerprint.
        topology: faces, texture coordinates and regions, on the model's device.
        shape_names, expression_names, joint_names: what each coefficient is.
        shape_bounds, expression_bounds: (2, S) and (2, E), lowest and highest permitted value.
        shape_template: (S,) coefficients of the template head.
    """

    id: str
    topology: HeadTopology
    shape_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    shape_bounds: Float[Tensor, "2 S"]
    expression_bounds: Float[Tensor, "2 E"]
    shape_template: Float[Tensor, " S"]

    @abstractmethod
    def canonical(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B N 3"]:
        """Neutral, unposed vertices of identities, without offsets, metres."""

    @abstractmethod
    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        """Posed vertices: (canonical + offsets + expression), then linear blend skinning, metres."""

    @abstractmethod
    def shape_prior(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, " B"]:
        """How implausible an identity is: 0 at the template, growing outwards; a sum over coefficients."""

    @abstractmethod
    def to(self, device: torch.device | str) -> HeadModel:
        """The same model on another device."""

    def template(self, batch: int) -> HeadParameters:
        """Parameters of `batch` template heads at rest."""
        lead = self.shape_template
        vertices = next(iter(self.topology.regions.values())).shape[0]
        zeros = lead.new_zeros
        return HeadParameters(
            shape=lead.expand(batch, -1).clone(),
            expression=zeros(batch, len(self.expression_names)),
            joints=zeros(batch, len(self.joint_names), 3),
            offsets=zeros(batch, vertices, 3),
        )
