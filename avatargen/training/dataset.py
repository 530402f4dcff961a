"""Captioned renders of the closed world: what the prior and the judges are trained on.

One recipe, one data set; the prior's and the judges' differ in seed, cameras and lights, and neither shows a
combination of attributes that is held out. Relatives are one individual with other attributes, seen by the same camera
in the same light over the same background: what differs between their images is what differs between their captions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from avatargen.geometry.cameras import CENTRE, FACE
from avatargen.geometry.types import Cameras, HeadParameters
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.appearance import Appearance, make_appearance
from avatargen.headworld.attributes import SHAPE, VALUES, Attributes, may_be_seen, sample_training
from avatargen.headworld.landmarks import landmark_vertices
from avatargen.headworld.phrases import worded
from avatargen.headworld.pools import swaps
from avatargen.priors.view_prompts import VIEW_WORDS, mirrored, named_views
from avatargen.render.base import Renderer
from avatargen.render.geometry import project
from avatargen.training.artifact_cache import Facts, code, kept

SIZE = 128
CLAY, CLAY_AMBIENT = 0.75, 0.35
BATCH = 8
"""Heads that are drawn and rendered together."""
WORDS = VIEW_WORDS["sectors"]
NAMED = 0.85
"""Share of prompts that name the view."""
MISTAKEN = ("age", "sex", "beard", "beard_colour")
"""Attributes that samples of a prior had wrong more often than others, beside those that show in few pixels."""


@dataclass(frozen=True)
class Recipe:
    """What a data set holds.

    Attributes:
        heads, views: how many, and cameras for each.
        relatives: how many more are seen by each head's cameras; see `relatives_of`.
        seed: of everything random.
        clay: share of textureless renders, captioned by shape.
        two_coloured: share of heads, beside the usual ones, with a beard of another colour than their hair.
        front: share of cameras that are normally distributed around the front, deviation 45 degrees; others are
            anywhere.
        fov: range of vertical fields of view, degrees; close: share of close-ups of the face, close_fov: theirs.
        elevation: range, degrees.
        ambient: range of the light that comes from everywhere; 1 is unlit albedo.
    """

    heads: int
    seed: int
    views: int = 2
    relatives: int = 0
    clay: float = 0.0
    two_coloured: float = 0.0
    front: float = 0.4
    fov: tuple[float, float] = (14.0, 17.5)
    close: float = 0.0
    close_fov: tuple[float, float] = (9.0, 13.0)
    elevation: tuple[float, float] = (-15.0, 30.0)
    ambient: tuple[float, float] = (0.5, 1.0)


@dataclass(frozen=True)
class Renders:
    """Images with their captions.

    Attributes:
        images: uint8 (M, 128, 128, 4), colour multiplied with coverage, and coverage.
        captions: of each image, without its view.
        views: of each image, such as ``45 left view``.
        azimuths: of each image, degrees.
        families: of each image, an index that it shares with its relatives alone.
        landmarks: of each image, in it: (M, K, 2), column and row from -1 to 1.
        displaced: the same, metres from where the template has them: (M, K, 3).
    """

    images: np.ndarray
    captions: list[str]
    views: list[str]
    azimuths: np.ndarray
    families: np.ndarray
    landmarks: np.ndarray
    displaced: np.ndarray

    def over_backgrounds(self, seed: int, flip: bool = False) -> np.ndarray:
        """The images over plain random backgrounds, uint8 (M, 128, 128, 3), mirrored where `flip`."""
        colours = np.random.default_rng(seed).integers(0, 256, (self.families.max() + 1, 1, 1, 3)).astype(np.uint16)
        made = np.empty((*self.images.shape[:3], 3), np.uint8)
        for part in np.array_split(np.arange(len(made)), max(1, len(made) // 256)):  # sums take four times the bytes
            image = self.images[part][:, :, :: -1 if flip else 1]
            clear = 255 - image[..., 3:].astype(np.uint16)
            made[part] = (image[..., :3] + (clear * colours[self.families[part]] + 127) // 255).clip(0, 255)
        return made

    def coverage(self, flip: bool = False) -> np.ndarray:
        """What the head covers, uint8 (M, 128, 128), mirrored where `flip`."""
        return self.images[:, :, ::-1, 3] if flip else self.images[..., 3]

    def points(self, flip: bool = False) -> np.ndarray:
        """Landmarks in the image, (M, K, 2), mirrored where `flip`."""
        return self.landmarks * np.array((-1 if flip else 1, 1), np.float32)

    def prompts(self, seed: int = 0, flip: bool = False) -> list[str]:
        """Captions with their view, mirrored where `flip`, which a NAMED share of them names."""
        rng = np.random.default_rng(seed)
        named = rng.random(len(self.captions)) < NAMED
        views = [mirrored(view) for view in self.views] if flip else self.views
        return [f"{c}, {v}" if n else c for c, v, n in zip(self.captions, views, named, strict=True)]


def relatives_of(head: Attributes, count: int, rng: np.random.Generator) -> list[Attributes]:
    """Heads that training may see and that share most of a head's attributes, in turn with

    - another expression, and another feature, which show in few pixels;
    - another age, sex or beard, which are mistaken for each other;
    - the template's shape, as score distillation finds a head when it begins;
    - a third expression, which may be the second again;
    - any other attribute.
    """
    names = (("expression",), ("feature",), MISTAKEN, None, ("expression",), tuple(VALUES))
    made = []
    for kind in (names * count)[:count]:
        options = [plain_shape(head)] if kind is None else swaps(head, rng, 3, names=kind)
        options = [other for other in options if may_be_seen(other)] or swaps(head, rng, 6, names=SHAPE)
        made.append(next((other for other in options if may_be_seen(other)), head))
    return made


def plain_shape(head: Attributes) -> Attributes:
    """The template in a head's colours."""
    return replace(head, **{name: getattr(Attributes, name) for name in SHAPE}).plain()


def stack(appearances: list[Appearance]) -> tuple[HeadParameters, Float[Tensor, "B N 3"]]:
    """Several appearances as one batch."""
    parts = [appearance.parameters for appearance in appearances]
    names = ("shape", "expression", "joints", "offsets")
    merged = HeadParameters(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
    return merged, torch.stack([appearance.colours for appearance in appearances])


def random_cameras(batch: int, views: int, recipe: Recipe, rng: np.random.Generator) -> Cameras:
    """Cameras all around, more of them in front (`Recipe.front`); close-ups appearance at the face."""
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
    """Directions of lights, each from the upper front of a camera."""
    shape = tuple(cameras.azimuth.shape)
    azimuth = torch.deg2rad(cameras.azimuth + torch.from_numpy(rng.normal(0, 30, shape)).float())
    height = torch.from_numpy(rng.uniform(0.1, 0.9, shape)).float()
    return F.normalize(torch.stack([azimuth.sin(), height, azimuth.cos()], dim=-1), dim=-1)


@torch.no_grad()
def photograph(
    renderer: Renderer, vertices: Tensor, colours: Tensor, cameras: Cameras, light: Float[Tensor, "B V 3"],
    clay: np.ndarray, ambient: np.ndarray, samples: int = 2,
) -> np.ndarray:  # fmt: skip
    """Lit renders (Lambert), uint8 (B, V, 128, 128, 4): colour multiplied with coverage, and coverage.

    Args:
        light: see `random_lights`.
        clay: bool (B,), which heads are textureless.
        ambient: (B, V), share of light that comes from everywhere.
    """
    seen = renderer.render(vertices, cameras, SIZE, attributes=colours, samples=samples, gradients=False)
    lambert = (seen.normals * light[..., None, None]).sum(2, keepdim=True).clamp(min=0)
    grey = torch.from_numpy(clay)[:, None, None, None, None]
    share = torch.where(grey, CLAY_AMBIENT, torch.from_numpy(ambient).float()[..., None, None, None])
    albedo = torch.where(grey, CLAY, seen.features)
    lit = share + (1 + 0.1 * (share < 1) - share) * lambert
    image = torch.cat([seen.coverage * (albedo * lit).clamp(0, 1), seen.coverage], dim=2)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()


def generate(head: AnnyHead, renderer: Renderer, recipe: Recipe, part: int = 0, parts: int = 1) -> Renders:
    """Render the random heads of a recipe, and their relatives; or one of several equal parts of them."""
    at = landmark_vertices(head)
    template = head.vertices(head.template(1))[:, at]
    firsts = range(0, recipe.heads, BATCH)[part::parts]
    doing = f"rendering {recipe.heads} heads" + (f", part {part + 1} of {parts}" if parts > 1 else "")
    return joined([_shoot(head, renderer, recipe, at, template, first) for first in track(firsts, description=doing)])


def _shoot(
    head: AnnyHead, renderer: Renderer, recipe: Recipe, at: Tensor, template: Tensor, first: int
) -> Renders:  # fmt: skip
    """Renders of BATCH heads and their relatives; all that is random is keyed by the recipe's seed and `first`."""
    rng = np.random.default_rng((recipe.seed, first))
    drawn = [draw(recipe, rng) for _ in range(BATCH)]
    families = [[own, *relatives_of(own, recipe.relatives, rng)] for own in drawn]
    members = [member for family in families for member in family]
    individuals = rng.integers(2**32, size=BATCH).repeat(1 + recipe.relatives)
    appearances = [
        make_appearance(head, m, np.random.default_rng(k)) for m, k in zip(members, individuals, strict=True)
    ]
    repeat = torch.arange(BATCH).repeat_interleave(1 + recipe.relatives)
    cameras = random_cameras(BATCH, recipe.views, recipe, rng)
    light, cameras = random_lights(cameras, rng)[repeat], cameras[repeat]
    clay = (rng.random(BATCH) < recipe.clay)[repeat]
    ambient = rng.uniform(*recipe.ambient, (BATCH, recipe.views))[repeat]
    parameters, colours = stack(appearances)
    with torch.no_grad():
        vertices = head.vertices(parameters)
    images = photograph(renderer, vertices, colours, cameras, light, clay, ambient)
    return Renders(
        images=images.reshape(-1, SIZE, SIZE, 4),
        captions=[worded(m, rng, not grey) for m, grey in zip(members, clay, strict=True) for _ in range(recipe.views)],
        views=[name for row in named_views(cameras, WORDS) for name in row],
        azimuths=cameras.azimuth.flatten().numpy(),
        families=(recipe.views * (first + repeat[:, None]) + torch.arange(recipe.views)).flatten().numpy(),
        landmarks=(project(vertices[:, at], cameras, 2)[0] - 1).flatten(0, 1).numpy(),
        displaced=(vertices[:, at] - template).numpy().repeat(recipe.views, axis=0),
    )


def draw(recipe: Recipe, rng: np.random.Generator) -> Attributes:
    """A random head that training may see."""
    head = sample_training(rng)
    if recipe.two_coloured and rng.random() < recipe.two_coloured:
        while head.material != "none" or head.beard == "none" or head.beard_colour == head.hair_colour:
            head = sample_training(rng)
    return head


def joined(parts: list[Renders]) -> Renders:
    """Several sets as one, family after family."""
    order = np.argsort(np.concatenate([part.families for part in parts]), kind="stable")
    merged = {name: np.concatenate([getattr(part, name) for part in parts])[order] for name in vars(parts[0])}
    return Renders(**{**merged, "captions": merged["captions"].tolist(), "views": merged["views"].tolist()})


def facts_of(recipe: Recipe) -> Facts:
    """What the renders of a recipe are made from."""
    return {"recipe": asdict(recipe), "render code": code("dataset")}


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
