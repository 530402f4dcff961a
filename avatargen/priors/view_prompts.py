"""Which words a camera adds to the prompt; a prior is told them in the words it knows (`PriorSettings.view_words`).

Azimuth is 0 in front of the face and grows towards the subject's left; degrees and metres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from avatargen.geometry.types import Cameras

FRONT, OVERHEAD = 70.0, 60.0
"""Full width of the front (and back) sector, and elevation from which it is overhead; degrees. The front is
Latent-Paint's; its overhead (30 degrees) would swallow half of a head's training views."""
SECTOR = 22.5
"""Width of a sector, degrees."""
CLOSE = 0.29
"""An image of less height, where the camera looks at, is a close-up; metres. Heads with their necks are as tall."""


@dataclass(frozen=True)
class ViewWords:
    """A vocabulary for what cameras see.

    Attributes:
        names: every name there is.
        name: of a camera's azimuth and elevation, and of the height of its image where it looks at.
    """

    names: tuple[str, ...]
    name: Callable[[float, float, float], str]


def _latent_paint(azimuth: float, elevation: float, height: float) -> str:
    """Latent-Paint's front, side, back and overhead views."""
    turn = abs((azimuth + 180) % 360 - 180)
    if elevation > OVERHEAD:
        return "overhead view"
    if turn <= FRONT / 2:
        return "front view"
    return "back view" if turn >= 180 - FRONT / 2 else "side view"


def _sector(azimuth: float, elevation: float, height: float) -> str:
    """One of 16 directions, and whether it is a close-up: left and right profiles do not share a name."""
    turn = round(((azimuth + 180) % 360 - 180) / SECTOR) * SECTOR
    side = "left" if turn > 0 else "right"
    place = {0.0: "front", 180.0: "back"}.get(abs(turn), f"{math.floor(abs(turn))} {side}")
    return f"{'close ' if height < CLOSE else ''}{place} view"


def _all_sectors() -> tuple[str, ...]:
    turns = [k * SECTOR for k in range(-7, 9)]
    return tuple(_sector(turn, 0.0, height) for height in (2 * CLOSE, 0.0) for turn in turns)


VIEW_WORDS = {
    "latent_paint": ViewWords(("front view", "side view", "back view", "overhead view"), _latent_paint),
    "sectors": ViewWords(_all_sectors(), _sector),
}
"""The vocabularies by name."""
LATENT_PAINT = VIEW_WORDS["latent_paint"]
ALL_NAMES = tuple(dict.fromkeys(name for words in VIEW_WORDS.values() for name in words.names))


def named_views(cameras: Cameras, words: ViewWords) -> list[list[str]]:
    """What each of (B, V) cameras sees."""
    height = 2 * cameras.distance * (cameras.fov * (math.pi / 360)).tan()
    rows = zip(cameras.azimuth.tolist(), cameras.elevation.tolist(), height.tolist(), strict=True)
    return [[words.name(*camera) for camera in zip(*row, strict=True)] for row in rows]


def mirrored(view: str) -> str:
    """The name of a view in a mirrored image."""
    other = {"left": "right", "right": "left"}
    return " ".join(other.get(word, word) for word in view.split(" "))


def with_view(prompt: str, view: str) -> str:
    """The prompt with the name of its view."""
    return f"{prompt}, {view}"
