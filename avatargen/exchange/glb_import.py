"""Read a mesh of another system in any of its formats, and place it where our heads are.

A GLB is read by our own code, see :mod:`avatargen.exchange.gltf_reader`; OBJ and PLY by trimesh, see
:mod:`avatargen.exchange.mesh_import`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from avatargen.config.settings import MeshSettings
from avatargen.exchange.gltf_colours import Painted, Painter
from avatargen.exchange.gltf_reader import GltfReader
from avatargen.exchange.mesh_files import Landmarks
from avatargen.exchange.mesh_import import Mesh, TemplateSize, _stack_textures, place, read_mesh
from avatargen.geometry.types import HeadTopology

TRANSLUCENT = 0.01
"""Largest share of a surface's area that may be shown wrongly, since triangles are shown whole or not at all."""


def read_any(path: Path, meshes: MeshSettings, template: TemplateSize, landmarks: Landmarks | None = None) -> Mesh:
    """Read a mesh from a file; arguments as of :func:`avatargen.exchange.mesh_import.read_mesh`.

    Raises:
        ValueError: the file is empty or unreadable, or its mesh has no triangles, no extent, or non-finite coordinates.
    """
    if path.suffix != ".glb" or not path.stat().st_size:
        return read_mesh(path, meshes, template, landmarks)
    try:
        parts = _painted(path, meshes)
    except Exception as error:  # images and buffers fail in many ways
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not parts:
        raise ValueError(f"{path}: got no triangles; expected a surface")
    corners = np.concatenate([part[0] for part in parts]).astype(np.float32)  # without noise of rounding
    texture, uvs = _stack_textures([(texture, uvs) for _, texture, uvs in parts])
    # merge vertices that seams have split, so that normals are smooth across seams
    points, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    if np.ptp(points, axis=0).max() == 0:
        raise ValueError(f"{path}: got a mesh without extent; expected a surface")
    topology = HeadTopology(
        faces=torch.from_numpy(index.reshape(-1, 3)),
        uvs=torch.from_numpy(uvs.reshape(-1, 2)).float(),
        face_uvs=torch.arange(index.size).view(-1, 3),
        regions={"skin": torch.ones(len(points), dtype=torch.bool)},
    )
    placed = place(points, meshes, template, landmarks)
    return Mesh(torch.from_numpy(placed).float(), topology, torch.from_numpy(texture).float())


def _painted(path: Path, meshes: MeshSettings) -> list[Painted]:
    """Return the parts of a GLB's scene.

    Raises:
        ValueError: a part cannot be read, or alpha hides much that we show.
    """
    reader = GltfReader(path)
    painter = Painter(reader, meshes.vertex_colours)
    parts = [part for surface in reader.surfaces() for part in painter.paint(surface)]
    if painter.wrong > TRANSLUCENT * painter.area:
        raise ValueError(_translucent(painter))
    return parts


def translucency(path: Path, meshes: MeshSettings) -> str | None:
    """Return how much of a GLB is half transparent, or cut by masks of alpha, if it is more than we leave out.

    Args:
        path: of the file.
        meshes: settings of the method.

    Raises:
        ValueError: a part cannot be read.
    """
    reader = GltfReader(path)
    painter = Painter(reader, meshes.vertex_colours)
    for surface in reader.surfaces():
        painter.shown(surface, painter.look(surface))
    return _translucent(painter) if painter.wrong > TRANSLUCENT * painter.area else None


def _translucent(painter: Painter) -> str:
    """Return what is shown wrongly, as ``got X; expected Y``."""
    share = painter.wrong / painter.area
    return (
        f"got {share:.0%} of the surface half transparent, or cut by alpha across triangles; expected at most "
        f"{TRANSLUCENT:.0%}; export opaque materials"
    )
