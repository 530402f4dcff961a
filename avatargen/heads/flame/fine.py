"""The FLAME head with four times the faces: every triangle split in sixteen, about 65,000 vertices.

New vertices are midpoints of edges, so at rest the surface stays FLAME's own; offsets are given at the vertices of the
FLAME head, four times as many.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avatargen.heads.flame.head import FlameHead
from avatargen.heads.flame.mesh import split
from avatargen.heads.refined import FineOffsets, refined_fields


@dataclass(frozen=True)
class FlameFine(FineOffsets, FlameHead):
    """The FLAME head with four times the faces; see the module and `HeadModel`. Make one with `FlameFine.load`."""

    @classmethod
    def load(cls, place: Path | None = None) -> FlameFine:
        """Read FLAME from the user's files, see `FlameHead.load`, and refine it."""
        return cls(**refined_fields(FlameHead.load(place), split))
