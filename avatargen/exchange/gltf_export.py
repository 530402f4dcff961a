"""Avatars to take home: a rigged GLB (glTF 2.0), for Blender, Unity or a web page.

    python -m avatargen.exchange.gltf_export results/embedded/embedded/full/avatars/*
    python -m avatargen.exchange.gltf_export FOLDER --out head.glb

In a file: the head in its neutral shape with its offsets; its baked texture, unlit, since renders of an avatar are;
every expression of the head model as a morph target by its own name (ARKit's, where that is Anny), set as the avatar
has them; joints (neck, jaw, eyes …) under a body that does not move. Metres, y up, the face along +z, as in glTF.

Morph targets and skinning are the head model's own, save that a vertex keeps its four strongest joints, as glTF's
viewers expect, and that FLAME's correctives of poses have no place in it.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from avatargen.exchange.gltf_writer import ARRAY, ELEMENTS, Buffer
from avatargen.geometry.normals import area_normals
from avatargen.geometry.types import HeadParameters
from avatargen.heads.base import HeadModel, Rig
from avatargen.io.avatar_file import Avatar

NAME = "avatar.glb"
SMALLEST = 1e-5
"""Metres; what an expression moves by less, it does not move."""
INFLUENCES = 4


@torch.no_grad()
def to_glb(avatar: Avatar, head: HeadModel) -> bytes:
    """The avatar as a binary glTF 2.0.

    Raises:
        ValueError: it failed, or is of another head model.
    """
    if avatar.status != "ok":
        raise ValueError(f"{avatar.id}: status '{avatar.status}'; only avatars that are ok have a head of their own")
    if avatar.head_id != head.id:
        raise ValueError(f"{avatar.id}: made with head '{avatar.head_id}'; got '{head.id}'")
    buffer, rest = Buffer(), avatar.parameters().neutral()
    points = head.vertices(rest)[0]
    faces = head.topology.faces.flatten().numpy()
    pairs = np.stack([faces, head.topology.face_uvs.flatten().numpy()], axis=1)
    (vertex, uv), triangles = _seamed(pairs)
    attributes = {
        "POSITION": points.numpy()[vertex],
        "NORMAL": area_normals(points, head.topology.faces).numpy()[vertex],
        "TEXCOORD_0": (head.topology.uvs.numpy() * (1, -1) + (0, 1)).astype("f4")[uv],
    }
    rig = head.rig(avatar.shape)
    joints, weights = strongest(rig)
    primitive: dict[str, Any] = {
        "attributes": {name: buffer.add(values.astype("f4"), ARRAY) for name, values in attributes.items()},
        "indices": buffer.add(triangles.astype("u4"), ELEMENTS),
        "material": 0,
    }
    primitive["attributes"]["JOINTS_0"] = buffer.add(joints[vertex], ARRAY)
    primitive["attributes"]["WEIGHTS_0"] = buffer.add(weights[vertex], ARRAY)
    names, primitive["targets"] = _morphs(buffer, head, rest, vertex)
    mesh = {"name": avatar.id, "primitives": [primitive], "extras": {"targetNames": names}}
    mesh["weights"] = [float(avatar.expression[head.expression_names.index(name)]) for name in names]
    return buffer.pack(_scene(avatar, head, rig, mesh, buffer))


def strongest(rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """The four strongest joints of each vertex, numbered from 1, with 0 for the body; and their weights, which add up.

    Returns:
        bytes (N, 4), 32-bit floats (N, 4).
    """
    own = rig.weights.double().numpy().T
    whole = np.concatenate([(1 - own.sum(1, keepdims=True)).clip(0), own], axis=1)
    whole = np.pad(whole, ((0, 0), (0, max(0, INFLUENCES - whole.shape[1]))))
    joints = np.argsort(-whole, axis=1, kind="stable")[:, :INFLUENCES]
    weights = np.take_along_axis(whole, joints, axis=1)
    joints = np.where(weights > 0, joints, 0)
    return joints.astype("u1"), (weights / weights.sum(1, keepdims=True)).astype("f4")


def _seamed(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices for glTF, where one has one texture coordinate: the two indices of each, and the corners' numbers."""
    unique, index = np.unique(pairs, axis=0, return_inverse=True)
    return unique.T, index.ravel()


def _morphs(
    buffer: Buffer, head: HeadModel, rest: HeadParameters, vertex: np.ndarray
) -> tuple[list[str], list[dict[str, int]]]:
    """Names and targets of the expressions that move something."""
    names, targets = [], []
    neutral = head.vertices(rest)[0]
    for k, name in enumerate(head.expression_names):
        one = torch.zeros_like(rest.expression)
        one[0, k] = 1.0
        moved = head.vertices(HeadParameters(rest.shape, one, rest.joints, rest.offsets))[0] - neutral
        shift = moved.numpy()[vertex]
        rows = np.flatnonzero(np.abs(shift).max(axis=1) > SMALLEST)
        if len(rows):
            shift = np.where(np.isin(np.arange(len(shift)), rows)[:, None], shift, 0)
            names.append(name)
            targets.append({"POSITION": buffer.add_sparse(shift, rows)})
    return names, targets


def _scene(avatar: Avatar, head: HeadModel, rig: Rig, mesh: dict[str, Any], buffer: Buffer) -> dict[str, Any]:
    """All of the file's JSON but the buffer's part."""
    png = io.BytesIO()
    texture = (avatar.baked_texture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(texture).save(png, "PNG")
    image = {"bufferView": buffer.view(png.getvalue()), "mimeType": "image/png"}
    inverse = np.tile(np.eye(4, dtype="f4"), (len(rig.pivots) + 1, 1, 1))
    inverse[1:, 3, :3] = -rig.pivots.numpy()  # glTF's matrices are stored column by column
    count = len(rig.pivots)
    nodes = [{"name": avatar.id, "mesh": 0, "skin": 0}, {"name": "body"}]
    for joint, name in enumerate(head.joint_names):
        parent = rig.parents[joint]
        place = rig.pivots[joint] - (rig.pivots[parent] if parent >= 0 else 0)
        nodes.append({"name": name, "translation": place.tolist(), "rotation": quaternion(avatar.joints[joint])})
        nodes[parent + 2 if parent >= 0 else 1].setdefault("children", []).append(joint + 2)
    material = {
        "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0},
        "extensions": {"KHR_materials_unlit": {}},
        "doubleSided": True,
    }
    about = {"prompt": avatar.prompt, "seed": avatar.seed, "method": avatar.method, "head": avatar.head_id}
    return {
        "asset": {"version": "2.0", "generator": "avatargen", "extras": {**about, "prior": avatar.prior_id}},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0, "scenes": [{"nodes": [0, 1]}], "nodes": nodes, "meshes": [mesh],
        "skins": [{"joints": list(range(1, count + 2)), "inverseBindMatrices": buffer.add(inverse), "skeleton": 1}],
        "materials": [material], "textures": [{"source": 0, "sampler": 0}], "images": [image],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
    }  # fmt: skip


def quaternion(axis_angle: torch.Tensor) -> list[float]:
    """(x, y, z, w) of a rotation."""
    angle = float(axis_angle.norm())
    axis = axis_angle / max(angle, 1e-12)
    return [*(axis * np.sin(angle / 2)).tolist(), float(np.cos(angle / 2))]
