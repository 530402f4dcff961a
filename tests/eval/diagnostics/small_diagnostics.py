"""A small diagnostic for the tests of the stage, which may be told to fail."""

import numpy as np
from PIL import Image

from eval.diagnostics.base import Diagnostic, Measure, Measured

FAILING = {}
"""What it raises, by the avatar's id."""
CALLS = []
"""The avatars that it was asked about."""


class Small(Diagnostic):
    """Measures the mean red of the texture, and shows judges two views of one colour under each of two conditions."""

    def measure(self, avatar, row, tools, settings):
        CALLS.append(row.id)
        if row.id in FAILING:
            raise FAILING[row.id]
        shown = {name: np.full((2, 16, 16, 3), level, np.uint8) for name, level in (("dark", 40), ("light", 200))}
        measures = (Measure("", "red", float(avatar.baked_texture[0].mean())), Measure("", "unknown", float("nan")))
        return Measured(measures, shown, {"swatch": Image.new("RGB", (8, 8), "red")})


class Silent(Diagnostic):
    """Measures one number and shows judges nothing."""

    def measure(self, avatar, row, tools, settings):
        return Measured((Measure("", "seed", float(avatar.seed)),))
