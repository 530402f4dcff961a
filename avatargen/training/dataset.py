"""Make captioned renders of the closed world, which the prior and the judges are trained on.

One recipe makes one data set. The prior's and the judges' differ in seed, cameras and lights, and neither shows a
held-out combination of attributes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.appearance import make_appearance
from avatargen.headworld.landmarks import landmark_vertices
from avatargen.headworld.phrases import worded
from avatargen.priors.view_prompts import VIEW_WORDS, mirrored, named_views
from avatargen.render.base import Renderer
from avatargen.render.geometry import project
from avatargen.training.artifact_cache import Facts, code
from avatargen.training.recipe import Recipe, draw, relatives_of
from avatargen.training.rendering import SIZE, random_cameras, random_lights, render_lit, stack

BATCH = 8
"""Heads that are drawn and rendered together."""
WORDS = VIEW_WORDS["sectors"]
NAMED = 0.85
"""Share of prompts that name the view."""


@dataclass(frozen=True)
class Renders:
    """Images with their captions.

    Attributes:
        images: uint8 (M, SIZE, SIZE, 4), colour multiplied by coverage, and coverage.
        captions: of each image, without its view.
        views: name of each image's view, such as ``45 left view``.
        azimuths: of each image's camera, degrees.
        families: index of each image's family: itself and its relatives.
        landmarks: of each image, in it: (M, K, 2), column and row from -1 to 1.
        displaced: the same in space, metres from where the template has them: (M, K, 3).
    """

    images: np.ndarray
    captions: list[str]
    views: list[str]
    azimuths: np.ndarray
    families: np.ndarray
    landmarks: np.ndarray
    displaced: np.ndarray

    def over_backgrounds(self, seed: int, flip: bool = False) -> np.ndarray:
        """Return the images over plain random backgrounds, one per family: uint8 (M, SIZE, SIZE, 3).

        Args:
            seed: of the backgrounds.
            flip: mirror the images.
        """
        colours = np.random.default_rng(seed).integers(0, 256, (self.families.max() + 1, 1, 1, 3)).astype(np.uint16)
        made = np.empty((*self.images.shape[:3], 3), np.uint8)
        for part in np.array_split(np.arange(len(made)), max(1, len(made) // 256)):  # sums take four times the bytes
            image = self.images[part][:, :, :: -1 if flip else 1]
            clear = 255 - image[..., 3:].astype(np.uint16)
            made[part] = (image[..., :3] + (clear * colours[self.families[part]] + 127) // 255).clip(0, 255)
        return made

    def coverage(self, flip: bool = False) -> np.ndarray:
        """Return how far the head covers each pixel, uint8 (M, SIZE, SIZE), mirrored where `flip`."""
        return self.images[:, :, ::-1, 3] if flip else self.images[..., 3]

    def points(self, flip: bool = False) -> np.ndarray:
        """Return the landmarks in the image, (M, K, 2), mirrored where `flip`."""
        return self.landmarks * np.array((-1 if flip else 1, 1), np.float32)

    def prompts(self, seed: int = 0, flip: bool = False) -> list[str]:
        """Return captions, a NAMED share of them with their view, which is mirrored where `flip`."""
        rng = np.random.default_rng(seed)
        named = rng.random(len(self.captions)) < NAMED
        views = [mirrored(view) for view in self.views] if flip else self.views
        return [f"{c}, {v}" if n else c for c, v, n in zip(self.captions, views, named, strict=True)]


def generate(head: AnnyHead, renderer: Renderer, recipe: Recipe, part: int = 0, parts: int = 1) -> Renders:
    """Render the random heads of a recipe and their relatives, or one of several equal parts of them.

    Args:
        head: the head model.
        renderer: of its topology.
        recipe: of the data set.
        part: which part, from 0.
        parts: number of parts.
    """
    at = landmark_vertices(head)
    template = head.vertices(head.template(1))[:, at]
    firsts = range(0, recipe.heads, BATCH)[part::parts]
    doing = f"rendering {recipe.heads} heads" + (f", part {part + 1} of {parts}" if parts > 1 else "")
    return joined([_shoot(head, renderer, recipe, at, template, first) for first in track(firsts, description=doing)])


def _shoot(head: AnnyHead, renderer: Renderer, recipe: Recipe, at: Tensor, template: Tensor, first: int) -> Renders:
    """Render BATCH heads and their relatives; everything random is keyed by the recipe's seed and `first`."""
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
    images = render_lit(renderer, vertices, colours, cameras, light, clay, ambient)
    return Renders(
        images=images.reshape(-1, SIZE, SIZE, 4),
        captions=[worded(m, rng, not grey) for m, grey in zip(members, clay, strict=True) for _ in range(recipe.views)],
        views=[name for row in named_views(cameras, WORDS) for name in row],
        azimuths=cameras.azimuth.flatten().numpy(),
        families=(recipe.views * (first + repeat[:, None]) + torch.arange(recipe.views)).flatten().numpy(),
        landmarks=(project(vertices[:, at], cameras, 2)[0] - 1).flatten(0, 1).numpy(),
        displaced=(vertices[:, at] - template).numpy().repeat(recipe.views, axis=0),
    )


def joined(parts: list[Renders]) -> Renders:
    """Return several sets as one, family after family."""
    order = np.argsort(np.concatenate([part.families for part in parts]), kind="stable")
    merged = {name: np.concatenate([getattr(part, name) for part in parts])[order] for name in vars(parts[0])}
    return Renders(**{**merged, "captions": merged["captions"].tolist(), "views": merged["views"].tolist()})


def facts_of(recipe: Recipe) -> Facts:
    """Return what the renders of a recipe are made from; the renderer is Warp's."""
    return {"recipe": asdict(recipe), "render code": code("training.dataset", "render.warp")}


def read_renders(path: Path) -> Renders:
    """Return the renders of a file that `write_renders` wrote."""
    data = np.load(path, allow_pickle=False)
    texts = {name: list(map(str, data[name])) for name in ("captions", "views")}
    return Renders(**texts, **{name: data[name] for name in data.files if name not in texts})


def write_renders(path: Path, renders: Renders) -> None:
    """Write renders as NumPy's ``.npz``.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("wb") as file:
        np.savez(file, **vars(renders))
