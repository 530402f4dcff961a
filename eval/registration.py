"""Find a template in an image by normalised cross-correlation, to a fraction of a pixel.

Source: J. P. Lewis, "Fast normalized cross-correlation", 1995, equation 2; channels are centred one by one and count
together, so that a red mouth on a green face is as distinct as a dark one on a pale face.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FLAT = 0.01
"""Root mean square deviation from the mean colour below which a patch has no features, RGB in [0, 1]."""


class Peak(NamedTuple):
    """The best place of a template.

    Attributes:
        down, right: from the centre of the places searched, pixels; NaN where the best one lies on their border, beyond
            which a better one may lie.
        height: correlation there, in [-1, 1].
    """

    down: float
    right: float
    height: float


def correlation(template: Float[Tensor, "C h w"], window: Float[Tensor, "C H W"]) -> Float[Tensor, "H-h+1 W-w+1"]:
    """Return the normalised cross-correlation of a template with each patch of a window.

    Args:
        template: to find.
        window: at least as large.

    Returns:
        In [-1, 1]; 0 where the template or the patch is FLAT.

    Example:
        >>> window = torch.tensor([[[0.0, 1.0, 0.0, 1.0]]])
        >>> correlation(torch.tensor([[[0.0, 2.0]]]), window).round().tolist()
        [[1.0, -1.0, 1.0]]
    """
    centred = template - template.mean((1, 2), keepdim=True)
    pixels = centred[0].numel()
    ones = torch.ones_like(centred[:1, None])
    sums, squares = (F.conv2d(part[:, None], ones)[:, 0] for part in (window, window.square()))
    patch = (squares - sums.square() / pixels).sum(0).clamp_min(0)
    own = centred.square().sum()
    least = FLAT**2 * pixels
    product = F.conv2d(window[None], centred[None])[0, 0]
    found = product / (patch.clamp_min(least) * own.clamp_min(least)).sqrt()
    return torch.where((patch > least) & (own > least), found, 0.0).clamp(-1, 1)


def peak(surface: Float[Tensor, "H W"]) -> Peak:
    """Return the highest place of a correlation; a parabola through its neighbours gives the fraction of a pixel.

    Example:
        >>> bump = -(torch.arange(7.0) - 3.25) ** 2
        >>> peak(1 + bump[:, None] + bump[None])
        Peak(down=0.25, right=0.25, height=0.875)
    """
    rows, columns = surface.shape
    row, column = divmod(int(surface.argmax()), columns)
    height = float(surface[row, column])
    if row in (0, rows - 1) or column in (0, columns - 1):
        return Peak(math.nan, math.nan, height)
    down = row + _vertex(surface[row - 1 : row + 2, column]) - (rows - 1) / 2
    right = column + _vertex(surface[row, column - 1 : column + 2]) - (columns - 1) / 2
    return Peak(down, right, height)


def _vertex(three: Float[Tensor, "3"]) -> float:
    """Return where the parabola through three even samples has its vertex, relative to the middle one."""
    before, middle, after = three.tolist()
    bend = before - 2 * middle + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
