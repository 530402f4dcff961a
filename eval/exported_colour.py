"""Render an exported texture, unlit, on vertices that move."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.types import Cameras
from avatargen.render.base import Renderer
from eval.images import Images
from eval.views import to_bytes


@torch.no_grad()
def exported_colour(
    renderer: Renderer,
    vertices: Float[Tensor, "1 N 3"],
    texture: Float[Tensor, "3 Ht Wt"],
    cameras: Cameras,
    size: int,
    samples: int,
    background: tuple[float, float, float],
) -> Images:
    """Render the RGB texture of one head by all cameras, without the normals that clay needs.

    Args:
        renderer: of the head's topology.
        vertices: posed, metres.
        texture: RGB in [0, 1].
        cameras: V of them.
        size: rows and columns of the images.
        samples: on each side of a pixel.
        background: RGB in [0, 1].
    """
    seen = renderer.render(
        vertices, cameras, size, texture=texture[None], samples=samples, gradients=False, normals=False
    )
    return to_bytes(seen.over(torch.tensor(background).view(1, 1, 3, 1, 1))[0])
