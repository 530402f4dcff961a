"""The FLAME head with FLAME's own triangles, unsubdivided: up to 5,023 vertices, finished as they are optimised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avatargen.heads.flame.head import FlameHead
from avatargen.heads.refined import coarse_fields


@dataclass(frozen=True)
class FlameCoarse(FlameHead):
    """FLAME's own triangles; see the module and `HeadModel`. Make one with `FlameCoarse.load`."""

    @classmethod
    def load(cls, place: Path | None = None) -> FlameCoarse:
        """Read FLAME from the user's files, see `FlameHead.load`, and keep its proxy mesh."""
        return cls(**coarse_fields(FlameHead.load(place)))
