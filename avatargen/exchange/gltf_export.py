"""Export an avatar as a rigged GLB (glTF 2.0) for Blender, Unity or a web page.

    avatargen export results/embedded/embedded/full/avatars/*
    avatargen export FOLDER --out head.glb

The file holds the neutral head with its offsets and its baked texture (unlit, as in our renders), and the joints
(neck, jaw, eyes, …) under a body that does not move. Units are metres; y is up and the face looks along +z, as in glTF.
Its morph targets are, in this order:

- the expressions of the head model, under its own names (Anny's are ARKit's), set to the avatar's values;
- facial actions that the head model has besides, under their ARKit names (FLAME's, see `HeadModel.actions`), at 0;
- pose correctives, where the head model has some (FLAME), since skinning has no place for them: two for each axis of a
  joint. A rotation by θ about that axis needs sin θ of ``corrective_JOINT_AXIS_sin`` and cos θ - 1 of ``…_cos``. They
  are linear in R - I, so the pair is exact for a rotation about one axis. The mesh's ``extras.correctives`` lists them,
  and the clip ``jaw_open`` drives the jaw together with its pair.

Morph targets and skinning then reproduce the head model, with two exceptions: a vertex keeps its four strongest joints,
as glTF viewers expect; and joints lie where they do in the neutral face, while FLAME's move a little with expressions.
"""

from __future__ import annotations

import io
import math
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
CORRECTIVE = "corrective_"
"""Beginning of the names of the correctives' morph targets."""
INFLUENCES = 4
"""Joints per vertex."""
VISIBLE = 1e-4
"""Metres; correctives that move no vertex by more in a quarter turn are left out."""
AXES = "xyz"
JAW = "jaw"
OPENING = math.radians(25)
"""Rotation of the jaw in the clip, radians; FLAME's ``jawOpen`` at full strength."""
CLIP_KEYS, CLIP_SECONDS = 25, 2.0
"""Keys of the clip, at most 3.3° apart; viewers interpolate between them."""


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
    scene = _scene(avatar, head, rig, mesh, buffer)
    if f"{CORRECTIVE}{JAW}_x_sin" in mesh["extras"]["targetNames"]:
        scene["animations"] = [_jaw_clip(mesh, 2 + head.joint_names.index(JAW), buffer)]
    return buffer.pack(scene)


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
    (vertex, uv), triangles = split_seams(corners)
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
    targets = morph_targets(head, rest)
    primitive["targets"] = [{"POSITION": _add_target(buffer, shift.numpy()[vertex])} for shift in targets.values()]
    extras: dict[str, Any] = {"targetNames": list(targets)}
    correctives = [name for name in targets if name.startswith(CORRECTIVE)]
    mesh = {"name": avatar.id, "primitives": [primitive], "extras": extras}
    mesh["weights"] = [initial_weight(name, avatar, head) for name in targets]
    if correctives:
        extras["correctives"] = correctives
    return mesh


def split_seams(corners: Int[np.ndarray, "C 2"]) -> tuple[Int[np.ndarray, "2 U"], Int[np.ndarray, " C"]]:
    """Return the unique (vertex, texture coordinate) pairs and each corner's pair: glTF allows one per vertex."""
    unique, index = np.unique(corners, axis=0, return_inverse=True)
    return unique.T, index.ravel()


def morph_targets(head: HeadModel, rest: HeadParameters) -> dict[str, Float[torch.Tensor, "N 3"]]:
    """Return the displacement by each expression, facial action and corrective that moves some vertex, metres."""
    neutral = head.vertices(rest)[0]
    units = torch.eye(len(head.expression_names))
    moves = {name: (unit, rest.joints[0]) for name, unit in zip(head.expression_names, units, strict=True)}
    moves |= {name: (action.expression, action.joints) for name, action in head.actions().items()}
    targets = {}
    for name, (expression, joints) in moves.items():
        moved = head.vertices(HeadParameters(rest.shape, expression[None], joints[None], rest.offsets))[0] - neutral
        if moved.abs().max() > SMALLEST:
            targets[name] = moved
    return targets | _correctives(head)


def _correctives(head: HeadModel) -> dict[str, Float[torch.Tensor, "N 3"]]:
    """Return the displacements of sin θ and cos θ - 1 of a rotation of each joint about each axis, metres.

    About one axis, R - I is linear in these two, and correctives c are linear in R - I. With quarter turns to both
    sides, c(90°) = s - k and c(-90°) = -s - k, where s belongs to the sine and k to the cosine.
    """
    targets = {}
    for joint, name in enumerate(head.joint_names):
        for axis, letter in enumerate(AXES):
            turns = torch.zeros(2, len(head.joint_names), 3)
            turns[:, joint, axis] = torch.tensor([torch.pi / 2, -torch.pi / 2])
            forth, back = head.correctives(turns)
            pair = {"sin": (forth - back) / 2, "cos": -(forth + back) / 2}
            targets |= {
                f"{CORRECTIVE}{name}_{letter}_{part}": move for part, move in pair.items() if move.abs().max() > VISIBLE
            }
    return targets


def initial_weight(name: str, avatar: Avatar, head: HeadModel) -> float:
    """Return the weight that a morph target has in the avatar."""
    if name in head.expression_names:
        return float(avatar.expression[head.expression_names.index(name)])
    if not name.startswith(CORRECTIVE):
        return 0.0
    joint, axis, part = name.removeprefix(CORRECTIVE).rsplit("_", 2)
    return _corrective_weight(part, float(avatar.joints[head.joint_names.index(joint), AXES.index(axis)]))


def _corrective_weight(part: str, angle: float) -> float:
    """Return the weight of a corrective for a rotation about its axis, radians."""
    return math.sin(angle) if part == "sin" else math.cos(angle) - 1


def _jaw_clip(mesh: dict[str, Any], node: int, buffer: Buffer) -> dict[str, Any]:
    """Add a clip that opens and closes the jaw, with the correctives of its pitch, to the buffer; return its JSON.

    Args:
        mesh: JSON of the mesh.
        node: of the jaw.
        buffer: gets the keys.
    """
    phase = np.linspace(0, 1, CLIP_KEYS)
    angles = OPENING * (1 - np.cos(2 * np.pi * phase)) / 2
    weights = np.tile(np.asarray(mesh["weights"]), (CLIP_KEYS, 1))
    for part in ("sin", "cos"):
        name = f"{CORRECTIVE}{JAW}_x_{part}"
        if name in mesh["extras"]["targetNames"]:
            column = mesh["extras"]["targetNames"].index(name)
            weights[:, column] = [_corrective_weight(part, angle) for angle in angles]
    turns = np.zeros((CLIP_KEYS, 4))
    turns[:, 0], turns[:, 3] = np.sin(angles / 2), np.cos(angles / 2)
    time = buffer.add((CLIP_SECONDS * phase).astype("f4"))
    outputs = {"rotation": (node, turns), "weights": (0, weights.ravel())}
    samplers, channels = [], []
    for path, (target, values) in outputs.items():
        channels.append({"sampler": len(samplers), "target": {"node": target, "path": path}})
        samplers.append({"input": time, "output": buffer.add(values.astype("f4")), "interpolation": "LINEAR"})
    return {"name": "jaw_open", "samplers": samplers, "channels": channels}


def _add_target(buffer: Buffer, shift: Float[np.ndarray, "U 3"]) -> int:
    """Add a morph target to the buffer without displacements that nobody sees; return its accessor."""
    rows = np.flatnonzero(np.abs(shift).max(axis=1) > SMALLEST)
    shift = np.where(np.isin(np.arange(len(shift)), rows)[:, None], shift, 0)
    sparse = 16 * len(rows) < 12 * len(shift)  # bytes; a sparse row has an index besides its numbers
    return buffer.add_sparse(shift, rows) if sparse else buffer.add(shift.astype("f4"), ARRAY)


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
        "nodes": skeleton_nodes(avatar, head, rig),
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


def skeleton_nodes(avatar: Avatar, head: HeadModel, rig: Rig) -> list[dict[str, Any]]:
    """Return the JSON of the mesh, the body and, from index 2, the joints with the avatar's rotations."""
    nodes: list[dict[str, Any]] = [{"name": avatar.id, "mesh": 0, "skin": 0}, {"name": "body"}]
    rotations = roma.rotvec_to_unitquat(avatar.joints.double()).tolist()  # (x, y, z, w), as in glTF
    for joint, (name, rotation) in enumerate(zip(head.joint_names, rotations, strict=True)):
        parent = rig.parents[joint]
        place = rig.pivots[joint] - (rig.pivots[parent] if parent >= 0 else 0)
        nodes.append({"name": name, "translation": place.tolist(), "rotation": rotation})
        nodes[parent + 2 if parent >= 0 else 1].setdefault("children", []).append(joint + 2)
    return nodes
