"""The interface that every head model implements (Anny, FLAME)."""

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
    """What linear blend skinning takes, for a head at rest.

    Attributes:
        parents: index of each joint's parent, which precedes it; -1 for none.
        pivots: where the joints are, metres.
        weights: of each joint on each vertex; what is missing to a sum of 1 does not move.
    """

    parents: tuple[int, ...]
    pivots: Float[Tensor, "J 3"]
    weights: Float[Tensor, "J N"]


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
    def rig(self, shape: Float[Tensor, " S"]) -> Rig:
        """The joints of an identity, without expression."""

    @abstractmethod
    def to(self, device: torch.device | str) -> HeadModel:
        """The same model on another device."""

    def offset_points(self) -> Float[Tensor, "P 3"]:
        """Points of the template that offsets are optimised at: its vertices, where it is no subdivision of fewer."""
        return self.canonical(self.shape_template[None])[0]

    def interpolate_offsets(self, offsets: Float[Tensor, "B P 3"]) -> Float[Tensor, "B N 3"]:
        """Offsets of all vertices from those of `offset_points`; linear, and none is larger than the largest given."""
        return offsets

    def proxy(self) -> HeadModel:
        """The head as optimisation renders it: the same parameters and `offset_points`, and no more vertices than it
        takes; `interpolate_offsets` gives the offsets of these. The head itself, where there is no coarser one.
        """
        return self

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

    def shape_from(self, **values: float) -> Float[Tensor, " S"]:
        """The template's shape with some coefficients set by name; dashes may be written as underscores.

        Raises:
            ValueError: a name is unknown or a value lies outside its bounds.
        """
        return _set(self.shape_template, self.shape_names, self.shape_bounds, values, "shape coefficient")

    def expression_from(self, **values: float) -> Float[Tensor, " E"]:
        """A neutral expression with some coefficients set by name.

        Raises:
            ValueError: a name is unknown or a value lies outside its bounds.
        """
        neutral = torch.zeros_like(self.expression_bounds[0])
        return _set(neutral, self.expression_names, self.expression_bounds, values, "expression")


def _set(
    start: Tensor, names: tuple[str, ...], bounds: Tensor, values: dict[str, float], kind: str
) -> Float[Tensor, " K"]:
    """A copy of `start` with named entries replaced; all problems are reported at once."""
    known = {name.replace("-", "_").lower(): index for index, name in enumerate(names)}
    result, problems = start.clone(), []
    for name, value in values.items():
        key = name.replace("-", "_").lower()
        index = known.get(key)
        if index is None:
            matches = difflib.get_close_matches(key, list(known), n=4, cutoff=0.4)
            hint = f"; did you mean {', '.join(names[known[m]] for m in matches)}?" if matches else ""
            problems.append(f"unknown {kind} {name!r}{hint}")
            continue
        low, high = bounds[:, index].tolist()
        if not low - 1e-6 <= value <= high + 1e-6:
            problems.append(f"{kind} {names[index]!r} must be in [{low:g}, {high:g}], got {value:g}")
            continue
        result[index] = value
    if problems:
        raise ValueError("; ".join(problems))
    return result
