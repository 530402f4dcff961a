"""Measure how an avatar keeps its prompt under other cameras and lights than those of the protocol.

Every condition shows the exported texture from AZIMUTHS, changing one thing of ``reference``: the protocol's elevation,
distance and frame, unlit.

``elevation 60``     the camera's elevation, degrees
``close-up 2``       the field of view is narrowed until the face is twice as large; the camera looks at the face
``field of view 60`` degrees, at the distance at which a plane through the middle of the head keeps its size: 60 is a
                     face at arm's length, 8 a telephoto lens
``light above``      the material is lit from one side of the head, Lambert-shaded

Shading multiplies the albedo by AMBIENT + (1 - AMBIENT) max(0, n . l) in linear light (IEC 61966-2-1), so that what
faces the light is as in ``reference`` and what turns away keeps a fifth of its light. Nothing casts a shadow.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from avatargen.config.experiment import EvaluationSettings
from avatargen.geometry.cameras import FACE
from avatargen.geometry.types import Cameras, RenderOutput
from avatargen.io.avatar_file import Avatar
from avatargen.io.manifest import Row
from eval.contact_sheet import FAINT, GAP, PAPER, font
from eval.diagnostics.base import Diagnostic, Measured
from eval.images import Images
from eval.views import RenderTools, protocol_cameras, to_bytes

REFERENCE = "reference"
AZIMUTHS = (-45.0, 0.0, 45.0)  # degrees
ELEVATIONS = (-30.0, -10.0, 30.0, 60.0)  # degrees
CLOSE_UPS = (1.5, 2.5)
"""How much larger a close-up shows the face."""
FIELDS = (8.0, 30.0, 60.0)  # degrees
LIGHTS = {
    "front": (0.0, 0.0, 1.0),
    "behind": (0.0, 0.0, -1.0),
    "left": (1.0, 0.0, 0.0),
    "right": (-1.0, 0.0, 0.0),
    "above": (0.0, 1.0, 0.0),
    "below": (0.0, -1.0, 0.0),
}
"""Direction to each light in the head's space; left and right are the subject's."""
AMBIENT = 0.2
COLUMNS, CAPTION = 4, 22
"""Columns of the picture, and pixels for the name under each cell."""


class Robustness(Diagnostic):
    """Shows judges an avatar under other cameras and lights; see the module."""

    def measure(self, avatar: Avatar, row: Row, tools: RenderTools, settings: EvaluationSettings) -> Measured:
        """Render the avatar under each condition; see :meth:`eval.diagnostics.base.Diagnostic.measure`."""
        base = protocol_cameras(avatar, tools, settings, torch.tensor(AZIMUTHS))
        background = torch.tensor(settings.background).view(1, 1, 3, 1, 1)
        reference = _render(avatar, tools, base, settings)
        shown = {REFERENCE: to_bytes(reference.over(background)[0])}
        for name, cameras in camera_conditions(base).items():
            shown[name] = to_bytes(_render(avatar, tools, cameras, settings).over(background)[0])
        for name, direction in LIGHTS.items():
            lit = replace(reference, features=shade(reference.features, reference.normals, direction))
            shown[f"light {name}"] = to_bytes(lit.over(background)[0])
        return Measured(shown=shown, pictures={"conditions": overview(shown)})


def camera_conditions(base: Cameras) -> dict[str, Cameras]:
    """Return the cameras of each condition that changes them.

    Args:
        base: those of ``reference``.

    Example:
        >>> one = torch.ones(1, 1)
        >>> base = Cameras(0 * one, 10 * one, 1.22 * one, 16 * one, torch.zeros(1, 1, 3))
        >>> found = camera_conditions(base)
        >>> round(found["field of view 60"].distance.item(), 3), round(found["close-up 2.5"].fov.item(), 2)
        (0.297, 6.44)
    """
    face = torch.tensor(FACE).expand_as(base.target).contiguous()
    elevations = {f"elevation {value:g}": at_elevation(base, value) for value in ELEVATIONS}
    close_ups = {f"close-up {value:g}": replace(magnified(base, value), target=face) for value in CLOSE_UPS}
    fields = {f"field of view {value:g}": with_field_of_view(base, value) for value in FIELDS}
    return {**elevations, **close_ups, **fields}


def at_elevation(cameras: Cameras, elevation: float) -> Cameras:
    """Return cameras at another elevation, degrees."""
    return replace(cameras, elevation=torch.full_like(cameras.elevation, elevation))


def magnified(cameras: Cameras, factor: float) -> Cameras:
    """Return cameras from the same places whose images are `factor` times as large.

    Example:
        >>> one = torch.ones(1, 1)
        >>> camera = Cameras(0 * one, 0 * one, one, 90 * one, torch.zeros(1, 1, 3))
        >>> round(magnified(camera, math.sqrt(3)).fov.item(), 4)
        60.0
    """
    tangent = torch.tan(torch.deg2rad(cameras.fov) / 2) / factor
    return replace(cameras, fov=torch.rad2deg(2 * torch.atan(tangent)))


def with_field_of_view(cameras: Cameras, fov: float) -> Cameras:
    """Return cameras with another field of view, so far away that what lies at their target keeps its size.

    Args:
        cameras: to change.
        fov: degrees.

    Example:
        >>> one = torch.ones(1, 1)
        >>> camera = Cameras(0 * one, 0 * one, one, 90 * one, torch.zeros(1, 1, 3))
        >>> round(with_field_of_view(camera, 60.0).distance.item(), 4)
        1.7321
    """
    distance = cameras.distance * torch.tan(torch.deg2rad(cameras.fov) / 2) / math.tan(math.radians(fov) / 2)
    return replace(cameras, fov=torch.full_like(cameras.fov, fov), distance=distance)


def shade(
    albedo: Float[Tensor, "B V 3 H W"], normals: Float[Tensor, "B V 3 H W"], direction: tuple[float, float, float]
) -> Float[Tensor, "B V 3 H W"]:
    """Shade an sRGB albedo by an ambient light and a distant one, in linear light.

    Args:
        albedo: RGB in [0, 1].
        normals: of unit length; shorter ones, the means of samples that differ, are made so.
        direction: to the light, of unit length.

    Example:
        >>> albedo, normals = torch.full((1, 1, 3, 1, 1), 0.5), torch.tensor([0.0, 0.6, 0.8]).view(1, 1, 3, 1, 1)
        >>> lit = shade(albedo, normals, (0.0, 0.0, 1.0))
        >>> round((to_linear(lit) / to_linear(albedo)).mean().item(), 3)  # 0.2 + 0.8 * 0.8
        0.84
    """
    unit = normals / normals.norm(dim=2, keepdim=True).clamp_min(1e-6)
    lambert = (unit * torch.tensor(direction).view(1, 1, 3, 1, 1)).sum(dim=2, keepdim=True).clamp_min(0)
    return to_srgb(to_linear(albedo) * (AMBIENT + (1 - AMBIENT) * lambert))


def to_linear(srgb: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return linear light of sRGB values in [0, 1] (IEC 61966-2-1).

    Example:
        >>> [round(value, 4) for value in to_linear(torch.tensor([0.0, 0.04, 0.5, 1.0])).tolist()]
        [0.0, 0.0031, 0.214, 1.0]
    """
    srgb = srgb.clamp(0, 1)
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return sRGB values of linear light in [0, 1] (IEC 61966-2-1); the inverse of :func:`to_linear`.

    Example:
        >>> [round(value, 4) for value in to_srgb(torch.tensor([0.0, 0.0031, 0.214, 1.0])).tolist()]
        [0.0, 0.0401, 0.5, 1.0]
    """
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055)


def overview(shown: dict[str, Images]) -> Image.Image:
    """Draw the middle view of each condition, COLUMNS in a row, with its name below."""
    cell = next(iter(shown.values())).shape[1]
    rows = math.ceil(len(shown) / COLUMNS)
    picture = Image.new("RGB", (COLUMNS * (cell + GAP) - GAP, rows * (cell + CAPTION)), PAPER)
    draw = ImageDraw.Draw(picture)
    for place, (name, views) in enumerate(shown.items()):
        x, y = place % COLUMNS * (cell + GAP), place // COLUMNS * (cell + CAPTION)
        picture.paste(Image.fromarray(np.ascontiguousarray(views[len(views) // 2])), (x, y))
        draw.text((x + cell / 2, y + cell + CAPTION - 7), name, FAINT, font(12), anchor="ms")
    return picture


@torch.no_grad()
def _render(avatar: Avatar, tools: RenderTools, cameras: Cameras, settings: EvaluationSettings) -> RenderOutput:
    """Render the exported texture, with normals."""
    vertices = tools.head.vertices(avatar.parameters())
    texture = avatar.baked_texture[None]
    return tools.renderer.render(
        vertices, cameras, settings.size, texture=texture, samples=settings.samples, gradients=False
    )
