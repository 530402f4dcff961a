"""The Anny head with a quarter of the faces: its proxy mesh of 4,961 vertices, finished as it is optimised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.refined import coarse_fields


@dataclass(frozen=True)
class AnnyCoarse(AnnyHead):
    """The Anny head's proxy mesh; see the module and `HeadModel`. Make one with `AnnyCoarse.load`."""

    @classmethod
    def load(cls, cache_dir: Path | None = None) -> AnnyCoarse:
        """Load the Anny head, see `AnnyHead.load`, and keep its proxy mesh."""
        return cls(**coarse_fields(AnnyHead.load(cache_dir)))
