"""Choose the heads of a training set: the recipe, random heads that training may see, and their relatives.

Relatives are one individual with other attributes, seen by the same camera in the same light over the same background:
what differs between their images is what differs between their captions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from avatargen.headworld.attributes import SHAPE, VALUES, Attributes, may_be_seen, sample_training
from avatargen.headworld.pools import swaps

MISTAKEN = ("age", "sex", "beard", "beard_colour")
"""Attributes that the prior's samples show wrongly more often than others, beside those that cover few pixels."""


@dataclass(frozen=True)
class Recipe:
    """What a data set holds.

    Attributes:
        heads: number of heads.
        seed: of everything random.
        views: cameras per head.
        relatives: relatives of each head, seen by its cameras; see `relatives_of`.
        clay: share of textureless renders, whose captions name shape only.
        two_coloured: share of heads that must have a beard of another colour than their hair, beside those that
            happen to.
        front: share of cameras whose azimuth is normal around the front, deviation 45 degrees; others are anywhere.
        fov: range of vertical fields of view, degrees.
        close: share of close-ups of the face.
        close_fov: range of the close-ups' fields of view, degrees.
        elevation: range, degrees.
        ambient: range of the share of light that comes from everywhere; 1 is unlit albedo.
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


def draw(recipe: Recipe, rng: np.random.Generator) -> Attributes:
    """Return a random head that training may see.

    Example:
        >>> head = draw(Recipe(heads=1, seed=0, two_coloured=1.0), np.random.default_rng(0))
        >>> head.beard != "none" and head.beard_colour != head.hair_colour
        True
    """
    head = sample_training(rng)
    if recipe.two_coloured and rng.random() < recipe.two_coloured:
        while head.material != "none" or head.beard == "none" or head.beard_colour == head.hair_colour:
            head = sample_training(rng)
    return head


def relatives_of(head: Attributes, count: int, rng: np.random.Generator) -> list[Attributes]:
    """Return heads that training may see and that share most attributes of `head`.

    They have, in turn,

    - another expression, and another feature, which cover few pixels;
    - another age, sex or beard, which are mistaken for each other;
    - the template's shape, as score distillation finds a head when it begins;
    - another expression again, perhaps the same;
    - any other attribute.

    Where training may see no such head, another attribute of shape differs; where it may see none of those, none does.
    """
    names = (("expression",), ("feature",), MISTAKEN, None, ("expression",), tuple(VALUES))
    made = []
    for kind in (names * count)[:count]:
        options = [plain_shape(head)] if kind is None else swaps(head, rng, 3, names=kind)
        options = [other for other in options if may_be_seen(other)] or swaps(head, rng, 6, names=SHAPE)
        made.append(next((other for other in options if may_be_seen(other)), head))
    return made


def plain_shape(head: Attributes) -> Attributes:
    """Return the template's shape in a head's colours.

    Example:
        >>> plain_shape(Attributes(skin="green", feature="horns")) == Attributes(skin="green")
        True
    """
    return replace(head, **{name: getattr(Attributes, name) for name in SHAPE}).plain()
