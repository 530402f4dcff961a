"""Measure how far a pose bends a part that should move as one, such as a skull or an eyeball."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

from eval.surface import align_rigidly, faces_within, vertex_areas


def bend(
    rest: Float[Tensor, "N 3"], posed: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], part: Bool[Tensor, " N"]
) -> float:
    """Return the root mean square distance of a part from the best rigid motion of itself at rest, metres.

    Args:
        rest, posed: vertices, metres.
        faces: of the mesh.
        part: vertices of the part; they count by the area of the part's faces.

    Returns:
        0 where the part moves rigidly; NaN where it has no faces.

    Example:
        >>> import torch
        >>> rest = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> turned = rest[:, [1, 0, 2]] * torch.tensor([-1.0, 1.0, 1.0]) + 5.0
        >>> round(bend(rest, turned, torch.tensor([[0, 1, 2]]), torch.ones(3, dtype=torch.bool)), 6)
        0.0
    """
    inside = faces_within(faces, part)
    if not len(inside):
        return float("nan")
    weights = vertex_areas(rest, inside).double()
    apart = (align_rigidly(rest, posed, weights) - posed).double().square().sum(-1)
    return float((apart * weights).sum().div(weights.sum()).sqrt())
