"""The fixed images an avatar is judged by.

Three kinds, all (V, H, W, 3), 8-bit RGB, row 0 at the top, over the protocol's background:

neural    the latent texture rendered at the prior's latent size, over the latents of the background, and
          decoded (what score distillation saw); the baked colours where the avatar has no latent texture
baked     the baked RGB texture, unlit: what the exported asset shows
geometry  clay: the same mesh without texture, one fixed light that moves with the camera

Clay is Lambert-shaded, grey AMBIENT + DIFFUSE * max(0, n . l), with the light LIGHT_OFFSET degrees to the left of
and above the camera: right behind the camera it would flatten the features that this track is about.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from avatargen.cameras import evaluation_cameras
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from avatargen.avatar_file import Avatar
from avatargen.config import EvaluationSettings
from avatargen.heads.base import HeadModel
from avatargen.plugins import HEADS, RENDERERS, load_class
from avatargen.priors.base import Prior, load_prior
from avatargen.render.base import Renderer
from avatargen.settings import PriorSettings
from avatargen.types import Cameras

AMBIENT = 0.25
DIFFUSE = 0.70
LIGHT_OFFSET = (-25.0, 25.0)  # degrees of azimuth and elevation, relative to the camera
KINDS = ("texture", "baked", "geometry")

Images = UInt8[np.ndarray, "V H W 3"]


@dataclass(frozen=True)
class RenderTools:
    """What it takes to turn an avatar into images; load once, use for all avatars.

    Attributes:
        head, renderer, prior: see their base classes; `renderer` renders the head's topology.
        prior_settings: size and samples of the latent render, as the prior saw it during generation.
    """

    head: HeadModel
    renderer: Renderer
    prior: Prior
    prior_settings: PriorSettings

    @classmethod
    def load(cls, head_name: str, renderer_name: str, prior_settings: PriorSettings) -> RenderTools:
        """Load head, renderer and prior by their configured names.

        Raises:
            InputError: an unknown name, or weights that are missing.
        """
        head = load_class("head", head_name, HEADS).load()
        renderer = load_class("renderer", renderer_name, RENDERERS)(head.topology)
        return cls(head, renderer, load_prior(prior_settings), prior_settings)


def view_protocol(settings: EvaluationSettings, prior: PriorSettings) -> dict[str, Any]:
    """What decides how an avatar is shown to a judge, JSON-ready; a part of every score's protocol."""
    facts = settings.model_dump(mode="json", include={"views", "elevation", "size", "samples", "background"})
    shading = {"ambient": AMBIENT, "diffuse": DIFFUSE, "light_offset": list(LIGHT_OFFSET)}
    latents = {"size": prior.latent_size, "samples": prior.samples}
    return {**facts, "shading": shading, "latents": latents, "colour": "unlit"}


@torch.no_grad()
def render_views(avatar: Avatar, tools: RenderTools, settings: EvaluationSettings) -> dict[str, Images]:
    """The images of the protocol, one array for each of KINDS."""
    cameras = evaluation_cameras(1, views=settings.views, elevation=settings.elevation)
    baked, geometry = colour_and_clay(
        avatar, tools, cameras, settings.size, settings.samples, settings.background
    )
    texture = neural_colour(avatar, tools, cameras, settings.size, settings.background)
    return {"texture": baked if texture is None else texture, "baked": baked, "geometry": geometry}


@torch.no_grad()
def colour_and_clay(
    avatar: Avatar,
    tools: RenderTools,
    cameras: Cameras,
    size: int,
    samples: int,
    background: tuple[float, float, float],
    chunk: int = 8,
) -> tuple[Images, Images]:
    """The baked texture and the clay of one avatar, by one render of each view; `chunk` views at a time."""
    vertices = tools.head.vertices(avatar.parameters())
    backdrop = torch.tensor(background).view(1, 1, 3, 1, 1)
    colours, clays = [], []
    for start in range(0, cameras.azimuth.shape[1], chunk):
        some = _views(cameras, slice(start, start + chunk))
        output = tools.renderer.render(
            vertices, some, size, texture=avatar.baked_texture[None], samples=samples, gradients=False
        )
        colours.append(to_bytes(output.over(backdrop)[0]))
        clay = shade_clay(output.normals, some)
        clays.append(to_bytes((output.coverage * clay + (1 - output.coverage) * backdrop)[0]))
    return np.concatenate(colours), np.concatenate(clays)


@torch.no_grad()
def neural_colour(
    avatar: Avatar, tools: RenderTools, cameras: Cameras, size: int, background: tuple[float, float, float]
) -> Images | None:
    """The latent texture rendered, decoded and resized; None where the avatar has none."""
    if avatar.latent_texture is None:
        return None
    prior = tools.prior_settings
    pixels = prior.latent_size * tools.prior.downscale
    backdrop = torch.tensor(background).view(1, 3, 1, 1).expand(1, 3, pixels, pixels)
    latents = tools.renderer.render(
        tools.head.vertices(avatar.parameters()),
        cameras,
        prior.latent_size,
        texture=avatar.latent_texture[None],
        samples=prior.samples,
        gradients=False,
    ).over(tools.prior.encode(backdrop.contiguous())[:, None])
    decoded = tools.prior.decode(latents[0])
    return to_bytes(interpolate(decoded, size=(size, size), mode="bicubic", antialias=True))


def shade_clay(normals: Float[Tensor, "B V 3 H W"], cameras: Cameras) -> Float[Tensor, "B V 3 H W"]:
    """Grey Lambert shading of world-space normals by the light that goes with each camera."""
    azimuth = torch.deg2rad(cameras.azimuth + LIGHT_OFFSET[0])
    elevation = torch.deg2rad((cameras.elevation + LIGHT_OFFSET[1]).clamp(-89, 89))
    sideways, up, forward = azimuth.sin() * elevation.cos(), elevation.sin(), azimuth.cos() * elevation.cos()
    light = torch.stack((sideways, up, forward), dim=-1)[..., None, None]
    lambert = (normals * light).sum(dim=2, keepdim=True).clamp_min(0)
    return (AMBIENT + DIFFUSE * lambert).expand_as(normals)


def to_bytes(images: Float[Tensor, "V 3 H W"]) -> Images:
    """RGB in [0, 1], channels first, to 8 bits, channels last."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _views(cameras: Cameras, which: slice) -> Cameras:
    return Cameras(*(getattr(cameras, field.name)[:, which] for field in fields(cameras)))
