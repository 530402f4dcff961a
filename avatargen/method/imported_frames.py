"""Avatars that are another system's rendered views: of Gaussian splats, radiance fields, and all that has no mesh."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatargen.config.experiment import RunConfig
from avatargen.config.places import ROOT
from avatargen.config.prompts import PromptItem
from avatargen.exchange.frame_files import folder_of, frame_problems, list_frames
from avatargen.io.content_hash import file_hashes
from avatargen.method.sources import Source

if TYPE_CHECKING:
    from avatargen.io.avatar_file import Avatar
    from avatargen.method.generator import Generator


class ImportedFrames(Source):
    """Rendered views that another system made; they have no geometry, and their cost is not known here."""

    is_external = True
    has_geometry = False

    def problems(self, run: RunConfig, items: Iterable[PromptItem], root: Path = ROOT) -> list[str]:
        """Return frames that are missing or cannot be placed; see the base class."""
        return frame_problems(run.method_name, run.method.frames, items, root) if run.method.frames else []

    def notes(self, run: RunConfig) -> list[str]:
        """Return what rendered views cannot be scored by; see the base class."""
        return [
            f"methods.yaml: {run.method_name}: frames: rendered views have no mesh, so they have no score by geometry, "
            "no failure signatures and no diagnostics; framing and light are those of their system"
        ]

    def ingredients(self, run: RunConfig, item: PromptItem, root: Path = ROOT) -> list[Any]:
        """Return hashes of the pictures and where their cameras are; see the base class."""
        frames = run.method.frames
        folder = folder_of(frames, item, root) if frames else None
        if frames is None or folder is None or not folder.is_dir():
            return [[]]
        try:
            shown = list_frames(folder, frames)
        except (ValueError, OSError):  # `problems` tells
            return [[]]
        return [list(zip(file_hashes([frame.path for frame in shown]), [frame[1:] for frame in shown], strict=True))]

    def make(self, generator: Generator, run: RunConfig, item: PromptItem) -> Avatar:
        """Return the views of an item; see the base class."""
        from dataclasses import replace

        import torch

        from avatargen.exchange.frame_import import read_frames
        from avatargen.geometry.types import HeadTopology
        from avatargen.io.avatar_file import GREY
        from avatargen.io.frames import HEAD

        frames = run.method.frames
        folder = folder_of(frames, item, ROOT) if frames else None
        if frames is None or folder is None:
            raise ValueError(f"{item.list}/{item.item}: no frames in {frames and frames.folder}")
        views = read_frames(folder, frames)
        front = torch.from_numpy(views.images[abs(views.azimuth).argmin()]).permute(2, 0, 1).float() / 255
        nothing = {name: torch.zeros(0) for name in ("shape", "expression")} | {"joints": torch.zeros(0, 3)}
        nothing |= {"offsets": torch.zeros(3, 3), "latent_texture": None}
        avatar = generator.new_avatar(
            run, item, nothing | {"baked_texture": GREY + front[3:] * (front[:3] - GREY)}, 0.0
        )
        triangle = torch.arange(3)[None]  # where a mesh would be, of no extent
        topology = HeadTopology(
            triangle, torch.zeros(3, 2), triangle.clone(), {"skin": torch.ones(3, dtype=torch.bool)}
        )
        return replace(avatar, head_id=HEAD, frames=views, topology=topology, cost={})
