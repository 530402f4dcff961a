"""Measure how a pose stretches the texture of a surface.

A pose maps each triangle of the resting surface linearly to the same triangle of the posed one. The singular values of
that map, Γ ≥ γ, are the longest and the shortest length that a unit length at rest becomes. They give the stretch of
Sander et al., "Texture Mapping Progressive Meshes", 2001 (section 3):

L²  sqrt((Γ² + γ²) / 2) of a triangle; over a surface, the root of the mean of its square
L∞  Γ of a triangle

Sander's domain is a texture's chart. Ours is the surface at rest, so that what remains is the pose's own stretch, and
means are over the area at rest: the share of the texture. 1 is no stretch. γ Γ is the ratio of areas, Γ / γ the
anisotropy.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eval.surface import face_areas, weighted_quantile

BOUND = 2.0
"""Factor beyond which a triangle counts as stretched: twice as long as at rest in some direction, or half."""
LEAST_AREA = 1e-12
"""Square metres below which a triangle at rest has no texture to speak of, and no defined map."""


class Stretch(NamedTuple):
    """How a pose stretches the texture of a surface; fractions and quantiles are by area at rest.

    Attributes:
        stretch_l2: L² of the surface; 1 is none.
        stretch_p99: 99th percentile of L∞.
        area_ratio_p1, area_ratio_p99: percentiles of the ratio of a triangle's area to that at rest.
        anisotropy_p99: 99th percentile of Γ / γ.
        stretched_share: fraction of the surface with Γ > BOUND or γ < 1 / BOUND.
    """

    stretch_l2: float
    stretch_p99: float
    area_ratio_p1: float
    area_ratio_p99: float
    anisotropy_p99: float
    stretched_share: float


def singular_values(
    rest: Float[Tensor, "N 3"], posed: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "F 2"]:
    """Return the singular values of the map of each triangle from rest to a pose, the larger first.

    Their squares are the eigenvalues of G⁻¹ H, where G and H are the Gram matrices of two edges at rest and posed.

    Args:
        rest, posed: vertices, metres.
        faces: triangles that have an area at rest.

    Example:
        >>> rest = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> posed = rest * torch.tensor([3.0, 0.5, 1.0])
        >>> singular_values(rest, posed, torch.tensor([[0, 1, 2]])).tolist()
        [[3.0, 0.5]]
    """
    (a, b, c), (d, e, f) = _gram(rest, faces), _gram(posed, faces)
    least = (a * c - b * b).clamp(min=torch.finfo(torch.float64).tiny)
    half = (c * d - 2 * b * e + a * f) / (2 * least)  # half the trace of G⁻¹ H
    determinant = (d * f - e * e).clamp(min=0) / least
    apart = (half * half - determinant).clamp(min=0).sqrt()
    large = half + apart
    small = torch.where(large > 0, determinant / large, 0.0)  # half - apart would cancel
    return torch.stack((large, small), dim=1).sqrt().to(rest.dtype)


def stretch(rest: Float[Tensor, "N 3"], posed: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> Stretch:
    """Return how a pose stretches the texture.

    Args:
        rest, posed: vertices, metres.
        faces: triangles of the surface. Those without area at rest do not count.

    Example:
        >>> rest = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> found = stretch(rest, rest * torch.tensor([3.0, 1.0, 1.0]), torch.tensor([[0, 1, 2]]))
        >>> round(found.stretch_l2, 3), found.stretch_p99, found.area_ratio_p99, found.stretched_share
        (2.236, 3.0, 3.0, 1.0)
    """
    areas = face_areas(rest, faces)
    faces, areas = faces[areas > LEAST_AREA], areas[areas > LEAST_AREA].double()
    large, small = singular_values(rest, posed, faces).double().unbind(1)
    beyond = (large > BOUND) | (small < 1 / BOUND)
    return Stretch(
        stretch_l2=float(((large**2 + small**2) / 2 * areas).sum().div(areas.sum()).sqrt()),
        stretch_p99=weighted_quantile(large, areas, 0.99),
        area_ratio_p1=weighted_quantile(large * small, areas, 0.01),
        area_ratio_p99=weighted_quantile(large * small, areas, 0.99),
        anisotropy_p99=weighted_quantile(large / small.clamp(min=1e-9), areas, 0.99),
        stretched_share=float(areas[beyond].sum() / areas.sum()),
    )


def _gram(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the entries u·u, u·v and v·v of each triangle, where u and v are its edges from the first corner."""
    corners = vertices.double()[faces.long()]
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
