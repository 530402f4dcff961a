"""From attributes to a head: shape, expression, hair and beard as displacement, and a colour for each vertex.

Lengths are metres; colours are linear-looking RGB in [0, 1] without shading (albedo).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.heads.anny import AnnyHead
from avatargen.headworld.attributes import Attributes
from avatargen.mesh import area_normals
from avatargen.types import HeadParameters

SKIN = {
    "tan": (0.82, 0.60, 0.46), "pale": (0.95, 0.83, 0.76), "brown": (0.55, 0.36, 0.25), "dark": (0.28, 0.18, 0.14),
    "green": (0.32, 0.62, 0.28), "blue": (0.30, 0.46, 0.82), "red": (0.80, 0.20, 0.18), "purple": (0.56, 0.32, 0.68),
    "golden": (0.88, 0.68, 0.18), "grey": (0.55, 0.56, 0.58),
}  # fmt: skip
HAIR = {
    "brown": (0.30, 0.18, 0.10), "black": (0.06, 0.05, 0.06), "blond": (0.90, 0.76, 0.42), "ginger": (0.78, 0.34, 0.10),
    "white": (0.93, 0.93, 0.92), "pink": (0.95, 0.45, 0.70), "blue": (0.15, 0.25, 0.75), "green": (0.12, 0.50, 0.20),
}  # fmt: skip
AGE = {"baby": 0.14, "child": 0.38, "young": 0.60, "adult": 0.72, "old": 1.0}
SHAPE: dict[tuple[str, str], dict[str, float]] = {
    ("sex", "man"): {"gender": 0.0},
    ("sex", "woman"): {"gender": 1.0},
    ("weight", "fat"): {"weight": 1.0, "head-fat": 0.9, "neck-double": 0.8, "cheek-volume": 0.6},
    ("weight", "thin"): {"weight": 0.1, "head-fat": -0.6, "cheek-volume": -0.9},
    ("feature", "big ears"): {"ear-scale": 1.0, "ear-wing": 0.9, "ear-scale-vert": 0.6},
    ("feature", "long nose"): {"nose-scale-depth": 1.0, "nose-scale-vert": 0.6, "nose-point-up": -0.5},
    ("feature", "wide jaw"): {
        "chin-width": 1.0,
        "chin-bones": 1.0,
        "head-scale-horiz": 0.4,
        "chin-prominent": 0.5,
    },
}
EXPRESSION: dict[str, dict[str, float]] = {
    "neutral": {},
    "smiling": {
        "mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "cheekSquintLeft": 0.6, "cheekSquintRight": 0.6,
        "mouthDimpleLeft": 0.5, "mouthDimpleRight": 0.5, "jawOpen": 0.12,
    },
    "angry": {
        "browDownLeft": 1.0, "browDownRight": 1.0, "noseSneerLeft": 0.7, "noseSneerRight": 0.7,
        "mouthFrownLeft": 0.9, "mouthFrownRight": 0.9, "eyeSquintLeft": 0.6, "eyeSquintRight": 0.6,
    },
    "open mouth": {"jawOpen": 0.9, "browInnerUp": 0.7, "eyeWideLeft": 0.7, "eyeWideRight": 0.7},
}  # fmt: skip
HAIR_DEPTH = {"short": 0.010, "bald": 0.0, "afro": 0.036, "mohawk": 0.042}


@dataclass(frozen=True)
class Look:
    """A head of the closed world.

    Attributes:
        parameters: a batch of one.
        colours: albedo of each vertex, RGB in [0, 1].
    """

    parameters: HeadParameters
    colours: Float[Tensor, "N 3"]


def make_look(head: AnnyHead, attributes: Attributes, rng: np.random.Generator | None = None) -> Look:
    """The head that the attributes describe; with `rng`, one of the many that they fit."""
    shape = {"age": AGE[attributes.age]}
    for name in ("sex", "weight", "feature"):
        shape |= SHAPE.get((name, getattr(attributes, name)), {})
    coefficients = head.shape_from(**shape)
    expression = head.expression_from(**EXPRESSION[attributes.expression])
    if rng is not None:
        coefficients = _vary(coefficients, head.shape_bounds, head.shape_names, rng)
        expression = expression * float(rng.uniform(0.75, 1.1))
    parameters = replace(
        head.template(1),
        shape=coefficients[None],
        expression=expression[None].clamp(*head.expression_bounds),
    )
    volume = hair_offsets(head, attributes, parameters)
    return Look(replace(parameters, offsets=volume), paint(head, attributes, rng))


def _vary(
    shape: Float[Tensor, " S"], bounds: Float[Tensor, "2 S"], names: tuple[str, ...], rng: np.random.Generator
) -> Float[Tensor, " S"]:
    """Individual variation: normal, a deviation of 8% of each range, half of that where a caption speaks of it."""
    scale = torch.tensor([0.04 if name in ("age", "gender", "weight") else 0.08 for name in names])
    noise = torch.from_numpy(rng.normal(size=len(names))).to(shape.dtype)
    return (shape + noise * scale * (bounds[1] - bounds[0])).clamp(bounds[0], bounds[1])


def hair_offsets(head: AnnyHead, attributes: Attributes, parameters: HeadParameters) -> Float[Tensor, "1 N 3"]:
    """Displacement along the normals of the neutral head: hair on the scalp, and the beard."""
    neutral = head.canonical(parameters.shape)
    normals = area_normals(neutral[0], head.topology.faces)
    scalp, beard = head.region_weights["scalp"], head.region_weights["beard"]
    scale = (0.6 if attributes.age == "baby" else 1.0) * HAIR_DEPTH[attributes.hair]
    depth = scale * scalp.clamp(0, 1) ** 0.7
    if attributes.hair == "mohawk":
        side = neutral[0, :, 0].abs() / 0.020
        depth = depth * torch.exp(-(side**2))
    if attributes.beard == "full":
        chin = head.region_weights["moustache"]
        depth = torch.maximum(depth, 0.010 * beard**1.5)
        depth = torch.maximum(depth, 0.003 * chin**1.5)
    return (depth[:, None] * normals)[None]


def paint(head: AnnyHead, attributes: Attributes, rng: np.random.Generator | None = None) -> Float[Tensor, "N 3"]:
    """Albedo of each vertex."""
    weights = head.region_weights
    jitter = 0.0 if rng is None else 0.04
    noise = np.random.default_rng(0) if rng is None else rng

    def tone(colour: tuple[float, float, float]) -> Tensor:
        return (torch.tensor(colour) + torch.from_numpy(noise.normal(0, 1, 3)).float() * jitter).clamp(0, 1)

    skin, hair, beard = (
        tone(SKIN[attributes.skin]),
        tone(HAIR[attributes.hair_colour]),
        tone(HAIR[attributes.beard_colour]),
    )
    layers = [
        ("lips", 0.55 * skin + 0.45 * torch.tensor((0.70, 0.22, 0.24)), 0.8),
        ("brows", hair * 0.8, 0.9 if attributes.age != "baby" else 0.4),
        ("scalp", hair, 0.0 if attributes.hair == "bald" else 1.0),
        ("beard", beard, 1.0 if attributes.beard == "full" else 0.0),
        ("moustache", beard, 1.0 if attributes.beard == "full" else 0.0),
        ("mouth_interior", torch.tensor((0.35, 0.10, 0.10)), 1.0),
        ("tongue", torch.tensor((0.75, 0.35, 0.36)), 1.0),
        ("teeth", torch.tensor((0.93, 0.92, 0.86)), 1.0),
        ("eyes", torch.tensor((0.95, 0.95, 0.95)), 1.0),
        ("iris", torch.tensor((0.30, 0.20, 0.10)), 1.0),
        ("pupil", torch.tensor((0.02, 0.02, 0.02)), 1.0),
    ]
    colours = skin.expand(len(weights["scalp"]), 3)
    if attributes.hair == "mohawk":
        middle = torch.exp(-((head.canonical(head.shape_template[None])[0, :, 0].abs() / 0.028) ** 4))
    else:
        middle = torch.ones(len(colours))
    for region, colour, strength in layers:
        mask = weights[region] * strength * (middle if region == "scalp" else 1.0)
        colours = torch.lerp(colours, colour.expand_as(colours), mask[:, None])
    return colours.clamp(0, 1)
