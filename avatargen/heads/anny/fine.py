"""The Anny head with four times the faces: 76,427 vertices, by a step of Loop subdivision.

Its proxy mesh has the Anny head's own triangles, and offsets are given at the Anny head's vertices: four times as many
of both. Old vertices move by Loop's rule, by less than the height of a chord.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.loop import loop
from avatargen.heads.refined import FineOffsets, refined_fields


@dataclass(frozen=True)
class AnnyFine(FineOffsets, AnnyHead):
    """The Anny head with four times the faces; see the module and `HeadModel`. Make one with `AnnyFine.load`."""

    @classmethod
    def load(cls, cache_dir: Path | None = None) -> AnnyFine:
        """Load the Anny head, see `AnnyHead.load`, and refine it."""
        return cls(**refined_fields(AnnyHead.load(cache_dir), loop))
