"""Export an avatar as a rigged GLB (glTF 2.0) for Blender, Unity or a web page.

    avatargen export results/embedded/embedded/full/avatars/*
    avatargen export FOLDER --out head.glb

The file holds the neutral head with its offsets, its baked texture, filled where no camera saw
(:mod:`avatargen.exchange.texture_fill`), and the joints (:mod:`avatargen.exchange.gltf_skeleton`). Units are metres; y
is up and the face looks along +z, as in glTF. `GltfOptions` says what may be chosen. The morph targets are,
in this order:

- the expressions of the head model, under its own names (Anny's are ARKit's), set to the avatar's values;
- facial actions that the head model has besides, under their ARKit names (FLAME's, see `HeadModel.actions`), at 0;
- visemes (:mod:`avatargen.exchange.visemes`), if asked for, at 0;
- pose correctives, where the head model has some (FLAME), since skinning has no place for them: two for each axis of a
  joint. A rotation by θ about that axis of the head needs sin θ of ``corrective_JOINT_AXIS_sin`` and cos θ - 1 of
  ``…_cos``. They are linear in R - I, so the pair is exact for a rotation about one axis. The mesh's
  ``extras.correctives`` lists them, and the clip ``jaw_open`` drives the jaw together with its pair.

Morph targets and skinning then reproduce the head model, with two exceptions: a vertex keeps its four strongest joints,
as glTF viewers expect; and joints lie where they do in the neutral face, while FLAME's move a little with expressions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from avatargen.exchange.gltf_clips import CORRECTIVE, JAW, Add, demo_clip, jaw_clip
from avatargen.exchange.gltf_material import asset, image_bytes, origin, paint, surface
from avatargen.exchange.gltf_options import DEFAULTS, GltfOptions
from avatargen.exchange.gltf_skeleton import Skeleton
from avatargen.exchange.gltf_targets import SMALLEST, initial_weight, morph_targets
from avatargen.exchange.gltf_writer import ARRAY, ELEMENTS, Buffer, index_type
from avatargen.exchange.texture_fill import export_texture
from avatargen.geometry.normals import area_normals
from avatargen.heads.base import HeadModel, Rig
from avatargen.io.avatar_file import Avatar

NAME = "avatar.glb"
"""Default file name."""
INFLUENCES = 4
"""Joints per vertex."""
SMALLEST_TURN = 1e-3
"""Morph targets leave out smaller changes of unit normals."""


@torch.no_grad()
def to_glb(avatar: Avatar, head: HeadModel, options: GltfOptions = DEFAULTS) -> bytes:
    """Return the avatar as a binary glTF 2.0 file.

    Args:
        avatar: a finished avatar.
        head: the head model that it was made with, on the CPU.
        options: what the file holds.

    Raises:
        ValueError: the avatar failed, or was made with another head model or by another system.
    """
    check_head(avatar, head)
    buffer, rig = Buffer(), head.rig(avatar.shape)
    mesh = _mesh(avatar, head, rig, buffer, options)
    skeleton = Skeleton.of(head, rig, head.vertices(avatar.parameters().neutral())[0])
    scene = _scene(avatar, head, skeleton, buffer, options) | {"meshes": [mesh]}
    if clips := clips_of(mesh, skeleton, options, buffer.add):
        scene["animations"] = clips
    return buffer.pack(scene)


def check_head(avatar: Avatar, head: HeadModel | None) -> None:
    """Raise an error if an avatar has no head of a head model.

    Raises:
        ValueError: the avatar failed, or was made with another head model or by another system.
    """
    if avatar.status != "ok":
        raise ValueError(f"{avatar.id}: got status '{avatar.status}'; expected 'ok': a failed avatar has no head")
    if avatar.frames is not None:
        raise ValueError(f"{avatar.id}: got rendered views of another system; expected an avatar with a surface")
    if avatar.topology is not None or head is None:
        raise ValueError(
            f"{avatar.id}: got a mesh of another system; expected a head of a head model: it has neither joints nor "
            "expressions, so there is no rig to export; --format obj or ply writes it as it is"
        )
    if avatar.head_id != head.id:
        raise ValueError(f"{avatar.id}: got head '{head.id}'; expected '{avatar.head_id}', which it was made with")


def clips_of(mesh: dict[str, Any], skeleton: Skeleton, options: GltfOptions, add: Add) -> list[dict[str, Any]]:
    """Return the JSON of the clips that a mesh can play, and add their keys to the file.

    Args:
        mesh: its JSON; its node is the first, and joints follow.
        skeleton: the joints.
        options: `clip` counts.
        add: adds arrays to the file.
    """
    names, rest = mesh["extras"]["targetNames"], mesh["weights"]
    clips = [demo_clip(names, rest, 0, add)] if options.clip else []
    if f"{CORRECTIVE}{JAW}_x_sin" in names:
        jaw = skeleton.names.index(JAW)
        clips.append(jaw_clip(names, rest, 0, 1 + jaw, skeleton.bend(jaw), add))
    return [clip for clip in clips if clip]


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


def whole_steps(
    joints: UInt8[np.ndarray, "N 4"], weights: Float[np.ndarray, "N 4"], most: int
) -> tuple[UInt8[np.ndarray, "N 4"], np.ndarray]:
    """Return joints, and weights in steps of 1 / most that still sum to 1: the first, the largest, takes the rest.

    Args:
        joints, weights: of `strongest`.
        most: 255 or 65535, the largest number of the type that the steps have.

    Returns:
        Joints, 0 where the weight rounds to 0, and steps.

    Example:
        >>> joints, steps = whole_steps(np.array([[1, 2, 3, 0]], "u1"), np.array([[0.75, 0.249, 0.001, 0.0]]), most=255)
        >>> joints.tolist(), steps.tolist()
        ([[1, 2, 0, 0]], [[192, 63, 0, 0]])
    """
    steps = np.round(weights * most).astype(int)
    steps[:, 0] += most - steps.sum(axis=1)
    return np.where(steps > 0, joints, 0).astype("u1"), steps.astype("u1" if most == 255 else "u2")


def _mesh(avatar: Avatar, head: HeadModel, rig: Rig, buffer: Buffer, options: GltfOptions) -> dict[str, Any]:
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
    # of 16 bits: steps of 8 move a vertex by up to 0.1 mm
    joints, weights = whole_steps(*strongest(rig), most=65535)
    primitive: dict[str, Any] = {
        "attributes": {name: buffer.add(values.astype("f4"), ARRAY) for name, values in attributes.items()},
        "indices": buffer.add(triangles.astype(index_type(len(vertex))), ELEMENTS),
    }
    primitive["attributes"]["JOINTS_0"] = buffer.add(joints[vertex], ARRAY)
    primitive["attributes"]["WEIGHTS_0"] = buffer.add(weights[vertex], ARRAY, normalized=True)
    targets = morph_targets(head, rest, options.visemes)
    primitive["targets"] = [_add_target(buffer, move, points, head, vertex, options) for move in targets.values()]
    # Blender moves an animated mesh under its armature and leaves the node, with the node's extras, behind
    extras: dict[str, Any] = {**origin(avatar), "targetNames": list(targets)}
    if correctives := [name for name in targets if name.startswith(CORRECTIVE)]:
        extras["correctives"] = correctives
    initial = [initial_weight(name, avatar, head) for name in targets]
    return {"name": avatar.id, "primitives": [paint(primitive, options)], "extras": extras, "weights": initial}


def split_seams(corners: Int[np.ndarray, "C 2"]) -> tuple[Int[np.ndarray, "2 U"], Int[np.ndarray, " C"]]:
    """Return the unique (vertex, texture coordinate) pairs and each corner's pair: glTF allows one per vertex."""
    unique, index = np.unique(corners, axis=0, return_inverse=True)
    return unique.T, index.ravel()


def _add_target(
    buffer: Buffer,
    move: Float[torch.Tensor, "N 3"],
    points: Float[torch.Tensor, "N 3"],
    head: HeadModel,
    vertex: Int[np.ndarray, " U"],
    options: GltfOptions,
) -> dict[str, int]:
    """Add a morph target to the buffer; return its accessors. Lights need its normals, too."""
    target = {"POSITION": _add_change(buffer, move.numpy()[vertex], SMALLEST)}
    if options.material != "unlit":
        faces = head.topology.faces
        turn = area_normals(points + move, faces) - area_normals(points, faces)
        target["NORMAL"] = _add_change(buffer, turn.numpy()[vertex], SMALLEST_TURN)
    return target


def _add_change(buffer: Buffer, change: Float[np.ndarray, "U 3"], smallest: float) -> int:
    """Add changes of vertices to the buffer without those that nobody sees; return their accessor."""
    rows = np.flatnonzero(np.abs(change).max(axis=1) > smallest)
    change = np.where(np.isin(np.arange(len(change)), rows)[:, None], change, 0)
    bytes_a_row = 12 + index_type(len(change)).itemsize  # a sparse row has an index besides its numbers
    sparse = bytes_a_row * len(rows) < 12 * len(change)
    return buffer.add_sparse(change, rows) if sparse else buffer.add(change.astype("f4"), ARRAY)


def _scene(avatar: Avatar, head: HeadModel, skeleton: Skeleton, buffer: Buffer, options: GltfOptions) -> dict[str, Any]:
    """Add texture and joints to the buffer; return the file's JSON without meshes and the buffer's part."""
    kind = options.texture or "png"
    image = buffer.view(image_bytes(export_texture(avatar, head), kind))
    skinned = skinned_nodes(avatar, skeleton, buffer.add(skeleton.inverse_bind()), options)
    return {"asset": asset(avatar), "scene": 0, **skinned, **surface(image, kind, options)}


def skinned_nodes(avatar: Avatar, skeleton: Skeleton, inverse_bind: int, options: GltfOptions) -> dict[str, Any]:
    """Return the JSON of the scene: the mesh, its skin and, from node 1, the joints with the avatar's rotations.

    Args:
        avatar: to export.
        skeleton: its joints.
        inverse_bind: accessor of the skeleton's matrices.
        options: names of the bones.
    """
    whole = {"name": avatar.id, "mesh": 0, "skin": 0, "extras": origin(avatar)}
    joints = list(range(1, len(skeleton.names) + 1))
    return {
        "scenes": [{"nodes": [0, 1]}],
        "nodes": [whole, *skeleton.nodes(avatar.joints, options)],
        "skins": [{"joints": joints, "inverseBindMatrices": inverse_bind, "skeleton": 1}],
    }
