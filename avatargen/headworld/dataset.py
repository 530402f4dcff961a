"""Captioned renders of the closed world: what the prior and the judges are trained on, and tested on.

One seed, one data set; the prior's and the judges' sets differ in seed, cameras and lights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from avatargen.cameras import CENTRE
from avatargen.heads.anny import AnnyHead
from avatargen.headworld.attributes import Attributes, caption, sample
from avatargen.headworld.looks import Look, make_look
from avatargen.priors.view_prompts import view_name
from avatargen.render.base import Renderer
from avatargen.types import Cameras, HeadParameters

SIZE = 128


@dataclass(frozen=True)
class Renders:
    """Images with their captions.

    Attributes:
        images: uint8 (M, 128, 128, 4), colour multiplied with coverage, and coverage.
        captions: of each image, without its view.
        views: of each image, such as ``side view``.
        azimuths: of each image, degrees.
    """

    images: np.ndarray
    captions: list[str]
    views: list[str]
    azimuths: np.ndarray

    def over_backgrounds(self, seed: int, flip: bool = False) -> np.ndarray:
        """The images over plain random backgrounds, uint8 (M, 128, 128, 3), mirrored where `flip`."""
        colours = np.random.default_rng(seed).integers(0, 256, (len(self.images), 1, 1, 3))
        images = self.images[:, :, ::-1] if flip else self.images
        clear = 255 - images[..., 3:].astype(np.uint16)
        return (images[..., :3] + (clear * colours + 127) // 255).clip(0, 255).astype(np.uint8)

    def coverage(self, flip: bool = False) -> np.ndarray:
        """What the head covers, uint8 (M, 128, 128), mirrored where `flip`."""
        return self.images[:, :, ::-1, 3] if flip else self.images[..., 3]

    def prompts(self, seed: int = 0) -> list[str]:
        """Captions with their view, which half of them name."""
        rng = np.random.default_rng(seed)
        named = rng.random(len(self.captions)) < 0.5
        return [f"{c}, {v}" if n else c for c, v, n in zip(self.captions, self.views, named, strict=True)]


def stack(looks: list[Look]) -> tuple[HeadParameters, Float[Tensor, "B N 3"]]:
    """Several looks as one batch."""
    parts = [look.parameters for look in looks]
    names = ("shape", "expression", "joints", "offsets")
    merged = HeadParameters(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
    return merged, torch.stack([look.colours for look in looks])


def random_cameras(batch: int, views: int, rng: np.random.Generator, wide: float = 1.0) -> Cameras:
    """Cameras all around, more of them in front; `wide` scales the range of elevations."""
    front = rng.random((batch, views)) < 0.4
    azimuth = np.where(front, rng.normal(0, 45, (batch, views)), rng.uniform(-180, 180, (batch, views)))
    draws = {
        "azimuth": (azimuth + 180) % 360 - 180,
        "elevation": rng.uniform(-15, 30, (batch, views)) * wide,
        "distance": rng.uniform(1.12, 1.32, (batch, views)),
        "fov": np.full((batch, views), 18.0),
    }
    target = torch.from_numpy(rng.normal(0, 0.006, (batch, views, 3))).float() + torch.tensor(CENTRE)
    return Cameras(**{key: torch.from_numpy(value).float() for key, value in draws.items()}, target=target)


@torch.no_grad()
def photograph(
    renderer: Renderer, vertices: Tensor, colours: Tensor, cameras: Cameras, rng: np.random.Generator,
    clay: bool = False, samples: int = 2,
) -> np.ndarray:  # fmt: skip
    """Lit renders, uint8 (B, V, 128, 128, 4): colour multiplied with coverage, and coverage.

    Lambert with an ambient share of 0.5 to 0.7 and a light from a random upper front direction of the camera.
    """
    batch, views = cameras.fov.shape
    seen = renderer.render(vertices, cameras, SIZE, attributes=colours, samples=samples, gradients=False)
    azimuth = torch.deg2rad(cameras.azimuth + torch.from_numpy(rng.normal(0, 30, (batch, views))).float())
    height = torch.from_numpy(rng.uniform(0.1, 0.9, (batch, views))).float()
    light = F.normalize(torch.stack([azimuth.sin(), height, azimuth.cos()], dim=-1), dim=-1)
    lambert = (seen.normals * light[..., None, None]).sum(2, keepdim=True).clamp(min=0)
    ambient = 0.35 if clay else float(rng.uniform(0.5, 0.7))
    shade = ambient + (1.05 - ambient) * lambert
    albedo = torch.full_like(seen.features, 0.75) if clay else seen.features
    image = torch.cat([seen.coverage * (albedo * shade).clamp(0, 1), seen.coverage], dim=2)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()


def generate(
    head: AnnyHead, renderer: Renderer, heads: int, seed: int, views: int = 4, batch: int = 8,
    clay_share: float = 0.0, held_out: frozenset[Attributes] = frozenset(),
) -> Renders:  # fmt: skip
    """Render `heads` random heads from `views` cameras each; a share of them textureless, captioned by shape."""
    rng = np.random.default_rng(seed)
    images, captions, view_names, azimuths = [], [], [], []
    for _ in track(range(0, heads, batch), description=f"rendering {heads} heads"):
        chosen = [_draw(rng, held_out) for _ in range(batch)]
        parameters, colours = stack([make_look(head, attributes, rng) for attributes in chosen])
        cameras = random_cameras(batch, views, rng)
        clay = bool(rng.random() < clay_share)
        with torch.no_grad():
            vertices = head.vertices(parameters)
        images.append(photograph(renderer, vertices, colours, cameras, rng, clay).reshape(-1, SIZE, SIZE, 4))
        captions += [caption(a.shape_only() if clay else a, not clay) for a in chosen for _ in range(views)]
        azimuths.append(cameras.azimuth.flatten().numpy())
        view_names += [
            view_name(a, e) for a, e in zip(cameras.azimuth.flatten(), cameras.elevation.flatten(), strict=True)
        ]
    return Renders(np.concatenate(images), captions, view_names, np.concatenate(azimuths))


def _draw(rng: np.random.Generator, held_out: frozenset[Attributes]) -> Attributes:
    while (attributes := sample(rng)) in held_out:
        pass
    return attributes


def cached(path: Path, make: type | object) -> Renders:
    """Renders from a file, made and written at the first call."""
    if path.exists():
        data = np.load(path, allow_pickle=False)
        return Renders(
            data["images"], list(map(str, data["captions"])), list(map(str, data["views"])), data["azimuths"]
        )
    renders = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=renders.images, captions=renders.captions, views=renders.views, azimuths=renders.azimuths)
    return renders
