"""Histograms of oriented gradients (Dalal and Triggs, CVPR 2005): what an image shows apart from its colours."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

CELL, BINS = 8, 9
"""Side of a cell, pixels, and number of orientations between 0 and 180 degrees (section 6 there)."""
LARGEST, DARK = 0.6, 1e-4
"""Values are clipped at LARGEST; DARK is added to a cell's squared length, so that flat cells stay near 0."""


def gradient_histograms(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 9 h w"]:
    """Return the histogram of each cell: gradient magnitude by orientation, relative to the cells around.

    A pixel's gradient is that of the channel where it is largest; it is shared between the two nearest orientations.
    Each cell is divided by the root mean squared length of the 3 x 3 cells around it.

    Args:
        images: RGB in [0, 1]; H and W are multiples of CELL.

    Example:
        >>> ramp = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)  # brighter to the right: orientation 0
        >>> gradient_histograms(ramp)[0].flatten(1).sum(1).nonzero().flatten().tolist()
        [0]
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    squared = across.square() + down.square()
    channel = squared.argmax(1, keepdim=True)
    across, down, squared = (part.gather(1, channel) for part in (across, down, squared))
    length = squared.sqrt()
    place = torch.atan2(down, across) / math.pi % 1 * BINS
    lower = place.floor()
    share, first = place - lower, lower.long() % BINS
    votes = torch.zeros(len(images), BINS, *images.shape[2:], device=images.device)
    votes.scatter_(1, first, length * (1 - share)).scatter_add_(1, (first + 1) % BINS, length * share)
    cells = F.avg_pool2d(votes, CELL)
    around = F.avg_pool2d(cells.square().sum(1, keepdim=True), 3, 1, 1, count_include_pad=False)
    return (cells / (around + DARK).sqrt()).clamp(max=LARGEST)


def mirrored(histograms: Float[Tensor, "N 9 h w"]) -> Float[Tensor, "N 9 h w"]:
    """Return the histograms of the mirrored images.

    Example:
        >>> image = torch.rand(1, 3, 16, 16)
        >>> torch.allclose(mirrored(gradient_histograms(image)), gradient_histograms(image.flip(3)), atol=1e-6)
        True
    """
    order = torch.arange(BINS, 0, -1, device=histograms.device) % BINS
    return histograms.flip(3).index_select(1, order)
