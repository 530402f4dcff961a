"""Render the fixed images that an avatar is judged by; :mod:`eval.images` defines what they show.

Everything that a judge sees is rendered, encoded and decoded in float32 on every machine. Only the prior's UNet, which
the diagnosis asks, keeps the format that is fastest on its device.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.plugins import HEADS, RENDERERS, load_class
from avatargen.config.settings import PriorSettings
from avatargen.geometry.cameras import evaluation_cameras
from avatargen.geometry.types import Cameras
from avatargen.heads.base import HeadModel
from avatargen.heads.mesh_head import MeshHead
from avatargen.io.avatar_file import Avatar
from avatargen.priors.base import Prior, flat_latents, load_prior
from avatargen.render.base import Renderer
from eval.face_fit import FaceFitted
from eval.frame import framed
from eval.frame_renderer import FrameRenderer, without_surface
from eval.images import ALBEDO, AMBIENT, DIFFUSE, LIGHT_OFFSET, Images

CHUNK = 8
"""Views that are rendered together; bounds memory."""
ENCODED = 4
"""Images that are encoded together: on a CPU a sample takes longer in a larger batch, on a GPU it bounds memory."""


@dataclass(frozen=True)
class RenderTools:
    """Head model, renderer and prior that turn avatars into images; loaded once for all avatars.

    Attributes:
        head: on the CPU, as avatar files are, so that scores do not depend on the device.
        renderer: of the head's topology, on the CPU too.
        prior: on any device; decodes and encodes in float32.
        prior_settings: size and samples of the latent render. They are the experiment's, so that a method with
            settings of its own is shown like the others.
        head_name, renderer_name: what `head` and `renderer` go by in :mod:`avatargen.config.plugins`; for protocols.
    """

    head: HeadModel
    renderer: Renderer
    prior: Prior
    prior_settings: PriorSettings
    head_name: str
    renderer_name: str

    @classmethod
    def load(cls, head_name: str, renderer_name: str, prior_settings: PriorSettings, root: Path) -> RenderTools:
        """Load head, renderer and prior.

        Args:
            head_name, renderer_name: names in :mod:`avatargen.config.plugins`.
            prior_settings: of the prior.
            root: what the prior's folder is relative to.

        Raises:
            InputError: a name is unknown, or weights are missing.
        """
        head = load_class("head", head_name, HEADS).load()
        renderer = load_class("renderer", renderer_name, RENDERERS)(head.topology)
        prior = load_prior(prior_settings, root, exact=True)
        return cls(head, renderer, prior, prior_settings, head_name, renderer_name)

    def fitting(self, avatar: Avatar, fit: Literal["metric", "face"] = "metric") -> RenderTools:
        """Return tools for an avatar: these, or for one of another system, ones with its mesh or its views.

        Args:
            avatar: to show.
            fit: as large as it is, or with eyes and chin at the template's; a mesh's size is decided where it is read.
        """
        if avatar.topology is None:
            return self if fit == "metric" else replace(self, head=FaceFitted(self.head, avatar.shape))
        if avatar.frames is not None:
            renderer = FrameRenderer(avatar.frames, avatar.topology)
        else:
            renderer = type(self.renderer)(avatar.topology, avatar.offsets)
        return replace(self, head=MeshHead(avatar.topology), renderer=renderer)


@torch.no_grad()
def render_views(
    avatar: Avatar, tools: RenderTools, settings: EvaluationSettings, decoded: Float[Tensor, "V 3 h w"]
) -> dict[str, Images]:
    """Render the images of the protocol.

    Args:
        avatar, tools, settings: what is rendered, with what and how.
        decoded: `decode_views` of the avatar by the protocol's cameras, which the contact sheet shows too.

    Returns:
        An array of images for each of :data:`eval.images.KINDS`.
    """
    cameras = protocol_cameras(avatar, tools, settings)
    baked, geometry = colour_and_clay(avatar, tools, cameras, settings.size, settings.samples, settings.background)
    return {"texture": neural_colour(decoded, settings.size), "baked": baked, "geometry": geometry}


def protocol_cameras(
    avatar: Avatar, tools: RenderTools, settings: EvaluationSettings, azimuths: Float[Tensor, " V"] | None = None
) -> Cameras:
    """Return the cameras of the protocol for one avatar, whose frame holds all of it where it can.

    Args:
        avatar, tools, settings: what is rendered, with what and how.
        azimuths: degrees, instead of the protocol's.
    """
    narrow = least_cameras(settings, settings.views if azimuths is None else len(azimuths))
    cameras = narrow if azimuths is None else replace(narrow, azimuth=azimuths[None])
    return framed(cameras, tools.head.vertices(avatar.parameters()), settings.widest_fov)


def least_cameras(settings: EvaluationSettings, views: int) -> Cameras:
    """Return cameras at even azimuths with the least field of view, for one head."""
    target = (0.0, settings.target_height, 0.0)
    return evaluation_cameras(1, views, settings.elevation, settings.distance, settings.fov, target=target)


@torch.no_grad()
def colour_and_clay(
    avatar: Avatar,
    tools: RenderTools,
    cameras: Cameras,
    size: int,
    samples: int,
    background: tuple[float, float, float],
) -> tuple[Images, Images]:
    """Render the baked texture and the clay of one avatar, `CHUNK` views at a time; rendered views have no clay.

    Args:
        avatar, tools, cameras: what is rendered.
        size: rows and columns of the images.
        samples: on each side of a pixel.
        background: RGB in [0, 1].

    Returns:
        Colour images and clay images, each (V, size, size, 3).
    """
    vertices = tools.head.vertices(avatar.parameters())
    backdrop = torch.tensor(background).view(1, 1, 3, 1, 1)
    colours, clays = [], []
    for start in range(0, cameras.azimuth.shape[1], CHUNK):
        some = some_views(cameras, slice(start, start + CHUNK))
        output = tools.renderer.render(
            vertices, some, size, texture=avatar.baked_texture[None], samples=samples, gradients=False
        )
        colours.append(to_bytes(output.over(backdrop)[0]))
        clay = shade_clay(output.normals, some)
        clays.append(to_bytes((output.coverage * clay + (1 - output.coverage) * backdrop)[0]))
    shown = np.concatenate(colours)
    return shown, np.concatenate(clays) if avatar.frames is None else without_surface(len(shown), size, background)


@torch.no_grad()
def decode_views(
    avatar: Avatar, tools: RenderTools, cameras: Cameras, background: tuple[float, float, float]
) -> Float[Tensor, "V 3 h w"]:
    """Decode an avatar's latent renders to RGB in [0, 1], on the prior's device."""
    return tools.prior.decode(neural_latents(avatar, tools, cameras, background))


def neural_colour(decoded: Float[Tensor, "V 3 h w"], size: int) -> Images:
    """Resize decoded views to the size of the protocol's images."""
    return to_bytes(interpolate(decoded, size=(size, size), mode="bicubic", antialias=True))


@torch.no_grad()
def neural_latents(
    avatar: Avatar, tools: RenderTools, cameras: Cameras, background: tuple[float, float, float]
) -> Float[Tensor, "V C h w"]:
    """Render an avatar's latent texture over the latents of a background, as score distillation sees it.

    An avatar without a latent texture (the ground-truth head, the template) is rendered with its RGB texture and
    encoded: its score then includes the autoencoder's losses and bounds what a method can reach. The latents are on
    the prior's device.
    """
    prior = tools.prior_settings
    if avatar.latent_texture is None:
        size = prior.latent_size * tools.prior.downscale
        shown = colour_and_clay(avatar, tools, cameras, size, prior.samples, background)[0]
        images = torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 255
        return torch.cat([tools.prior.encode(part) for part in images.split(ENCODED)])
    backdrop = flat_latents(tools.prior, torch.tensor([background]))[None, :, :, None, None]
    seen = tools.renderer.render(
        tools.head.vertices(avatar.parameters()),
        cameras,
        prior.latent_size,
        texture=avatar.latent_texture[None],
        samples=prior.samples,
        gradients=False,
    )
    features, coverage = seen.features.to(backdrop.device), seen.coverage.to(backdrop.device)
    return replace(seen, features=features, coverage=coverage).over(backdrop)[0]


def shade_clay(normals: Float[Tensor, "B V 3 H W"], cameras: Cameras) -> Float[Tensor, "B V 3 H W"]:
    """Shade world-space normals as grey clay, by the light that moves with each camera; see :mod:`eval.images`."""
    azimuth = torch.deg2rad(cameras.azimuth + LIGHT_OFFSET[0])
    elevation = torch.deg2rad((cameras.elevation + LIGHT_OFFSET[1]).clamp(-89, 89))
    sideways, up, forward = azimuth.sin() * elevation.cos(), elevation.sin(), azimuth.cos() * elevation.cos()
    light = torch.stack((sideways, up, forward), dim=-1)[..., None, None]
    lambert = (normals * light).sum(dim=2, keepdim=True).clamp_min(0)
    return (ALBEDO * (AMBIENT + DIFFUSE * lambert)).expand_as(normals)


def to_bytes(images: Float[Tensor, "V 3 H W"]) -> Images:
    """Convert RGB in [0, 1], channels first, to 8 bits, channels last.

    Example:
        >>> to_bytes(torch.tensor([0.0, 0.5, 1.2]).view(1, 3, 1, 1)).tolist()
        [[[[0, 128, 255]]]]
    """
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def some_views(cameras: Cameras, which: slice) -> Cameras:
    """Return cameras with only some of the views."""
    return Cameras(*(getattr(cameras, field.name)[:, which] for field in fields(cameras)))
