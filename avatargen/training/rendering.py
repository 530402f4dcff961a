"""Render heads as training images show them: random cameras, random lights, Lambert shading."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from avatargen.geometry.cameras import CENTRE, FACE
from avatargen.geometry.types import Cameras, HeadParameters
from avatargen.headworld.appearance import Appearance
from avatargen.render.base import Renderer
from avatargen.training.recipe import Recipe

SIZE = 128
"""Width and height of images, pixels."""
CLAY, CLAY_AMBIENT = 0.75, 0.35
"""Grey level of textureless renders, and their share of light that comes from everywhere."""


def stack(appearances: list[Appearance]) -> tuple[HeadParameters, Float[Tensor, "B N 3"]]:
    """Return the parameters of several appearances as one batch, and their colours."""
    parts = [appearance.parameters for appearance in appearances]
    names = ("shape", "expression", "joints", "offsets")
    merged = HeadParameters(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
    return merged, torch.stack([appearance.colours for appearance in appearances])


def random_cameras(batch: int, views: int, recipe: Recipe, rng: np.random.Generator) -> Cameras:
    """Return (batch, views) cameras all around the head, a share of them in front; close-ups look at the face."""
    shape = (batch, views)
    front = rng.random(shape) < recipe.front
    azimuth = np.where(front, rng.normal(0, 45, shape), rng.uniform(-180, 180, shape))
    close = rng.random(shape) < recipe.close
    draws = {
        "azimuth": (azimuth + 180) % 360 - 180,
        "elevation": rng.uniform(*recipe.elevation, shape),
        "distance": rng.uniform(1.15, 1.25, shape),
        "fov": np.where(close, rng.uniform(*recipe.close_fov, shape), rng.uniform(*recipe.fov, shape)),
    }
    centre = np.where(close[..., None], FACE, np.asarray(CENTRE)) + rng.normal(0, 0.006, (*shape, 3))
    target = torch.from_numpy(centre).float()
    return Cameras(**{key: torch.from_numpy(value).float() for key, value in draws.items()}, target=target)


def random_lights(cameras: Cameras, rng: np.random.Generator) -> Float[Tensor, "B V 3"]:
    """Return unit directions of lights, each from the upper front of a camera."""
    shape = tuple(cameras.azimuth.shape)
    azimuth = torch.deg2rad(cameras.azimuth + torch.from_numpy(rng.normal(0, 30, shape)).float())
    height = torch.from_numpy(rng.uniform(0.1, 0.9, shape)).float()
    return F.normalize(torch.stack([azimuth.sin(), height, azimuth.cos()], dim=-1), dim=-1)


@torch.no_grad()
def render_lit(
    renderer: Renderer,
    vertices: Tensor,
    colours: Tensor,
    cameras: Cameras,
    light: Float[Tensor, "B V 3"],
    clay: np.ndarray,
    ambient: np.ndarray,
    samples: int = 2,
) -> np.ndarray:
    """Return renders under Lambert shading.

    Args:
        renderer: of the head's topology.
        vertices: (B, N, 3), metres.
        colours: of the vertices, (B, N, 3) in [0, 1].
        cameras: (B, V).
        light: unit directions to the lights.
        clay: bool (B,), which heads are textureless.
        ambient: (B, V), share of light that comes from everywhere.
        samples: per pixel and axis.

    Returns:
        uint8 (B, V, SIZE, SIZE, 4): colour multiplied by coverage, and coverage.
    """
    seen = renderer.render(vertices, cameras, SIZE, attributes=colours, samples=samples, gradients=False)
    lambert = (seen.normals * light[..., None, None]).sum(2, keepdim=True).clamp(min=0)
    grey = torch.from_numpy(clay)[:, None, None, None, None]
    share = torch.where(grey, CLAY_AMBIENT, torch.from_numpy(ambient).float()[..., None, None, None])
    albedo = torch.where(grey, CLAY, seen.features)
    lit = share + (1 + 0.1 * (share < 1) - share) * lambert
    image = torch.cat([seen.coverage * (albedo * lit).clamp(0, 1), seen.coverage], dim=2)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()
