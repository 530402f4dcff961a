"""Show how an avatar came to be: snapshots side by side, and the curve of each loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from avatargen.io.history import LOSSES, History
from eval.thumbnails import webp_bytes

SHOWN, SIZE = 8, 96
"""Largest number of snapshots, and their rows and columns, pixels."""
WIDTH, HEIGHT = 120, 28
"""Of a curve, in units of its drawing."""


class Curve(NamedTuple):
    """A loss over the steps: points of a polyline, the first and the last value."""

    name: str
    points: str
    first: str
    last: str


class HistoryStrip(NamedTuple):
    """The history of an avatar; `strip` is a WebP, None without snapshots, which were taken at `steps`."""

    strip: bytes | None
    steps: list[int]
    curves: list[Curve]


def history_strip(folder: Path) -> HistoryStrip | None:
    """Return the history in an avatar's folder; None for one that was not optimised."""
    history = History.load(folder)
    if not history.entries and not history.snapshots:
        return None
    count = len(history.snapshots)
    chosen = [history.snapshots[k] for k in np.unique(np.linspace(0, count - 1, min(count, SHOWN)).round().astype(int))]
    pictures = [
        np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.LANCZOS)) for _, image in chosen
    ]
    strip = webp_bytes(Image.fromarray(np.concatenate(pictures, axis=1)), quality=75) if pictures else None
    return HistoryStrip(strip, [step for step, _ in chosen], _curves(history))


def polyline(steps: Sequence[float], values: Sequence[float]) -> str:
    """Return the points of a curve that fills its drawing; row 0 is at the top.

    Example:
        >>> polyline([0.0, 5.0, 10.0], [2.0, 1.0, 0.0])
        '0,0 60,14 120,28'
    """
    spans = [(min(axis), max(axis) - min(axis) or 1) for axis in (steps, values)]
    (left, width), (low, height) = spans
    places = [
        (WIDTH * (step - left) / width, HEIGHT * (1 - (value - low) / height))
        for step, value in zip(steps, values, strict=True)
    ]
    return " ".join(f"{x:.4g},{y:.4g}" for x, y in places)


def _curves(history: History) -> list[Curve]:
    found = []
    for name in LOSSES:
        points = [(step, losses[name]) for step, losses in history.entries if np.isfinite(losses[name])]
        if len(points) > 1:
            values = [value for _, value in points]
            drawn = polyline([float(step) for step, _ in points], values)
            found.append(Curve(name, drawn, f"{values[0]:.3g}", f"{values[-1]:.3g}"))
    return found
