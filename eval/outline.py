"""Compare outlines: the overlap of two masks, and the distance between their borders.

Masks are in [0, 1]. The distance is the area between the borders, divided by their mean length: the mean distance of
borders that run side by side. The length is the total variation of the mask (co-area formula), so the border of the
image does not count, where a neck is cut off.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


def overlap(first: Float[Tensor, "V H W"], second: Float[Tensor, "V H W"]) -> Float[Tensor, " V"]:
    """Return the intersection over union of masks; 1 where both are empty.

    Example:
        >>> first, second = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
        >>> first[:, :, :2], second[:, :, 1:3] = 1, 1  # two columns each, one in common
        >>> round(overlap(first, second).item(), 4)
        0.3333
    """
    both = torch.minimum(first, second).sum((1, 2))
    either = torch.maximum(first, second).sum((1, 2))
    return torch.where(either > 0, both / either.clamp_min(1e-9), 1.0)


def border_distance(first: Float[Tensor, "V H W"], second: Float[Tensor, "V H W"]) -> Float[Tensor, " V"]:
    """Return the mean distance between the borders of masks, pixels; 0 where neither has a border.

    Example:
        >>> first, second = torch.zeros(1, 32, 32), torch.zeros(1, 32, 32)
        >>> first[:, :, :10], second[:, :, :13] = 1, 1  # straight borders, 3 columns apart
        >>> round(border_distance(first, second).item(), 4)
        3.0
    """
    between = (first - second).abs().sum((1, 2))
    length = (border_length(first) + border_length(second)) / 2
    return torch.where(between > 0, between / length.clamp_min(1e-9), 0.0)


def border_length(mask: Float[Tensor, "V H W"]) -> Float[Tensor, " V"]:
    """Return the length of the borders of masks, pixels.

    Differences are taken across each 2 x 2 pixels, so that a border along a diagonal has its own length. A border
    between two rows counts from the middle of the first to the middle of the last pixel; the edges of the image are
    repeated, so it counts in full.

    Example:
        >>> mask = torch.zeros(1, 8, 8)
        >>> mask[:, :3] = 1
        >>> border_length(mask).item()
        8.0
    """
    padded = pad(mask[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    a, b, c, d = padded[:, :-1, :-1], padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:]
    across, down = (b + d - a - c) / 2, (c + d - a - b) / 2
    steepness = (across.square() + down.square()).sqrt()
    weight = torch.ones_like(steepness)
    for edge in (weight[:, 0], weight[:, -1], weight[:, :, 0], weight[:, :, -1]):
        edge *= 0.5
    return (steepness * weight).sum((1, 2))
