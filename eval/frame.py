"""The frame of the judged images: as narrow as the prior and the judges saw heads, wider for a head it would cut."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.types import Cameras
from avatargen.render.geometry import project

MARGIN = 0.02
"""Least distance of a head from the border, as a fraction of half the image: 1.3 pixels of 128."""
GRAIN = 0.01
"""Fields of view are multiples of this, in degrees, so that the last bits of a vertex do not move them."""


def framed(cameras: Cameras, vertices: Float[Tensor, "1 N 3"], widest: float) -> Cameras:
    """Return cameras whose field of view is as wide as one head needs, the same in all views.

    Args:
        cameras: of one head; their field of view is the least.
        vertices: of the head, metres.
        widest: greatest field of view, degrees. A head that needs more, such as a bust with shoulders or a broken mesh,
            is shown by `cameras` as they are.

    Example:
        >>> one = torch.ones(1, 1)
        >>> camera = Cameras(0 * one, 0 * one, 2 * one, 16 * one, torch.zeros(1, 1, 3))
        >>> small, tall = torch.zeros(1, 1, 3), torch.tensor([[[0.0, 0.49, 0.0]]])
        >>> [round(framed(camera, head, widest=90.0).fov.item(), 2) for head in (small, tall)]
        [16.0, 28.08]
    """
    least = float(cameras.fov.max())
    places, _ = project(vertices, replace(cameras, fov=torch.full_like(cameras.fov, 90.0)), 2)
    tangent = float((places - 1).abs().max())  # at 90 degrees, half of the image is 1
    needed = 2 * math.degrees(math.atan(tangent / (1 - MARGIN)))
    if not least < needed <= widest:  # it fits; or is cut whatever the frame, and then faces keep their size
        return cameras
    return replace(cameras, fov=torch.full_like(cameras.fov, math.ceil(needed / GRAIN) * GRAIN))
