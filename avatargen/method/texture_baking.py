"""Bake a latent texture to RGB: decode renders from fixed views and project them back onto the surface."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from avatargen.config.settings import CameraSettings, PriorSettings
from avatargen.geometry.cameras import CENTRE, usual_framing
from avatargen.geometry.normals import area_normals
from avatargen.geometry.types import Cameras
from avatargen.priors.base import Prior, flat_latents
from avatargen.render.base import Renderer
from avatargen.render.geometry import camera_frames, project
from avatargen.render.texel_map import TexelMap, nearest_indices

SIZE = 512
"""Rows and columns of the baked texture."""
POWER = 4.0
"""Exponent of the cosine between normal and view direction: grazing views smear, so they get little weight."""
DEPTH_SLACK = 0.004
"""Largest distance behind the depth that its pixel shows at which a texel counts as visible, metres."""


def bake_cameras(ranges: CameraSettings, device: torch.device | str = "cpu") -> Cameras:
    """Return fourteen views, (1, 14): eight around, four from above, two from below the front.

    Args:
        ranges: the prior's camera ranges; distance and field of view are their middles.
        device: of the cameras.

    Example:
        >>> bake_cameras(CameraSettings()).azimuth.shape
        torch.Size([1, 14])
    """
    places = (
        [(a, 5.0) for a in range(0, 360, 45)] + [(a, 45.0) for a in (0, 90, 180, 270)] + [(-30, -25.0), (30, -25.0)]
    )
    azimuth, elevation = torch.tensor(places, dtype=torch.float32, device=device).T[:, None]
    full = torch.ones_like(azimuth)
    target = torch.tensor(CENTRE, device=device).expand(1, len(places), 3)
    distance, fov = usual_framing(ranges)
    return Cameras(azimuth, elevation, distance * full, fov * full, target)


@torch.no_grad()
def bake(
    renderer: Renderer,
    prior: Prior,
    texel_map: TexelMap,
    faces: Int[Tensor, "F 3"],
    vertices: Float[Tensor, "1 N 3"],
    latent_texture: Float[Tensor, "C Ht Wt"],
    settings: PriorSettings,
) -> Float[Tensor, "3 H W"]:
    """Return the RGB texture, in [0, 1], that reproduces the decoded renders of a latent texture.

    A texel is the mean of the views that see it, weighted by a power of the cosine of incidence. A texel that no view
    sees takes the colour of the nearest texel that is seen.

    Args:
        renderer: renders the head.
        prior: decodes.
        texel_map: of the head's topology; its size is the texture's.
        faces: of the head.
        vertices: of the head, metres.
        latent_texture: in the prior's latent space.
        settings: the prior's cameras, size and samples of its latents.
    """
    cameras = bake_cameras(settings.cameras, vertices.device)
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
    points = texel_map.gather(vertices[0])
    normals = F.normalize(texel_map.gather(area_normals(vertices[0], faces)), dim=-1)
    colours, weights = _project(renderer, images, points, normals, vertices, cameras)
    total = weights.sum(0)
    mean = (colours * weights[..., None]).sum(0) / total.clamp(min=1e-8)[:, None]
    return _fill_unseen(mean, total > 1e-3, texel_map)


def _project(
    renderer: Renderer, images: Tensor, points: Tensor, normals: Tensor, vertices: Tensor, cameras: Cameras
) -> tuple[Float[Tensor, "V K 3"], Float[Tensor, "V K"]]:
    """Return the colour of each of K surface points in each view, and its weight, which is 0 where it is hidden."""
    size = images.shape[-1]
    pixels, depth = project(points[None], cameras, size)
    grid = (pixels[0] / size * 2 - 1)[:, None]
    colours = F.grid_sample(images, grid, align_corners=False)[:, :, 0].transpose(1, 2)
    shown = renderer.render(vertices, cameras, 2 * size, normals=False, gradients=False).depth[0]
    nearest = F.grid_sample(shown, grid, mode="nearest", align_corners=False)[:, 0, 0]
    visible = (depth[0] < nearest + DEPTH_SLACK) & (nearest > 0)
    towards = F.normalize(camera_frames(cameras).positions[0][:, None] - points, dim=-1)
    cosine = (towards * normals).sum(-1).clamp(min=0)
    return colours, cosine**POWER * visible


def _fill_unseen(
    values: Float[Tensor, "K 3"], known: Bool[Tensor, " K"], texel_map: TexelMap
) -> Float[Tensor, "3 H W"]:
    """Return a texture in which texels that are not known take the value of the nearest known texel."""
    mask = torch.zeros_like(texel_map.covered)
    mask[texel_map.covered] = known
    image = texel_map.to_image(values)
    return image.flatten(1)[:, nearest_indices(mask).flatten()].reshape(image.shape)
