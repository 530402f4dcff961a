"""Render normal maps, compare them pixel by pixel, and draw them.

Pictures show normals in the camera's frame, as (n + 1) / 2: red to the right, green up, blue towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from avatargen.geometry.types import Cameras
from avatargen.render.base import Renderer
from avatargen.render.geometry import camera_frames

SIZE = 1024
"""Rows and columns of a normal map."""
BACKDROP = (250, 250, 248)


@dataclass(frozen=True)
class NormalMaps:
    """The normals that V cameras see of one mesh.

    Attributes:
        normals: smooth unit normals in world space at the centres of pixels; zero beside the mesh.
        covered: pixels that see the mesh.
    """

    normals: Float[Tensor, "V 3 H W"]
    covered: Bool[Tensor, "V H W"]


@torch.no_grad()
def normal_maps(renderer: Renderer, vertices: Float[Tensor, "N 3"], cameras: Cameras, size: int = SIZE) -> NormalMaps:
    """Render the normal maps of a mesh, one ray a pixel.

    Args:
        renderer: of the mesh's topology.
        vertices: metres.
        cameras: of one mesh.
        size: rows and columns.
    """
    parts = [
        renderer.render(vertices[None], cameras.view(k), size, gradients=False) for k in range(cameras.fov.shape[1])
    ]
    normals = torch.cat([part.normals[0] for part in parts])
    return NormalMaps(normals, torch.cat([part.coverage[0, :, 0] > 0 for part in parts]))


def screen_error(first: NormalMaps, second: NormalMaps) -> tuple[float, float]:
    """Return the mean angle of two heads' normals and how well their outlines agree.

    Returns:
        The mean over the pixels that see both heads, degrees, NaN without one; and the intersection of the covered
        pixels over their union.

    Example:
        >>> flat = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 1, 2)
        >>> tilted = torch.tensor([0.0, 0.6, 0.8]).view(1, 3, 1, 1).expand(1, 3, 1, 2)
        >>> seen, half = torch.ones(1, 1, 2).bool(), torch.tensor([[[True, False]]])
        >>> error, overlap = screen_error(NormalMaps(flat, seen), NormalMaps(tilted, half))
        >>> round(error, 2), overlap
        (36.87, 0.5)
    """
    both, either = first.covered & second.covered, first.covered | second.covered
    a, b = (maps.normals.movedim(1, -1)[both].double() for maps in (first, second))
    error = torch.rad2deg(torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(dim=-1)))
    return float(error.mean()), float(both.sum() / either.sum())


def drawn(maps: NormalMaps, cameras: Cameras) -> UInt8[np.ndarray, "V H W 3"]:
    """Return the maps as images, in each camera's frame."""
    frames = camera_frames(cameras)
    axes = frames.bases[0] * torch.tensor([1.0, 1.0, -1.0])[:, None]  # the third points at the camera
    turned = (axes @ maps.normals.flatten(2)).view_as(maps.normals)
    colours = turned.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    colours[~maps.covered] = torch.tensor(BACKDROP, dtype=torch.uint8)
    return colours.numpy()
