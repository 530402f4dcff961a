"""Landmarks: vertices of the surface whose positions are known in every training image."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from avatargen.heads.anny.head import AnnyHead

COUNT = 96
"""Number of landmarks."""
DENSE = ("lips", "brows", "eyelids", "ears", "nose")
"""Regions with landmarks three times as close together as elsewhere."""


def landmark_vertices(head: AnnyHead, count: int = COUNT) -> Int[Tensor, " {count}"]:
    """Return vertices spread over the template's skin, by farthest-point sampling with more weight on `DENSE`.

    Args:
        head: the head model.
        count: number of landmarks.
    """
    points = head.vertices(head.template(1))[0]
    weight = torch.zeros(len(points))
    weight[head.topology.regions["skin"]] = 1.0
    for name in DENSE:
        weight[head.topology.regions[name]] *= 3
    chosen, nearest = [int(weight.nonzero()[0])], torch.full((len(points),), torch.inf)
    while len(chosen) < count:
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).norm(dim=-1))
        chosen.append(int((nearest * weight).argmax()))
    return torch.tensor(chosen)
