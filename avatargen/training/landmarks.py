"""Landmarks as a second task of the judge and the reader: a regressor, its targets and its loss.

Attribute labels teach an image tower colours soon and shapes late: a smile is one label of thirteen and ten pixels of
an image. The positions of 96 points of the surface, in the image and on the head, say how every part is shaped and
turned. With this task, hair styles are named as well after 500 steps as after 1,000 steps without it.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from avatargen.headworld.landmarks import COUNT


def standardised(displaced: Float[np.ndarray, "M K 3"]) -> Float[Tensor, "M K 3"]:
    """Return displacements minus the mean of each landmark, scaled to a common standard deviation of 1.

    Example:
        >>> standardised(np.array([[[0.0, 1.0, 2.0]], [[2.0, 1.0, 0.0]]])).sum().item()
        0.0
    """
    values = torch.from_numpy(displaced)
    return (values - values.mean(0)) / values.std()


class Regressor(nn.Module):
    """Landmarks from the last feature map of an image tower.

    Args:
        channels, size: shape of the feature map (B, channels, size, size).
        count: number of landmarks.
    """

    def __init__(self, channels: int, size: int, count: int = COUNT):
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.linear = nn.Linear(channels // 4 * size * size, 5 * count)

    def forward(self, features: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K 3"]]:
        """Return twice the positions in the image (from -2 to 2), and standardised displacements from the template."""
        found = self.linear(self.reduce(features).flatten(1)).unflatten(1, (-1, 5))
        return found[..., :2], found[..., 2:]


def landmark_loss(
    found: tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K 3"]],
    image: Float[Tensor, "B K 2"],
    displaced: Float[Tensor, "B K 3"],
) -> Float[Tensor, ""]:
    """Return the Huber loss of positions plus that of displacements.

    Args:
        found: output of `Regressor`.
        image: true positions in the image, from -1 to 1.
        displaced: true displacements, see `standardised`.

    Example:
        >>> image, displaced = torch.zeros(1, 2, 2), torch.zeros(1, 2, 3)
        >>> landmark_loss((image, displaced + 3.0), image, displaced).item()
        2.5
    """
    positions, displacements = (part.float() for part in found)
    return 2 * F.smooth_l1_loss(positions, 2 * image) + F.smooth_l1_loss(displacements, displaced)
