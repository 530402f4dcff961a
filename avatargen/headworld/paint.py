"""Paint the albedo of a head's vertices, layer over layer: skin or material, lips, brows, hair, face paint, eyes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.attributes import Attributes
from avatargen.headworld.volumes import curtain, ramp, strip, template_points

Colour = tuple[float, float, float]
"""RGB in [0, 1]."""
Layer = tuple[Tensor, Tensor]
"""A mask (N,) in [0, 1], and a colour (3,) or (N, 3)."""
SKIN: dict[str, Colour] = {
    "tan": (0.82, 0.60, 0.46),
    "pale": (0.95, 0.83, 0.76),
    "brown": (0.55, 0.36, 0.25),
    "dark": (0.28, 0.18, 0.14),
    "green": (0.32, 0.62, 0.28),
    "blue": (0.30, 0.46, 0.82),
    "red": (0.80, 0.20, 0.18),
    "purple": (0.56, 0.32, 0.68),
    "golden": (0.88, 0.68, 0.18),
    "grey": (0.55, 0.56, 0.58),
}
MATERIAL: dict[str, Colour] = {"stone": (0.60, 0.60, 0.57), "gold": (0.86, 0.64, 0.16), "clay": (0.70, 0.40, 0.27)}
HAIR: dict[str, Colour] = {
    "brown": (0.30, 0.18, 0.10),
    "black": (0.06, 0.05, 0.06),
    "blond": (0.90, 0.76, 0.42),
    "ginger": (0.78, 0.34, 0.10),
    "white": (0.93, 0.93, 0.92),
    "pink": (0.95, 0.45, 0.70),
    "blue": (0.15, 0.25, 0.75),
    "green": (0.12, 0.50, 0.20),
}
IRIS: dict[str, Colour] = {
    "brown": (0.26, 0.15, 0.07),
    "blue": (0.15, 0.45, 0.90),
    "green": (0.15, 0.65, 0.25),
    "red": (0.85, 0.05, 0.02),
}
LIPS, LIPSTICK = (0.70, 0.22, 0.24), (0.82, 0.02, 0.08)
WHITE, BLACK, RED, BLUE = (0.96, 0.95, 0.94), (0.04, 0.04, 0.05), (0.88, 0.06, 0.06), (0.12, 0.30, 0.85)
JITTER = 0.04
"""Standard deviation of skin, hair and material colours between individuals."""


def paint(head: AnnyHead, attributes: Attributes, rng: np.random.Generator | None = None) -> Float[Tensor, "N 3"]:
    """Return the albedo of each vertex, RGB in [0, 1].

    Args:
        head: the head model.
        attributes: of the head.
        rng: draws an individual's skin, hair or material colours; None for those of the tables.
    """

    def tone(colour: Colour) -> Tensor:
        noise = 0.0 if rng is None else torch.from_numpy(rng.normal(0, JITTER, 3)).float()
        return (torch.tensor(colour) + noise).clamp(0, 1)

    layers = _statue if attributes.material != "none" else _person
    colours = torch.zeros(len(head.region_weights["skin"]), 3)
    for mask, colour in layers(head, attributes, tone):
        colours = torch.lerp(colours, colour.expand_as(colours), mask[:, None])
    return colours.clamp(0, 1)


def _hairy(head: AnnyHead, attributes: Attributes, points: Tensor) -> Float[Tensor, " N"]:
    """Return the mask of the hair on the head."""
    scalp = head.region_weights["scalp"]
    match attributes.hair:
        case "bald":
            return torch.zeros_like(scalp)
        case "mohawk":
            return scalp * strip(points, 0.028)
        case "long":
            return torch.maximum(scalp, curtain(head, points))
    return scalp


def _bearded(head: AnnyHead, attributes: Attributes) -> Float[Tensor, " N"]:
    """Return the mask of beard and moustache."""
    beard, moustache = head.region_weights["beard"], head.region_weights["moustache"]
    match attributes.beard:
        case "none":
            return torch.zeros_like(beard)
        case "moustache":
            return moustache
    return torch.maximum(beard, moustache)


def _person(head: AnnyHead, attributes: Attributes, tone: Callable[[Colour], Tensor]) -> Iterator[Layer]:
    """Yield the layers of a living head."""
    weights, points = head.region_weights, template_points(head)
    woman, grown = attributes.sex == "woman", attributes.age in ("adult", "old")
    skin, hair = tone(SKIN[attributes.skin]), tone(HAIR[attributes.hair_colour])
    beard = tone(HAIR[attributes.beard_colour])
    yield torch.ones(len(points)), skin
    if grown and not woman:
        yield 0.12 * weights["beard"], torch.tensor(BLACK)  # stubble
    yield 0.8 * weights["lips"], torch.lerp(skin, torch.tensor(LIPS), 0.75 if woman else 0.35)
    yield weights["brows"] * (0.4 if attributes.age == "baby" else 0.95), hair * 0.8
    yield from _face_paint(head, attributes, points)
    yield _hairy(head, attributes, points), hair
    yield _bearded(head, attributes), beard
    red = attributes.eyes == "red"
    yield weights["mouth_interior"], torch.tensor((0.35, 0.10, 0.10))
    yield weights["tongue"], torch.tensor((0.75, 0.35, 0.36))
    yield weights["teeth"], torch.tensor((0.93, 0.92, 0.86))
    yield weights["eyes"], torch.tensor((1.0, 0.45, 0.25) if red else (0.95, 0.95, 0.95))
    yield weights["iris"], torch.tensor(IRIS[attributes.eyes])
    yield weights["pupil"], torch.tensor((0.02, 0.02, 0.02))


def _face_paint(head: AnnyHead, attributes: Attributes, points: Tensor) -> Iterator[Layer]:
    """Yield the layers of lipstick, war paint or clown make-up."""
    weights = head.region_weights
    across, up = points[:, 0].abs(), points[:, 1]
    match attributes.paint:
        case "red lipstick":
            yield weights["lips"], torch.tensor(LIPSTICK)
        case "war paint":
            cheek = weights["skin"] * (1 - weights["ears"]) * ramp(across - 0.016, 0.006) * ramp(points[:, 2], 0.02)
            for height, colour in ((0.004, WHITE), (-0.016, BLACK)):
                yield cheek * ramp(0.008 - (up - height + 0.15 * across).abs(), 0.005), torch.tensor(colour)
        case "clown make-up":
            yield weights["face"] * (1 - weights["scalp"]), torch.tensor(WHITE)
            yield 0.9 * weights["eyelids"], torch.tensor(BLUE)
            tip = (points - torch.tensor((0.0, -0.012, 0.112))).norm(dim=1)
            yield ramp(0.018 - tip, 0.008), torch.tensor(RED)
            yield weights["lips"], torch.tensor(RED)


def _statue(head: AnnyHead, attributes: Attributes, tone: Callable[[Colour], Tensor]) -> Iterator[Layer]:
    """Yield the layers of a statue: one material with its grain, darker where hair and eyes are carved."""
    weights, points = head.region_weights, template_points(head)
    base = tone(MATERIAL[attributes.material])
    grain = torch.rand(len(points), 1, generator=torch.Generator().manual_seed(0)) - 0.5
    yield torch.ones(len(points)), base * (1 + (0.35 if attributes.material == "stone" else 0.08) * grain)
    carved = torch.maximum(_hairy(head, attributes, points), _bearded(head, attributes))
    yield 0.8 * torch.maximum(carved, weights["brows"]), base * 0.72
    yield 0.8 * weights["lips"], base * 0.85
    yield weights["mouth_interior"], base * 0.4
    yield weights["iris"], base * 0.6
    yield weights["pupil"], base * 0.3
