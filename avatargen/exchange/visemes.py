"""Shapes for talking heads as sums of ARKit's 52: Oculus' 15 visemes, and five that players of speech ask for.

Source: M. Suominen (met4citizen), TalkingHead, ``blender/build-visemes-from-arkit.py`` and
``blender/build-extras-from-arkit.py``, MIT License: the weights below are the published ones. The visemes' names are
those of Meta's "Viseme Reference" of Oculus Lipsync. Morph targets are linear, so a sum of targets is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

Mix = Mapping[str, float]
"""Weights of ARKit's shapes; a name with ``*`` stands for ``Left`` and ``Right``."""
VISEMES: Mapping[str, Mix] = MappingProxyType(
    {
        "viseme_sil": {},
        "viseme_PP": {"mouthRollLower": 0.8, "mouthRollUpper": 0.8, "mouthUpperUp*": 0.3},
        "viseme_FF": {
            "mouthPucker": 1.0,
            "mouthShrugUpper": 1.0,
            "mouthLowerDown*": 0.2,
            "mouthDimple*": 1.0,
            "mouthRollLower": 1.0,
        },
        "viseme_TH": {"mouthRollUpper": 0.6, "jawOpen": 0.2, "tongueOut": 0.4},
        "viseme_DD": {"mouthPress*": 0.8, "mouthFunnel": 0.5, "jawOpen": 0.2},
        "viseme_kk": {
            "mouthLowerDown*": 0.4,
            "mouthDimple*": 0.3,
            "mouthFunnel": 0.3,
            "mouthPucker": 0.3,
            "jawOpen": 0.15,
        },
        "viseme_CH": {"mouthPucker": 0.5, "jawOpen": 0.2},
        "viseme_SS": {"mouthPress*": 0.8, "mouthLowerDown*": 0.5, "jawOpen": 0.1},
        "viseme_nn": {
            "mouthLowerDown*": 0.4,
            "mouthDimple*": 0.3,
            "mouthFunnel": 0.3,
            "mouthPucker": 0.3,
            "jawOpen": 0.15,
            "tongueOut": 0.2,
        },
        "viseme_RR": {"mouthPucker": 0.5, "jawOpen": 0.2},
        "viseme_aa": {"jawOpen": 0.6},
        "viseme_E": {"mouthPress*": 0.8, "mouthDimple*": 1.0, "jawOpen": 0.3},
        "viseme_I": {"mouthPress*": 0.6, "mouthDimple*": 0.6, "jawOpen": 0.2},
        "viseme_O": {"mouthPucker": 1.0, "jawForward": 0.6, "jawOpen": 0.2},
        "viseme_U": {"mouthFunnel": 1.0},
    }
)
EXTRAS: Mapping[str, Mix] = MappingProxyType(
    {
        "mouthOpen": {"jawOpen": 0.7},
        "mouthSmile": {"mouthSmile*": 1.0},
        "eyesClosed": {"eyeBlink*": 1.0},
        "eyesLookUp": {"eyeLookUp*": 1.0},
        "eyesLookDown": {"eyeLookDown*": 1.0},
    }
)


def mix_of(shape: str) -> dict[str, float]:
    """Return the weights of ARKit's shapes in a viseme or an extra shape.

    Example:
        >>> mix_of("eyesClosed")
        {'eyeBlinkLeft': 1.0, 'eyeBlinkRight': 1.0}
    """
    mix = {**VISEMES, **EXTRAS}[shape]
    return {name.replace("*", side): value for name, value in mix.items() for side in _sides(name)}


def viseme_targets(targets: Mapping[str, Float[Tensor, "N 3"]]) -> dict[str, Float[Tensor, "N 3"]]:
    """Return the displacements of the visemes and extra shapes whose parts a head has all, metres.

    Args:
        targets: displacements of the head's own shapes by name; those of ARKit's names count.

    Example:
        >>> made = viseme_targets({"jawOpen": torch.tensor([[0.0, -0.1, 0.0]])})
        >>> {name: round(move[0, 1].item(), 3) for name, move in made.items() if move.any()}
        {'viseme_aa': -0.06, 'mouthOpen': -0.07}
    """
    zero, found = torch.zeros_like(next(iter(targets.values()))), {}
    for shape in (*VISEMES, *EXTRAS):
        mix = mix_of(shape)
        if mix.keys() <= targets.keys():
            found[shape] = sum((value * targets[name] for name, value in mix.items()), zero)
    return found


def _sides(name: str) -> tuple[str, ...]:
    return ("Left", "Right") if "*" in name else ("",)
