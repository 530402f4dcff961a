"""The words that a camera adds to the prompt, in the prior's vocabulary (`PriorSettings.view_words`).

Azimuth is 0 in front of the face and grows towards the subject's left. Angles are in degrees, lengths in metres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from avatargen.geometry.types import Cameras

FRONT, OVERHEAD = 70.0, 60.0
"""Width of the front sector and of the back sector, and elevation above which a view is overhead; degrees. The front is
Latent-Paint's. Its overhead starts at 30 degrees, which would take in half of a head's training views."""
SECTOR = 22.5
"""Width of a sector, degrees."""
CLOSE = 0.29
"""Height of the visible area at the camera's target below which a view is a close-up, metres: a head with its neck."""


@dataclass(frozen=True)
class ViewWords:
    """A vocabulary of views.

    Attributes:
        names: all view names.
        name: (azimuth, elevation, height of the visible area at the target) → view name.
    """

    names: tuple[str, ...]
    name: Callable[[float, float, float], str]


def _latent_paint(azimuth: float, elevation: float, height: float) -> str:
    """Return Latent-Paint's front, side, back or overhead view."""
    turn = abs((azimuth + 180) % 360 - 180)
    if elevation > OVERHEAD:
        return "overhead view"
    if turn <= FRONT / 2:
        return "front view"
    return "back view" if turn >= 180 - FRONT / 2 else "side view"


def _sector(azimuth: float, elevation: float, height: float) -> str:
    """Return one of 16 directions, each also as a close-up; left and right profiles have different names."""
    turn = round(((azimuth + 180) % 360 - 180) / SECTOR) * SECTOR
    side = "left" if turn > 0 else "right"
    place = {0.0: "front", 180.0: "back"}.get(abs(turn), f"{math.floor(abs(turn))} {side}")
    return f"{'close ' if height < CLOSE else ''}{place} view"


def _all_sectors() -> tuple[str, ...]:
    """Return all names that `_sector` gives."""
    turns = [k * SECTOR for k in range(-7, 9)]
    return tuple(_sector(turn, 0.0, height) for height in (2 * CLOSE, 0.0) for turn in turns)


VIEW_WORDS = {
    "latent_paint": ViewWords(("front view", "side view", "back view", "overhead view"), _latent_paint),
    "sectors": ViewWords(_all_sectors(), _sector),
}
"""Vocabularies by name."""
_FRONT_TO_BACK = {"front": "back", "22": "157", "45": "135", "67": "112"}
_ACROSS = _FRONT_TO_BACK | {back: front for front, back in _FRONT_TO_BACK.items()}
LATENT_PAINT = VIEW_WORDS["latent_paint"]
ALL_NAMES = tuple(dict.fromkeys(name for words in VIEW_WORDS.values() for name in words.names))


def named_views(cameras: Cameras, words: ViewWords) -> list[list[str]]:
    """Return the view name of each of (B, V) cameras, which are read by the host: keep them on the CPU."""
    height = 2 * cameras.distance * (cameras.fov * (math.pi / 360)).tan()
    rows = zip(cameras.azimuth.tolist(), cameras.elevation.tolist(), height.tolist(), strict=True)
    return [[words.name(*camera) for camera in zip(*row, strict=True)] for row in rows]


def view_indices(cameras: Cameras, words: ViewWords) -> Int[Tensor, "B V"]:
    """Return the index, in `words.names`, of the view name of each camera, on the CPU.

    Args:
        cameras: on the CPU.
        words: names the view of a camera.

    Example:
        >>> one = torch.ones(1, 2)
        >>> turned = Cameras(torch.tensor([[0.0, 180.0]]), 0 * one, one, 18 * one, torch.zeros(1, 2, 3))
        >>> view_indices(turned, LATENT_PAINT).tolist()  # front and back view
        [[0, 2]]
    """
    return torch.tensor([[words.names.index(name) for name in row] for row in named_views(cameras, words)])


def mirrored(view: str) -> str:
    """Return the name of a view after the image is mirrored.

    Example:
        >>> mirrored("close 45 left view")
        'close 45 right view'
    """
    other = {"left": "right", "right": "left"}
    return " ".join(other.get(word, word) for word in view.split(" "))


def across(view: str) -> str:
    """Return the name of the view from the other side of the head's profile; profiles and overhead stay.

    Example:
        >>> [across(view) for view in ("close front view", "157 left view", "90 right view", "side view")]
        ['close back view', '22 left view', '90 right view', 'side view']
    """
    return " ".join(_ACROSS.get(word, word) for word in view.split(" "))


def with_view(prompt: str, view: str) -> str:
    """Return the prompt with the name of its view.

    Example:
        >>> with_view("a man", "side view")
        'a man, side view'
    """
    return f"{prompt}, {view}"
