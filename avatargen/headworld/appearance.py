"""Build a head from its attributes: identity and expression in the head model's own space, plus volumes and paint.

Lengths are metres; colours are albedo, RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.types import HeadParameters
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.attributes import Attributes
from avatargen.headworld.paint import paint
from avatargen.headworld.volumes import volumes

AGE = {"baby": 0.14, "child": 0.38, "adult": 2 / 3, "old": 1.0}
"""Anny's age phenotype for each age."""
SHAPE: dict[tuple[str, str], dict[str, float]] = {
    ("age", "old"): {"head-age": 0.6},
    ("sex", "man"): {"gender": 0.0},
    ("sex", "woman"): {"gender": 1.0},
    ("weight", "fat"): {
        "weight": 1.0,
        "head-fat": 1.0,
        "neck-double": 1.0,
        "cheek-volume": 1.0,
        "head-scale-horiz": 0.7,
        "neck-scale-horiz": 0.8,
        "measure-neck-circ": 0.8,
    },
    ("weight", "thin"): {
        "weight": 0.0,
        "head-fat": -1.0,
        "cheek-volume": -1.0,
        "head-scale-horiz": -0.7,
        "neck-scale-horiz": -0.8,
        "cheek-inner": -0.8,
        "measure-neck-circ": -0.6,
    },
    ("feature", "big ears"): {"ear-scale": 1.0, "ear-wing": 0.9, "ear-scale-vert": 0.6},
    ("feature", "pointed ears"): {"ear-wing": 0.5},
    ("feature", "long nose"): {"nose-scale-depth": 1.0, "nose-scale-vert": 0.6, "nose-point-up": -0.5},
    ("feature", "wide jaw"): {"chin-width": 1.0, "chin-bones": 1.0, "head-scale-horiz": 0.4, "chin-prominent": 0.5},
}
"""Shape coefficients for each value of an attribute; what is not listed stays at the template's."""
EXPRESSION: dict[str, dict[str, float]] = {
    "neutral": {},
    "smiling": {
        "mouthSmileLeft": 1.0,
        "mouthSmileRight": 1.0,
        "cheekSquintLeft": 0.6,
        "cheekSquintRight": 0.6,
        "mouthDimpleLeft": 0.5,
        "mouthDimpleRight": 0.5,
        "jawOpen": 0.2,
        "mouthUpperUpLeft": 0.4,
        "mouthUpperUpRight": 0.4,
        "mouthLowerDownLeft": 0.3,
        "mouthLowerDownRight": 0.3,
    },
    "angry": {
        "browDownLeft": 1.0,
        "browDownRight": 1.0,
        "noseSneerLeft": 0.7,
        "noseSneerRight": 0.7,
        "mouthFrownLeft": 0.9,
        "mouthFrownRight": 0.9,
        "eyeSquintLeft": 0.6,
        "eyeSquintRight": 0.6,
        "mouthUpperUpLeft": 0.8,
        "mouthUpperUpRight": 0.8,
        "mouthLowerDownLeft": 0.8,
        "mouthLowerDownRight": 0.8,
    },
    "open mouth": {"jawOpen": 0.9, "browInnerUp": 0.7, "eyeWideLeft": 0.7, "eyeWideRight": 0.7},
    "sleeping": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
}
"""ARKit facial actions of each expression."""


@dataclass(frozen=True)
class Appearance:
    """Geometry and colours of a head of the closed world.

    Attributes:
        parameters: of a batch of one; its offsets are the volumes of hair, beard and features.
        colours: albedo of each vertex, RGB in [0, 1].
    """

    parameters: HeadParameters
    colours: Float[Tensor, "N 3"]


def make_appearance(head: AnnyHead, attributes: Attributes, rng: np.random.Generator | None = None) -> Appearance:
    """Return the geometry and colours of the head that the attributes describe.

    Args:
        head: the head model.
        attributes: of the head.
        rng: draws an individual with these attributes; None for the one without individual variation.
    """
    shape = {"age": AGE[attributes.age]}
    for name in ("age", "sex", "weight", "feature"):
        shape |= SHAPE.get((name, getattr(attributes, name)), {})
    coefficients = head.shape_from(**shape)
    expression = head.expression_from(**EXPRESSION[attributes.expression])
    if rng is not None:
        coefficients = _vary(coefficients, head.shape_bounds, head.shape_names, rng)
        expression = expression * float(rng.uniform(0.8, 1.1))
    parameters = replace(
        head.template(1), shape=coefficients[None], expression=expression[None].clamp(*head.expression_bounds)
    )
    return Appearance(replace(parameters, offsets=volumes(head, attributes, parameters)), paint(head, attributes, rng))


def _vary(
    shape: Float[Tensor, " S"], bounds: Float[Tensor, "2 S"], names: tuple[str, ...], rng: np.random.Generator
) -> Float[Tensor, " S"]:
    """Add normal noise with a standard deviation of 8% of each range, or 4% if captions name the coefficient."""
    scale = torch.tensor([0.04 if name in ("age", "gender", "weight") else 0.08 for name in names])
    noise = torch.from_numpy(rng.normal(size=len(names))).to(shape.dtype)
    return (shape + noise * scale * (bounds[1] - bounds[0])).clamp(bounds[0], bounds[1])
