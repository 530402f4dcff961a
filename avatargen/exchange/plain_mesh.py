"""Export an avatar as a plain mesh, OBJ or PLY, by trimesh: the surface as it is posed, without anything that moves it.

OBJ comes with its material and its texture beside it. PLY has the colours of its vertices. Neither can hold joints,
expressions or clips.
"""

from __future__ import annotations

import numpy as np
import torch
import trimesh
from PIL import Image
from torch.nn.functional import grid_sample
from trimesh.exchange.obj import export_obj
from trimesh.exchange.ply import export_ply
from trimesh.visual.material import SimpleMaterial
from trimesh.visual.texture import TextureVisuals

from avatargen.exchange.gltf_export import check_head, split_seams
from avatargen.exchange.texture_fill import export_texture
from avatargen.geometry.types import HeadTopology
from avatargen.heads.base import HeadModel
from avatargen.io.avatar_file import Avatar, texture_bytes

LOST = "without joints, expressions and clips, which the format cannot hold"


@torch.no_grad()
def to_plain(avatar: Avatar, head: HeadModel | None, suffix: str, stem: str) -> dict[str, bytes]:
    """Return the files of an avatar as a plain mesh, by name; metres, y up, the face along +z.

    Args:
        avatar: a finished avatar, or a mesh of another system.
        head: the head model that it was made with, on the CPU; None for a mesh of another system.
        suffix: ``.obj`` or ``.ply``.
        stem: of the files' names.

    Raises:
        ValueError: the avatar failed, or was made with another head model.
    """
    if head is not None or avatar.frames is not None:
        check_head(avatar, head)
    elif avatar.status != "ok":
        raise ValueError(f"{avatar.id}: got status '{avatar.status}'; expected 'ok': a failed avatar has no head")
    topology = avatar.topology if head is None else head.topology
    assert topology is not None
    points = avatar.offsets if head is None else head.vertices(avatar.parameters())[0]
    texture = avatar.baked_texture if head is None else export_texture(avatar, head)
    return (_obj if suffix == ".obj" else _ply)(points, topology, texture, stem)


def _obj(points: torch.Tensor, topology: HeadTopology, texture: torch.Tensor, stem: str) -> dict[str, bytes]:
    (vertex, uv), corners = split_seams(_corners(topology))
    material = SimpleMaterial(image=Image.fromarray(texture_bytes(texture)), name=stem)
    visual = TextureVisuals(uv=topology.uvs.numpy()[uv], material=material)
    mesh = trimesh.Trimesh(points.numpy()[vertex], corners.reshape(-1, 3), visual=visual, process=False)
    text, others = export_obj(mesh, include_texture=True, return_texture=True, mtl_name=f"{stem}.mtl", header=LOST)
    return {f"{stem}.obj": text.encode(), **{name: _bytes(data) for name, data in others.items()}}


def _ply(points: torch.Tensor, topology: HeadTopology, texture: torch.Tensor, stem: str) -> dict[str, bytes]:
    places = topology.uvs * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0])
    sampled = grid_sample(texture[None], places[None, None], align_corners=False, padding_mode="border")[0, :, 0].T
    colours = torch.zeros(len(points), 3)
    colours[topology.faces.flatten().long()] = sampled[topology.face_uvs.flatten().long()]
    shades = texture_bytes(colours.T[:, None])[0]
    mesh = trimesh.Trimesh(points.numpy(), topology.faces.numpy(), vertex_colors=shades, process=False)
    return {f"{stem}.ply": export_ply(mesh)}


def _corners(topology: HeadTopology) -> np.ndarray:
    return np.stack([topology.faces.flatten().numpy(), topology.face_uvs.flatten().numpy()], axis=1)


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else data
