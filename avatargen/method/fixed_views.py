"""The fixed views of a finished avatar: those it is baked from, and those that the prior denoises."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from avatargen.config.settings import CameraSettings
from avatargen.geometry.cameras import CENTRE, FACE, usual_framing
from avatargen.geometry.types import Cameras

Place = tuple[float, float]
"""Azimuth and elevation, degrees."""
AROUND: tuple[Place, ...] = tuple((45.0 * turn, 5.0) for turn in range(8))
ABOVE: tuple[Place, ...] = tuple((90.0 * turn, 45.0) for turn in range(4))
BELOW: tuple[Place, ...] = ((-30.0, -25.0), (30.0, -25.0))
TILTED: tuple[Place, ...] = ((0.0, 22.0), (180.0, 22.0))
"""Views of the crown that lie within the elevations of a prior's training images."""
CLOSE_UPS: tuple[Place, ...] = tuple((azimuth, 5.0) for azimuth in (0.0, -30.0, 30.0, -60.0, 60.0))
"""Views of the face alone."""


def bake_cameras(ranges: CameraSettings, close_ups: bool = False) -> Cameras:
    """Return the views that a texture is baked from, (1, V): around the head, from above, from below the front.

    Args:
        ranges: the prior's camera ranges.
        close_ups: add those of the face, if the prior knows them.

    Example:
        >>> known = CameraSettings(close=0.3)
        >>> bake_cameras(known).azimuth.shape, bake_cameras(known, close_ups=True).azimuth.shape
        (torch.Size([1, 14]), torch.Size([1, 19]))
    """
    return _cameras(ranges, (*AROUND, *ABOVE, *BELOW), close_ups)


def refine_cameras(ranges: CameraSettings) -> Cameras:
    """Return the views that the prior denoises, (1, V): around the head, and close-ups if the prior knows them.

    Args:
        ranges: the prior's camera ranges.

    Example:
        >>> refine_cameras(CameraSettings()).fov.shape, refine_cameras(CameraSettings(close=0.3)).fov.shape
        (torch.Size([1, 10]), torch.Size([1, 15]))
    """
    return _cameras(ranges, (*AROUND, *TILTED), close_ups=True)


def _cameras(ranges: CameraSettings, places: Sequence[Place], close_ups: bool) -> Cameras:
    """Return cameras at places, on the CPU; distance and fields of view are the middles of the prior's ranges."""
    distance, fov = usual_framing(ranges)
    views = [(*place, distance, fov, *CENTRE) for place in places]
    if close_ups and ranges.close > 0:
        views += [(*place, distance, sum(ranges.close_fov) / 2, *FACE) for place in CLOSE_UPS]
    azimuth, elevation, distances, fovs, *target = torch.tensor(views).T[:, None].contiguous()
    return Cameras(azimuth, elevation, distances, fovs, torch.stack(target, dim=-1))
