"""Bake a latent texture to RGB: decode renders from fixed views and project them back onto the surface."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.settings import PriorSettings
from avatargen.geometry.cameras import usual_framing
from avatargen.geometry.types import Cameras
from avatargen.method.projection import build_projection
from avatargen.priors.base import Prior, flat_latents
from avatargen.render.base import Renderer
from avatargen.render.texel_map import TexelMap

SIZE = 512
"""Rows and columns of the baked texture."""
CORRECTIONS = 2
"""Corrections of a texture that is baked with close-ups: each sharpens, and brings out where views disagree."""


@torch.no_grad()
def bake(
    renderer: Renderer,
    prior: Prior,
    texel_map: TexelMap,
    faces: Int[Tensor, "F 3"],
    vertices: Float[Tensor, "1 N 3"],
    latent_texture: Float[Tensor, "C Ht Wt"],
    settings: PriorSettings,
    cameras: Cameras,
    corrections: int = 0,
) -> Float[Tensor, "3 H W"]:
    """Return the RGB texture, in [0, 1], that reproduces the decoded renders of a latent texture.

    A texel is the mean of the views that see it, weighted by their incidence and magnification. A texel that no view
    sees takes the colour of the nearest texel that is seen.

    Args:
        renderer: renders the head.
        prior: decodes.
        texel_map: of the head's topology; its size is the texture's.
        faces: of the head.
        vertices: of the head, metres.
        latent_texture: in the prior's latent space.
        settings: the prior's cameras, size and samples of its latents.
        cameras: (1, V).
        corrections: of the mean by what its renders lack, see `avatargen.method.projection`.
    """
    grey = torch.full((1, 3), 0.5, device=vertices.device)
    background = flat_latents(prior, grey)[:, None, :, None, None]
    seen = renderer.render(
        vertices,
        cameras,
        settings.latent_size,
        texture=latent_texture[None],
        samples=settings.samples,
        normals=False,
        gradients=False,
    )
    images = prior.decode(seen.over(background.expand(-1, cameras.fov.shape[1], -1, -1, -1))[0])
    fov = usual_framing(settings.cameras)[1]
    projection = build_projection(renderer, texel_map, faces, vertices, cameras, fov, 2 * images.shape[-1])
    texture = projection.mean(images)
    for _ in range(corrections):
        texture = projection.corrected(texture, images, settings.samples).clamp(0, 1)
    return texture
