"""Shows rendered views in place of a mesh: of each camera, the frame that was taken from nearest to it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from avatargen.geometry.types import Cameras, HeadTopology, RenderOutput
from avatargen.io.frames import Frames
from avatargen.render.base import Renderer


class FrameRenderer(Renderer):
    """Returns frames as renders; distance, field of view and target are those of whoever took them.

    There is no surface, so depth and normals are zero.

    Args:
        frames: of one avatar.
        topology: of the mesh that stands for it.
    """

    def __init__(self, frames: Frames, topology: HeadTopology):
        super().__init__(topology)
        self._images = torch.from_numpy(frames.images).permute(0, 3, 1, 2)
        self._azimuth, self._elevation = torch.from_numpy(frames.azimuth), torch.from_numpy(frames.elevation)

    def render(self, vertices: Float[Tensor, "1 N 3"], cameras: Cameras, size: int, **options: Any) -> RenderOutput:
        """Return the nearest frames at `size` x `size` pixels; `options` of the interface change nothing."""
        shown = self._images[self._nearest(cameras)].float() / 255
        alpha = shown[:, 3:]
        whole = torch.cat((shown[:, :3] * alpha, alpha), dim=1)
        scaled = interpolate(whole, size=(size, size), mode="bilinear", antialias=True)
        coverage = scaled[None, :, 3:]
        features = scaled[None, :, :3] / coverage.clamp(min=1e-6)
        nothing = torch.zeros_like(coverage)
        return RenderOutput(features, coverage, nothing, torch.zeros_like(features), nothing[:, :, 0].long() - 1)

    def _nearest(self, cameras: Cameras) -> Tensor:
        """Return the number of each camera's frame; elevations count where they are known."""
        apart = (cameras.azimuth[0][:, None] - self._azimuth + 180) % 360 - 180
        above = cameras.elevation[0][:, None] - self._elevation
        return (apart.abs() + above.nan_to_num().abs()).argmin(dim=1)
