"""Shows rendered views in place of a mesh: of each camera, the frame that was taken from nearest to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate

from avatargen.exchange.frame_files import WITHIN, WITHIN_ELEVATION
from avatargen.geometry.types import Cameras, HeadTopology, RenderOutput
from avatargen.io.frames import Frames
from avatargen.render.base import Renderer
from eval.contact_sheet import INK, PAPER, font
from eval.images import Images


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

    def _nearest(self, cameras: Cameras) -> Int[Tensor, " V"]:
        """Return the number of each camera's frame, as :func:`avatargen.exchange.frame_files.nearest` does."""
        around = ((cameras.azimuth[0][:, None] - self._azimuth + 180) % 360 - 180).abs()
        above = (cameras.elevation[0][:, None] - self._elevation).nan_to_num().abs()
        outside = (around > WITHIN) | (above > WITHIN_ELEVATION)
        return (around + above + 1000 * outside).argmin(dim=1)


def without_surface(views: int, size: int, background: tuple[float, float, float]) -> Images:
    """Return pictures that say, in place of clay, that there is no surface.

    Args:
        views: their number.
        size: rows and columns.
        background: RGB in [0, 1].
    """
    picture = Image.new("RGB", (size, size), tuple(round(255 * level) for level in background))
    ImageDraw.Draw(picture).text(
        (size / 2, size / 2),
        "no surface",
        INK if sum(background) > 1.2 else PAPER,
        font(max(size // 10, 6)),
        anchor="mm",
    )
    return np.repeat(np.array(picture)[None], views, axis=0)
