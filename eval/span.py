"""How near does a head model come to a head, with its coefficients alone and with offsets? No prior is asked.

The nearest head within the bounds of the shape coefficients is found by Levenberg-Marquardt steps, each of which is a
linear least-squares problem with bounds (scipy's `lsq_linear`). Vertices correspond, so nothing is aligned. It is a
local minimum, from the template or from where the caller starts; a head of the model itself is found to a tenth of a
millimetre (`tests/eval/test_span.py`).
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import lsq_linear
from scipy.sparse.linalg import LinearOperator, lsmr
from scipy.spatial import KDTree
from torch import Tensor

from avatargen.heads.base import HeadModel

PROBE = 0.02
"""Half step of the finite differences, as a fraction of each coefficient's range. They are central: at a kink, such as
the template's, the derivative is the mean of both sides, as in the head model."""
DAMPINGS = (0.003, 0.03, 0.3)
"""Weights of the length of a step, relative to the root mean square slope of a coefficient; the best step is taken."""
STEPS = 12
"""Most steps."""
ENOUGH = 0.01
"""Relative improvement of the root mean square distance below which the search ends."""
CLOSE = 2e-5
"""Root mean square distance below which it ends, metres."""


@torch.no_grad()
def nearest_shape(
    head: HeadModel,
    target: Float[Tensor, "N 3"],
    weights: Float[Tensor, " N"],
    start: Float[Tensor, " S"] | None = None,
    steps: int = STEPS,
) -> Float[Tensor, " S"]:
    """Return the shape coefficients, within their bounds, of the head nearest to a neutral one.

    Args:
        head: the model.
        target: corresponding vertices, metres.
        weights: of the vertices in the sum of squared distances, such as their areas.
        start: where the search begins; by default the template.
        steps: most steps.
    """
    head, kept = _proxy_of(head)
    target, weights = target[kept], weights[kept]
    low, high = head.shape_bounds
    shape = head.shape_template.clone() if start is None else start.clone()
    scale = (weights / weights.sum()).sqrt()[:, None]

    def distances(shapes: Float[Tensor, "B S"]) -> Float[Tensor, " B"]:
        return ((head.canonical(shapes) - target) * scale).flatten(1).norm(dim=1)

    best = distances(shape[None])[0]
    for _ in range(steps):
        if best < CLOSE:
            break
        tried = (shape + _bounded_steps(head, shape, target, scale)).clamp(low, high)
        found = distances(tried)
        if found.min() > best * (1 - ENOUGH):
            return tried[found.argmin()] if found.min() < best else shape
        shape, best = tried[found.argmin()], found.min()
    return shape


def _proxy_of(head: HeadModel) -> tuple[HeadModel, Int[Tensor, " M"]]:
    """Return the head's proxy mesh, which moves alike and costs a fourth, and the vertices that it keeps."""
    proxy = head.proxy()
    own, kept = (each.canonical(each.shape_template[None])[0].numpy() for each in (head, proxy))
    return proxy, torch.from_numpy(KDTree(own).query(kept)[1])


def _bounded_steps(
    head: HeadModel, shape: Float[Tensor, " S"], target: Float[Tensor, "M 3"], scale: Float[Tensor, "M 1"]
) -> Float[Tensor, "D S"]:
    """Return the step to the best head of the linearised model that stays within the bounds, for each of DAMPINGS."""
    low, high = head.shape_bounds
    free = (high > low).nonzero().flatten()
    probe = torch.diag(PROBE * (high - low))[free]
    ahead, behind = ((shape + sign * probe).clamp(low, high) for sign in (1, -1))
    made = (head.canonical(torch.cat([shape[None], ahead, behind])) * scale).flatten(1).double()
    ends = made[1:].unflatten(0, (2, -1))
    slopes = ((ends[0] - ends[1]).T / (ahead - behind).sum(dim=1)).contiguous()
    rank, triangle = torch.linalg.qr(slopes)
    wanted = np.concatenate([(rank.T @ ((target * scale).flatten().double() - made[0])).numpy(), np.zeros(len(free))])
    room = ((low - shape)[free].double().numpy() - 1e-9, (high - shape)[free].double().numpy() + 1e-9)
    usual = float(slopes.square().sum(0).mean().sqrt())
    steps = torch.zeros(len(DAMPINGS), len(shape))
    for step, damping in zip(steps, DAMPINGS, strict=True):
        system = np.concatenate([triangle.numpy(), damping * usual * np.eye(len(free))])
        step[free] = torch.from_numpy(lsq_linear(system, wanted, bounds=room, method="bvls").x).to(step)
    return steps


def nearest_offsets(head: HeadModel, residual: Float[Tensor, "N 3"], limit: float) -> Float[Tensor, "N 3"]:
    """Return the offsets nearest to a displacement of the vertices that the head's `offset_points` can give.

    Args:
        head: the model, which interpolates offsets.
        residual: displacement of each vertex, metres.
        limit: largest component of an offset, metres.
    """
    points = len(head.offset_points())

    def forward(values: np.ndarray) -> np.ndarray:
        return _interpolated(head, torch.from_numpy(values).float()).numpy().astype(np.float64)

    def backward(values: np.ndarray) -> np.ndarray:
        start = torch.zeros(points, requires_grad=True)
        with torch.enable_grad():
            (_interpolated(head, start) * torch.from_numpy(values).float()).sum().backward()
        return cast(Tensor, start.grad).numpy().astype(np.float64)

    operator = cast(Any, LinearOperator)((len(residual), points), matvec=forward, rmatvec=backward, dtype=np.float64)
    parts = [lsmr(operator, part.double().numpy(), atol=1e-5, btol=1e-5, maxiter=60)[0] for part in residual.T]
    offsets = torch.from_numpy(np.stack(parts, axis=-1)).float().clamp(-limit, limit)
    return head.interpolate_offsets(offsets[None])[0]


def _interpolated(head: HeadModel, values: Float[Tensor, " P"]) -> Float[Tensor, " N"]:
    """Return one component of offsets, interpolated to all vertices."""
    return head.interpolate_offsets(values.flatten()[None, :, None].expand(1, -1, 3))[0, :, 0]
