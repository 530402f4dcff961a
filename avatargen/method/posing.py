"""The heads that a state describes: their offsets, parameters and vertices."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.types import HeadParameters
from avatargen.heads.base import HeadModel
from avatargen.method.context import Batch
from avatargen.method.offset_mlp import offsets
from avatargen.method.state import State


def point_offsets(batch: Batch, state: State) -> Float[Tensor, "B P 3"] | None:
    """Return the offsets of the head's `offset_points` (metres), differentiable; None if the method has no offsets."""
    if not batch.method.offsets:
        return None
    return offsets(state.mlp, batch.context.positions, batch.method.offset_limit_mm / 1e3)


def head_parameters(head: HeadModel, state: State, at_points: Float[Tensor, "B P 3"] | None) -> HeadParameters:
    """Return the parameters of the heads, differentiable in the state.

    Args:
        head: the context's head, or its proxy.
        state: shape and expression.
        at_points: see `point_offsets`.
    """
    low, high = head.shape_bounds
    template = head.template(len(state.shape))
    shape = head.shape_template + state.shape * (high - low)
    given = template.offsets if at_points is None else head.interpolate_offsets(at_points)
    return replace(template, shape=shape, expression=state.expression, offsets=given)


def proxy_vertices(batch: Batch, state: State, at_points: Float[Tensor, "B P 3"] | None) -> Float[Tensor, "B N 3"]:
    """Return the vertices of the proxy meshes (metres), differentiable in the state."""
    proxy = batch.context.proxy
    return proxy.vertices(head_parameters(proxy, state, at_points))


@torch.no_grad()
def resting_vertices(batch: Batch, state: State) -> Float[Tensor, "B N 3"]:
    """Return the vertices of proxy meshes that do not move; computed once and kept in the state."""
    if state.resting is None:
        state.resting = proxy_vertices(batch, state, point_offsets(batch, state))
    return state.resting
