"""The interface that every head model implements."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.types import HeadParameters, HeadTopology


@dataclass(frozen=True)
class Rig:
    """Input of linear blend skinning, for a head at rest.

    Attributes:
        parents: index of each joint's parent, which precedes it; -1 for none.
        pivots: rest positions of the joints, metres.
        weights: skinning weight of each joint on each vertex, in [0, 1]. Where the weights of a vertex sum to less
            than 1, the remainder does not move.
    """

    parents: tuple[int, ...]
    pivots: Float[Tensor, "J 3"]
    weights: Float[Tensor, "J N"]


@dataclass(frozen=True)
class FacialAction:
    """A named movement of the face at full strength.

    Attributes:
        expression: coefficients, as in `HeadParameters`.
        joints: rotations, axis-angle, radians.
    """

    expression: Float[Tensor, " E"]
    joints: Float[Tensor, "J 3"]


class HeadModel(ABC):
    """A parametric head: identity, expression, joints, and vertex offsets in canonical space.

    Attributes:
        id: name and version of the model and of its bake, e.g. ``anny-0.6.2-1``; part of every fingerprint.
        topology: faces, texture coordinates and regions, on the model's device.
        shape_names, expression_names, joint_names: name of each coefficient and joint.
        shape_bounds, expression_bounds: lowest (row 0) and highest (row 1) permitted values.
        shape_template: shape coefficients of the template head.
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
        """Return the vertices of neutral, unposed heads without offsets, metres."""

    @abstractmethod
    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        """Return the vertices of posed heads: linear blend skinning of (canonical + offsets + expression), metres."""

    @abstractmethod
    def rig(self, shape: Float[Tensor, " S"]) -> Rig:
        """Return the joints and skinning weights of one neutral head."""

    def actions(self) -> dict[str, FacialAction]:
        """Return facial actions by their ARKit names, besides the expressions; by default none."""
        return {}

    def correctives(self, joints: Float[Tensor, "B J 3"]) -> Float[Tensor, "B N 3"]:
        """Return what poses add to the vertices before skinning, metres; by default nothing.

        Linear in the entries of R - I, the rotation of each joint minus the identity.

        Args:
            joints: rotations, axis-angle, radians.
        """
        return joints.new_zeros(len(joints), *self.template(1).offsets.shape[1:])

    @abstractmethod
    def to(self, device: torch.device | str) -> HeadModel:
        """Return the same model on another device."""

    def offset_points(self) -> Float[Tensor, "P 3"]:
        """Return the points of the template at which offsets are optimised, metres.

        By default the template's vertices; a model that subdivides a coarser mesh returns the coarser vertices.
        """
        return self.canonical(self.shape_template[None])[0]

    def interpolate_offsets(self, offsets: Float[Tensor, "B P 3"]) -> Float[Tensor, "B N 3"]:
        """Interpolate offsets from `offset_points` to all vertices.

        Linear in the offsets; no result is longer than the longest offset given.

        Args:
            offsets: displacement at each of the `offset_points`, metres.

        Returns:
            Displacement of each vertex, metres.
        """
        return offsets

    def proxy(self) -> HeadModel:
        """Return the proxy mesh that optimisation renders: the same head with fewer vertices.

        It takes the same shape, expression, joints and `offset_points`; its vertices are a subset of the head's. Use
        its own `interpolate_offsets` to get offsets for its vertices. By default the head itself.
        """
        return self

    def template(self, batch: int) -> HeadParameters:
        """Return the parameters of `batch` template heads at rest."""
        lead = self.shape_template
        vertices = next(iter(self.topology.regions.values())).shape[0]
        zeros = lead.new_zeros
        return HeadParameters(
            shape=lead.expand(batch, -1).clone(),
            expression=zeros(batch, len(self.expression_names)),
            joints=zeros(batch, len(self.joint_names), 3),
            offsets=zeros(batch, vertices, 3),
        )

    def shape_from(self, **values: float) -> Float[Tensor, " S"]:
        """Return the template's shape with some coefficients set by name.

        Args:
            values: value of each named coefficient; underscores stand for dashes in names.

        Raises:
            ValueError: a name is unknown or a value lies outside its bounds; all problems are reported at once.
        """
        return _set(self.shape_template, self.shape_names, self.shape_bounds, values, "shape")

    def expression_from(self, **values: float) -> Float[Tensor, " E"]:
        """Return a neutral expression with some coefficients set by name.

        Args:
            values: value of each named coefficient.

        Raises:
            ValueError: a name is unknown or a value lies outside its bounds; all problems are reported at once.
        """
        neutral = torch.zeros_like(self.expression_bounds[0])
        return _set(neutral, self.expression_names, self.expression_bounds, values, "expression")


def _set(
    start: Tensor, names: tuple[str, ...], bounds: Tensor, values: dict[str, float], kind: str
) -> Float[Tensor, " K"]:
    """Return a copy of `start` with the named entries replaced."""
    known = {name.replace("-", "_").lower(): index for index, name in enumerate(names)}
    result, problems = start.clone(), []
    for name, value in values.items():
        key = name.replace("-", "_").lower()
        index = known.get(key)
        if index is None:
            matches = difflib.get_close_matches(key, list(known), n=4, cutoff=0.4)
            hint = f"; did you mean {', '.join(names[known[m]] for m in matches)}?" if matches else ""
            problems.append(f"{kind}: got unknown coefficient '{name}'{hint}")
            continue
        low, high = bounds[:, index].tolist()
        if not low - 1e-6 <= value <= high + 1e-6:
            problems.append(f"{kind}: {names[index]}: got {value:g}; expected a value in [{low:g}, {high:g}]")
            continue
        result[index] = value
    if problems:
        raise ValueError("; ".join(problems))
    return result
