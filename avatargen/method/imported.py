"""Avatars that are another system's meshes; apart from other sources, whose avatars do not depend on this code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatargen.config.experiment import RunConfig
from avatargen.config.places import ROOT
from avatargen.config.prompts import PromptItem
from avatargen.exchange.item_table import item_name
from avatargen.exchange.mesh_files import landmarks_of, mesh_notes
from avatargen.exchange.mesh_folder import find_mesh, mesh_problems, parts_of
from avatargen.io.content_hash import weights_id
from avatargen.method.sources import Source

if TYPE_CHECKING:
    from avatargen.io.avatar_file import Avatar
    from avatargen.method.generator import Generator


class Imported(Source):
    """Meshes that another system made; their cost is not known here."""

    is_external = True

    def problems(self, run: RunConfig, items: Iterable[PromptItem], root: Path = ROOT) -> list[str]:
        """Return meshes that are missing or cannot be read; see the base class."""
        return mesh_problems(run.method_name, run.method.meshes, items, root) if run.method.meshes else []

    def notes(self, run: RunConfig) -> list[str]:
        """Return how meshes get their size, where that favours some; see the base class."""
        return mesh_notes(run.method_name, run.method.meshes) if run.method.meshes else []

    def ingredients(self, run: RunConfig, item: PromptItem, root: Path = ROOT) -> list[Any]:
        """Return hashes of the mesh and of the files it refers to, and its landmarks; see the base class."""
        meshes = run.method.meshes
        path = find_mesh(meshes, item, root) if meshes else None
        if meshes is None or path is None:
            return [[]]
        marks = landmarks_of(meshes, item, root) if path.stat().st_size else None
        return [[weights_id(str(part), root) for part in parts_of(path)], marks]

    def make(self, generator: Generator, run: RunConfig, item: PromptItem) -> Avatar:
        """Return the mesh, placed and scaled as its settings say; see the base class."""
        from dataclasses import replace

        import torch

        from avatargen.exchange.mesh_import import TemplateSize, read_mesh
        from avatargen.heads.mesh_head import MESH

        meshes = run.method.meshes
        path = find_mesh(meshes, item, ROOT) if meshes else None
        if meshes is None or path is None:
            raise ValueError(f"{item.list}/{item.item}: no mesh for {item_name(item)} in {meshes and meshes.folder}")
        marks = landmarks_of(meshes, item, ROOT) if path.stat().st_size else None
        mesh = read_mesh(path, meshes, TemplateSize.of(generator.head), marks)
        tensors = {name: torch.zeros(0) for name in ("shape", "expression")}
        tensors |= {"joints": torch.zeros(0, 3), "offsets": mesh.vertices, "baked_texture": mesh.texture}
        avatar = generator.new_avatar(run, item, {**tensors, "latent_texture": None}, 0.0)
        return replace(avatar, head_id=MESH, topology=mesh.topology, cost={})
