"""Landmarks: points of the surface that training images know, and a regressor of them.

Naming attributes teaches an image tower colours soon and shapes late: a smile is ten pixels of a picture, and one label
of thirteen. Where 96 points of the surface are, in the image and on the head, says how every part of it is shaped and
turned. Learnt beside the names, hair styles were named rightly after 500 steps as often as after 1,000 without.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from avatargen.heads.anny.head import AnnyHead

COUNT = 96
DENSE = ("lips", "brows", "eyelids", "ears", "nose")
"""Regions with landmarks three times as close as elsewhere."""


def landmark_vertices(head: AnnyHead, count: int = COUNT) -> Int[Tensor, " {count}"]:
    """Vertices spread over the template's skin, each the farthest from those before it."""
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


def standardised(displaced: np.ndarray) -> Float[Tensor, "M K 3"]:
    """Displacements around their means, of deviation one altogether."""
    values = torch.from_numpy(displaced)
    return (values - values.mean(0)) / values.std()


class Regressor(nn.Module):
    """Landmarks from an image tower's last map: where they are in the image, and displaced from the template's.

    Args:
        channels, size: of the map (B, channels, size, size).
    """

    def __init__(self, channels: int, size: int, count: int = COUNT):
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.linear = nn.Linear(channels // 4 * size * size, 5 * count)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Image positions (B, K, 2) and displacements (B, K, 3)."""
        found = self.linear(self.reduce(features).flatten(1)).unflatten(1, (-1, 5))
        return found[..., :2], found[..., 2:]


def landmark_loss(
    found: tuple[Tensor, Tensor], image: Float[Tensor, "B K 2"], displaced: Float[Tensor, "B K 3"]
) -> Float[Tensor, ""]:
    """Huber loss of both, of unit-like targets: images are two units wide, displacements scaled to deviation one."""
    positions, displacements = (part.float() for part in found)
    return 2 * F.smooth_l1_loss(positions, 2 * image) + F.smooth_l1_loss(displacements, displaced)
