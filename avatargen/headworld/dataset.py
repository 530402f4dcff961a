"""Captioned renders of the closed world: what the prior and the judges are trained on.

One recipe, one data set; the prior's and the judges' differ in seed, cameras and lights, and neither shows a
combination of attributes that is held out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from avatargen.cameras import CENTRE, FACE
from avatargen.heads.anny import AnnyHead
from avatargen.headworld.attributes import sample_training
from avatargen.headworld.kept import Facts, code, kept
from avatargen.headworld.landmarks import landmark_vertices
from avatargen.headworld.looks import Look, make_look
from avatargen.headworld.phrases import worded
from avatargen.priors.view_prompts import view_name
from avatargen.render.base import Renderer
from avatargen.render.geometry import project
from avatargen.types import Cameras, HeadParameters

SIZE = 128
CLOSE_FOV = (9.0, 13.0)
CLAY, CLAY_AMBIENT = 0.75, 0.35
MODULES = ("attributes", "dataset", "landmarks", "looks", "paint", "phrases", "volumes")
"""Whose code decides what renders look like and are called."""


@dataclass(frozen=True)
class Recipe:
    """What a data set holds.

    Attributes:
        heads, views: how many, and cameras for each.
        seed: of everything random.
        clay: share of textureless renders, captioned by shape.
        fov: range of vertical fields of view, degrees; close: share of close-ups of the face.
        ambient: range of the light that comes from everywhere; 1 is unlit albedo.
    """

    heads: int
    seed: int
    views: int = 2
    clay: float = 0.0
    fov: tuple[float, float] = (14.0, 17.5)
    close: float = 0.0
    ambient: tuple[float, float] = (0.5, 1.0)


@dataclass(frozen=True)
class Renders:
    """Images with their captions.

    Attributes:
        images: uint8 (M, 128, 128, 4), colour multiplied with coverage, and coverage.
        captions: of each image, without its view.
        views: of each image, such as ``side view``.
        azimuths: of each image, degrees.
        landmarks: of each image, in it: (M, K, 2), column and row from -1 to 1.
        displaced: the same, metres from where the template has them: (M, K, 3).
    """

    images: np.ndarray
    captions: list[str]
    views: list[str]
    azimuths: np.ndarray
    landmarks: np.ndarray
    displaced: np.ndarray

    def over_backgrounds(self, seed: int, flip: bool = False) -> np.ndarray:
        """The images over plain random backgrounds, uint8 (M, 128, 128, 3), mirrored where `flip`."""
        colours = np.random.default_rng(seed).integers(0, 256, (len(self.images), 1, 1, 3)).astype(np.uint16)
        made = np.empty((*self.images.shape[:3], 3), np.uint8)
        for part in np.array_split(np.arange(len(made)), max(1, len(made) // 256)):  # sums take four times the bytes
            image = self.images[part][:, :, :: -1 if flip else 1]
            clear = 255 - image[..., 3:].astype(np.uint16)
            made[part] = (image[..., :3] + (clear * colours[part] + 127) // 255).clip(0, 255)
        return made

    def coverage(self, flip: bool = False) -> np.ndarray:
        """What the head covers, uint8 (M, 128, 128), mirrored where `flip`."""
        return self.images[:, :, ::-1, 3] if flip else self.images[..., 3]

    def points(self, flip: bool = False) -> np.ndarray:
        """Landmarks in the image, (M, K, 2), mirrored where `flip`."""
        return self.landmarks * np.array((-1 if flip else 1, 1), np.float32)

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


def random_cameras(batch: int, views: int, recipe: Recipe, rng: np.random.Generator) -> Cameras:
    """Cameras all around, more of them in front; close-ups look at the face."""
    shape = (batch, views)
    front = rng.random(shape) < 0.4
    azimuth = np.where(front, rng.normal(0, 45, shape), rng.uniform(-180, 180, shape))
    close = rng.random(shape) < recipe.close
    draws = {
        "azimuth": (azimuth + 180) % 360 - 180,
        "elevation": rng.uniform(-15, 30, shape),
        "distance": rng.uniform(1.15, 1.25, shape),
        "fov": np.where(close, rng.uniform(*CLOSE_FOV, shape), rng.uniform(*recipe.fov, shape)),
    }
    centre = np.where(close[..., None], FACE, np.asarray(CENTRE)) + rng.normal(0, 0.006, (*shape, 3))
    target = torch.from_numpy(centre).float()
    return Cameras(**{key: torch.from_numpy(value).float() for key, value in draws.items()}, target=target)


@torch.no_grad()
def photograph(
    renderer: Renderer, vertices: Tensor, colours: Tensor, cameras: Cameras, rng: np.random.Generator,
    clay: np.ndarray, ambient: np.ndarray, samples: int = 2,
) -> np.ndarray:  # fmt: skip
    """Lit renders, uint8 (B, V, 128, 128, 4): colour multiplied with coverage, and coverage.

    Lambert, with a light from a random upper front direction of the camera.

    Args:
        clay: bool (B,), which heads are textureless.
        ambient: (B, V), share of light that comes from everywhere.
    """
    seen = renderer.render(vertices, cameras, SIZE, attributes=colours, samples=samples, gradients=False)
    azimuth = torch.deg2rad(cameras.azimuth + torch.from_numpy(rng.normal(0, 30, ambient.shape)).float())
    height = torch.from_numpy(rng.uniform(0.1, 0.9, ambient.shape)).float()
    light = F.normalize(torch.stack([azimuth.sin(), height, azimuth.cos()], dim=-1), dim=-1)
    lambert = (seen.normals * light[..., None, None]).sum(2, keepdim=True).clamp(min=0)
    grey = torch.from_numpy(clay)[:, None, None, None, None]
    share = torch.where(grey, CLAY_AMBIENT, torch.from_numpy(ambient).float()[..., None, None, None])
    albedo = torch.where(grey, CLAY, seen.features)
    lit = share + (1 + 0.1 * (share < 1) - share) * lambert
    image = torch.cat([seen.coverage * (albedo * lit).clamp(0, 1), seen.coverage], dim=2)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()


def generate(head: AnnyHead, renderer: Renderer, recipe: Recipe, batch: int = 8) -> Renders:
    """Render the random heads of a recipe."""
    rng = np.random.default_rng(recipe.seed)
    at = landmark_vertices(head)
    template = head.vertices(head.template(1))[:, at]
    images, captions, view_names, azimuths, landmarks, displaced = [], [], [], [], [], []
    for _ in track(range(0, recipe.heads, batch), description=f"rendering {recipe.heads} heads"):
        chosen = [sample_training(rng) for _ in range(batch)]
        parameters, colours = stack([make_look(head, attributes, rng) for attributes in chosen])
        cameras = random_cameras(batch, recipe.views, recipe, rng)
        clay = rng.random(batch) < recipe.clay
        ambient = rng.uniform(*recipe.ambient, (batch, recipe.views))
        with torch.no_grad():
            vertices = head.vertices(parameters)
        images.append(photograph(renderer, vertices, colours, cameras, rng, clay, ambient).reshape(-1, SIZE, SIZE, 4))
        for attributes, grey in zip(chosen, clay, strict=True):
            for _ in range(recipe.views):
                captions.append(worded(attributes, rng, not grey))
        azimuths.append(cameras.azimuth.flatten().numpy())
        view_names += [
            view_name(a, e) for a, e in zip(cameras.azimuth.flatten(), cameras.elevation.flatten(), strict=True)
        ]
        landmarks.append((project(vertices[:, at], cameras, 2)[0] - 1).flatten(0, 1).numpy())
        displaced.append((vertices[:, at] - template).numpy().repeat(recipe.views, axis=0))
    arrays = (np.concatenate(parts) for parts in (azimuths, landmarks, displaced))
    return Renders(np.concatenate(images), captions, view_names, *arrays)


def facts_of(recipe: Recipe) -> Facts:
    """What the renders of a recipe are made from."""
    return {"recipe": asdict(recipe), "render code": code(*MODULES)}


def cached(path: Path, recipe: Recipe, make: Callable[[Recipe], Renders]) -> Renders:
    """Renders of a recipe from a file, made and written where it does not hold them; see `kept`."""
    return kept(path, facts_of(recipe), lambda: make(recipe), _read, _write)


def _read(path: Path) -> Renders:
    data = np.load(path, allow_pickle=False)
    texts = {name: list(map(str, data[name])) for name in ("captions", "views")}
    return Renders(**texts, **{name: data[name] for name in data.files if name not in texts})


def _write(path: Path, renders: Renders) -> None:
    with path.open("wb") as file:
        np.savez(file, **vars(renders))
