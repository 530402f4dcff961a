"""Export an avatar as a rigged GLB (glTF 2.0) for Blender, Unity or a web page.

    avatargen export results/embedded/embedded/full/avatars/*
    avatargen export FOLDER --out head.glb

The file holds the neutral head with its offsets and its baked texture (unlit, as in our renders); each expression of
the head model as a morph target with its own name (Anny's are ARKit's), set to the avatar's value; and the joints
(neck, jaw, eyes, …) under a body that does not move. Units are metres; y is up and the face looks along +z, as in glTF.

Morph targets and skinning reproduce the head model, with two exceptions: a vertex keeps its four strongest joints, as
glTF viewers expect, and glTF has no place for FLAME's pose correctives.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import roma
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image

from avatargen.exchange.gltf_writer import ARRAY, ELEMENTS, Buffer
from avatargen.geometry.normals import area_normals
from avatargen.geometry.types import HeadParameters
from avatargen.heads.base import HeadModel, Rig
from avatargen.io.avatar_file import Avatar

NAME = "avatar.glb"
"""Default file name."""
SMALLEST = 1e-5
"""Metres; morph targets leave out smaller displacements."""
INFLUENCES = 4
"""Joints per vertex."""


@torch.no_grad()
def to_glb(avatar: Avatar, head: HeadModel) -> bytes:
    """Return the avatar as a binary glTF 2.0 file.

    Args:
        avatar: a finished avatar.
        head: the head model that it was made with, on the CPU.

    Raises:
        ValueError: the avatar failed, or was made with another head model.
    """
    if avatar.status != "ok":
        raise ValueError(f"{avatar.id}: got status '{avatar.status}'; expected 'ok': a failed avatar has no head")
    if avatar.head_id != head.id:
        raise ValueError(f"{avatar.id}: got head '{head.id}'; expected '{avatar.head_id}', which it was made with")
    buffer, rig = Buffer(), head.rig(avatar.shape)
    mesh = _mesh(avatar, head, rig, buffer)
    return buffer.pack(_scene(avatar, head, rig, mesh, buffer))


def strongest(rig: Rig) -> tuple[UInt8[np.ndarray, "N 4"], Float[np.ndarray, "N 4"]]:
    """Return the four strongest joints of each vertex and their weights.

    Args:
        rig: joints and skinning weights.

    Returns:
        Joints, numbered from 1, with 0 for the body, and their weights, which sum to 1.

    Example:
        >>> joints, weights = strongest(Rig((-1,), torch.zeros(1, 3), weights=torch.tensor([[0.25, 1.0]])))
        >>> joints.tolist(), weights.tolist()
        ([[0, 1, 0, 0], [1, 0, 0, 0]], [[0.75, 0.25, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    """
    own = rig.weights.double().numpy().T
    whole = np.concatenate([(1 - own.sum(1, keepdims=True)).clip(0), own], axis=1)
    whole = np.pad(whole, ((0, 0), (0, max(0, INFLUENCES - whole.shape[1]))))
    joints = np.argsort(-whole, axis=1, kind="stable")[:, :INFLUENCES]
    weights = np.take_along_axis(whole, joints, axis=1)
    joints = np.where(weights > 0, joints, 0)
    return joints.astype("u1"), (weights / weights.sum(1, keepdims=True)).astype("f4")


def _mesh(avatar: Avatar, head: HeadModel, rig: Rig, buffer: Buffer) -> dict[str, Any]:
    """Add the mesh and its morph targets to the buffer; return its JSON."""
    rest = avatar.parameters().neutral()
    points = head.vertices(rest)[0]
    corners = np.stack([head.topology.faces.flatten().numpy(), head.topology.face_uvs.flatten().numpy()], axis=1)
    (vertex, uv), triangles = _split_seams(corners)
    attributes = {
        "POSITION": points.numpy()[vertex],
        "NORMAL": area_normals(points, head.topology.faces).numpy()[vertex],
        "TEXCOORD_0": (head.topology.uvs.numpy() * (1, -1) + (0, 1)).astype("f4")[uv],
    }
    joints, weights = strongest(rig)
    primitive: dict[str, Any] = {
        "attributes": {name: buffer.add(values.astype("f4"), ARRAY) for name, values in attributes.items()},
        "indices": buffer.add(triangles.astype("u4"), ELEMENTS),
        "material": 0,
    }
    primitive["attributes"]["JOINTS_0"] = buffer.add(joints[vertex], ARRAY)
    primitive["attributes"]["WEIGHTS_0"] = buffer.add(weights[vertex], ARRAY)
    names, primitive["targets"] = _morph_targets(buffer, head, rest, vertex)
    mesh = {"name": avatar.id, "primitives": [primitive], "extras": {"targetNames": names}}
    mesh["weights"] = [float(avatar.expression[head.expression_names.index(name)]) for name in names]
    return mesh


def _split_seams(corners: Int[np.ndarray, "C 2"]) -> tuple[Int[np.ndarray, "2 U"], Int[np.ndarray, " C"]]:
    """Return the unique (vertex, texture coordinate) pairs and each corner's pair: glTF allows one per vertex."""
    unique, index = np.unique(corners, axis=0, return_inverse=True)
    return unique.T, index.ravel()


def _morph_targets(
    buffer: Buffer, head: HeadModel, rest: HeadParameters, vertex: Int[np.ndarray, " U"]
) -> tuple[list[str], list[dict[str, int]]]:
    """Add the expressions that move some vertex to the buffer; return their names and morph targets."""
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
    """Add texture and joints to the buffer; return the file's JSON without the buffer's part."""
    image = {"bufferView": buffer.view(_png(avatar)), "mimeType": "image/png"}
    count = len(rig.pivots)
    inverse = np.tile(np.eye(4, dtype="f4"), (count + 1, 1, 1))
    inverse[1:, 3, :3] = -rig.pivots.numpy()  # glTF stores matrices column by column
    skin = {"joints": list(range(1, count + 2)), "inverseBindMatrices": buffer.add(inverse), "skeleton": 1}
    material = {
        "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0},
        "extensions": {"KHR_materials_unlit": {}},
        "doubleSided": True,
    }
    about = {"prompt": avatar.prompt, "seed": avatar.seed, "method": avatar.method, "head": avatar.head_id}
    return {
        "asset": {"version": "2.0", "generator": "avatargen", "extras": {**about, "prior": avatar.prior_id}},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": _nodes(avatar, head, rig),
        "meshes": [mesh],
        "skins": [skin],
        "materials": [material],
        "textures": [{"source": 0, "sampler": 0}],
        "images": [image],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
    }


def _png(avatar: Avatar) -> bytes:
    """Return the baked texture as a PNG."""
    file = io.BytesIO()
    texture = (avatar.baked_texture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(texture).save(file, "PNG")
    return file.getvalue()


def _nodes(avatar: Avatar, head: HeadModel, rig: Rig) -> list[dict[str, Any]]:
    """Return the JSON of the mesh, the body and, from index 2, the joints with the avatar's rotations."""
    nodes: list[dict[str, Any]] = [{"name": avatar.id, "mesh": 0, "skin": 0}, {"name": "body"}]
    rotations = roma.rotvec_to_unitquat(avatar.joints.double()).tolist()  # (x, y, z, w), as in glTF
    for joint, (name, rotation) in enumerate(zip(head.joint_names, rotations, strict=True)):
        parent = rig.parents[joint]
        place = rig.pivots[joint] - (rig.pivots[parent] if parent >= 0 else 0)
        nodes.append({"name": name, "translation": place.tolist(), "rotation": rotation})
        nodes[parent + 2 if parent >= 0 else 1].setdefault("children", []).append(joint + 2)
    return nodes
