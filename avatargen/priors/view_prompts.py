"""Which words a camera adds to the prompt (Latent-Paint: front, side, back and overhead views)."""

from __future__ import annotations

VIEWS = ("front view", "side view", "back view", "overhead view")
FRONT, OVERHEAD = 70.0, 60.0
"""Full width of the front (and back) sector, and elevation from which it is overhead; degrees. The front is
Latent-Paint's; its overhead (30 degrees) would swallow half of a head's training views."""


def view_name(azimuth: float, elevation: float) -> str:
    """The view that a camera sees, from its azimuth and elevation in degrees."""
    turn = abs((float(azimuth) + 180) % 360 - 180)
    if float(elevation) > OVERHEAD:
        return "overhead view"
    if turn <= FRONT / 2:
        return "front view"
    return "back view" if turn >= 180 - FRONT / 2 else "side view"


def with_view(prompt: str, azimuth: float, elevation: float) -> str:
    """The prompt with its view."""
    return f"{prompt}, {view_name(azimuth, elevation)}"
