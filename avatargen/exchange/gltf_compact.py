"""Write an avatar as a small GLB for web pages: about 250 kB beside what all heads of its model share.

Positions, normals, texture coordinates and morph targets are integers (KHR_mesh_quantization), compressed by
:mod:`avatargen.exchange.meshopt_codec`; the texture is a JPEG by default. Viewers that know both extensions, such
as three.js and Babylon.js, show what :mod:`avatargen.exchange.gltf_export` writes in full precision, up to half a
quantum of space.
Facial actions and expressions are morph targets; correctives of poses are left out, since no page turns joints.

The file is in two parts. The `own` part holds what differs from head to head. The `shared` part holds triangles,
texture coordinates, skinning weights and morph targets. These are the same for all heads of most models, so a page
with many heads carries them once: `joined` makes one GLB of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from avatargen.exchange.gltf_clips import CORRECTIVE
from avatargen.exchange.gltf_export import check_head, clips_of, skinned_nodes, split_seams, strongest, whole_steps
from avatargen.exchange.gltf_material import asset, image_bytes, paint, surface
from avatargen.exchange.gltf_options import GltfOptions
from avatargen.exchange.gltf_skeleton import Skeleton
from avatargen.exchange.gltf_targets import initial_weight, morph_targets
from avatargen.exchange.gltf_writer import parse, to_file
from avatargen.exchange.meshopt_codec import (
    ATTRIBUTES,
    INDICES,
    OCTAHEDRAL,
    encode_attributes,
    encode_indices,
    encode_normals,
    spatial_order,
)
from avatargen.exchange.texture_fill import export_texture
from avatargen.geometry.normals import area_normals
from avatargen.geometry.types import HeadTopology
from avatargen.heads.base import HeadModel
from avatargen.io.avatar_file import Avatar
from avatargen.io.content_hash import digest

QUANTUM = 2.0**-15
"""Smallest step of a coordinate, metres (31 µm); 16 bits then span 2 m. Larger meshes have a multiple of it."""
PAGE = GltfOptions(clip=False)
"""What a page shows."""
WIDEST = 1024
"""Largest rows and columns of the texture."""
EXTENSIONS = ["EXT_meshopt_compression", "KHR_mesh_quantization"]
_SCALARS = {
    np.dtype("f4"): 5126,
    np.dtype("i1"): 5120,
    np.dtype("u1"): 5121,
    np.dtype("i2"): 5122,
    np.dtype("u2"): 5123,
    np.dtype("u4"): 5125,
}
_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


@dataclass(frozen=True)
class Shared:
    """What the heads of a model have in common.

    Attributes:
        vertex, uv: index of each vertex of the file among the head's vertices, and among its texture coordinates.
        data: bytes of the buffer.
        views, accessors: JSON of its views, whose offsets count from its beginning, and of its accessors.
        attributes: accessor of each attribute.
        indices: accessor of the triangles.
        targets: accessor of each morph target, by its name.
    """

    vertex: Int[np.ndarray, " U"]
    uv: Int[np.ndarray, " U"]
    data: bytes
    views: list[dict[str, Any]]
    accessors: list[dict[str, Any]]
    attributes: dict[str, int]
    indices: int
    targets: dict[str, int]

    @property
    def id(self) -> str:
        """Return a name that tells shared parts apart."""
        return digest(self.data.hex())[:12]


@dataclass(frozen=True)
class Compact:
    """A compressed avatar.

    Attributes:
        own: a GLB whose buffer ends before the shared bytes.
        shared: the shared bytes.
    """

    own: bytes
    shared: bytes


class _Packer:
    """Collects compressed buffer views, and their accessors."""

    def __init__(self, shared: Shared | None = None) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = list(shared.views) if shared else []
        self.accessors: list[dict[str, Any]] = list(shared.accessors) if shared else []

    def plain(self, data: bytes) -> int:
        """Add bytes as they are; return the index of their view."""
        self.data += bytes(-len(self.data) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)})
        self.data += data
        return len(self.views) - 1

    def attribute(self, values: np.ndarray, normalized: bool = False, bounds: bool = False) -> int:
        """Add integers with a row for each vertex; return the index of their accessor."""
        stride = -(-values.shape[1] * values.itemsize // 4) * 4
        rows = np.zeros((len(values), stride // values.itemsize), values.dtype)
        rows[:, : values.shape[1]] = values
        self._compressed(encode_attributes(rows.view(np.uint8)), len(values), stride, ATTRIBUTES)
        facts: dict[str, Any] = {"normalized": True} if normalized else {}
        if bounds:
            facts |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        return self._described(values.dtype, values.shape[1], len(values), facts)

    def normals(self, values: Float[np.ndarray, "N 3"]) -> int:
        """Add unit vectors; return the index of their accessor."""
        self._compressed(encode_attributes(encode_normals(values)), len(values), 4, ATTRIBUTES, filter=OCTAHEDRAL)
        return self._described(np.dtype("i1"), 3, len(values), {"normalized": True})

    def indices(self, values: Int[np.ndarray, " N"]) -> int:
        """Add the corners of triangles; return the index of their accessor."""
        kind = np.dtype("u2" if values.max() < 65535 else "u4")
        self._compressed(encode_indices(values), len(values), kind.itemsize, INDICES)
        return self._described(kind, 1, len(values), {})

    def floats(self, values: np.ndarray) -> int:
        """Add a few numbers, quaternions or 4 × 4 matrices as they are; return the index of their accessor."""
        self.plain(values.astype("<f4").tobytes())
        width = int(np.prod(values.shape[1:]))
        bounds = {"min": [float(values.min())], "max": [float(values.max())]} if width == 1 else {}
        return self._described(np.dtype("f4"), width, len(values), bounds)

    def _compressed(self, data: bytes, count: int, stride: int, mode: str, **facts: str) -> None:
        view = self.views[self.plain(data)]
        self.views[-1] = {
            "buffer": 1,
            "byteLength": count * stride,
            **({"byteStride": stride} if mode == ATTRIBUTES else {}),
            "extensions": {EXTENSIONS[0]: {**view, "byteStride": stride, "count": count, "mode": mode, **facts}},
        }

    def _described(self, kind: np.dtype, width: int, count: int, facts: dict[str, Any]) -> int:
        facts = {"componentType": _SCALARS[kind], "count": count, "type": _TYPES[width], **facts}
        self.accessors.append({"bufferView": len(self.views) - 1, **facts})
        return len(self.accessors) - 1


@torch.no_grad()
def shared_part(
    topology: HeadTopology, head: HeadModel | None = None, avatar: Avatar | None = None, options: GltfOptions = PAGE
) -> Shared:
    """Return what the heads of a model have in common.

    Args:
        topology: of the mesh.
        head: the head model; None for a mesh without one, which has neither joints nor expressions.
        avatar: whose shape morph targets are made for; None for the template's. See `depends_on_shape`.
        options: `visemes` counts.
    """
    corners = np.stack([topology.faces.flatten().numpy(), topology.face_uvs.flatten().numpy()], axis=1)
    (vertex, uv), triangles = split_seams(corners)
    places = topology.uvs.numpy() if head is None else head.canonical(head.shape_template[None])[0].numpy()[:, :3]
    points = places[uv] if head is None else places[vertex]
    order = spatial_order(np.pad(points, ((0, 0), (0, 3 - points.shape[1]))))
    vertex, uv, renumbered = vertex[order], uv[order], np.argsort(order)
    faces = renumbered[triangles].reshape(-1, 3)
    packer = _Packer()
    indices = packer.indices(faces[np.argsort(faces.min(axis=1), kind="stable")].ravel())
    flat = (topology.uvs.numpy() * (1, -1) + (0, 1))[uv].clip(0, 1)
    attributes = {"TEXCOORD_0": packer.attribute(np.round(flat * 65535).astype("u2"), normalized=True)}
    targets: dict[str, int] = {}
    if head is not None:
        rest = avatar.parameters().neutral() if avatar else head.template(1)
        joints, weights = whole_steps(*strongest(head.rig(rest.shape[0])), most=255)
        attributes |= {
            "JOINTS_0": packer.attribute(joints[vertex]),
            "WEIGHTS_0": packer.attribute(weights[vertex], normalized=True),
        }
        for name, move in morph_targets(head, rest, options.visemes).items():
            if not name.startswith(CORRECTIVE):
                targets[name] = packer.attribute(_steps(move.numpy(), QUANTUM)[vertex], bounds=True)
    data = bytes(packer.data) + bytes(-len(packer.data) % 4)
    return Shared(vertex, uv, data, packer.views, packer.accessors, attributes, indices, targets)


@torch.no_grad()
def depends_on_shape(head: HeadModel) -> bool:
    """Return whether morph targets depend on the identity, by more than a quantum between two corners of its space."""
    first, second = head.template(1), head.template(1)
    second.shape[:] = head.shape_bounds[1]
    moves = [morph_targets(head, rest) for rest in (first, second)]
    names = {name for each in moves for name in each if not name.startswith(CORRECTIVE)}
    return any(
        name not in moves[0] or name not in moves[1] or (moves[0][name] - moves[1][name]).abs().max() > QUANTUM
        for name in names
    )


@torch.no_grad()
def to_compact(avatar: Avatar, head: HeadModel | None, shared: Shared, options: GltfOptions = PAGE) -> Compact:
    """Return an avatar as a compressed GLB in two parts.

    Args:
        avatar: a finished one.
        head: the head model that it was made with; None for an imported mesh.
        shared: of this model, or of this mesh, made with the same `options.visemes`.
        options: what the file holds. Morph targets turn no normals, whatever the material.

    Raises:
        ValueError: the avatar failed, or was made with another head model.
    """
    if head is not None:
        check_head(avatar, head)
    elif avatar.status != "ok":
        raise ValueError(f"{avatar.id}: got status '{avatar.status}'; expected 'ok': a failed avatar has no head")
    points = avatar.offsets if head is None else head.vertices(avatar.parameters().neutral())[0]
    faces = (head or avatar).topology.faces  # pyright: ignore[reportOptionalMemberAccess]
    quantum = QUANTUM * 2.0 ** max(0, np.ceil(np.log2(float(points.abs().max()) / QUANTUM / 32767)))
    packer = _Packer(shared)
    attributes = {
        "POSITION": packer.attribute(_steps(points.numpy(), quantum)[shared.vertex], bounds=True),
        "NORMAL": packer.normals(area_normals(points, faces).numpy()[shared.vertex]),
        **shared.attributes,
    }
    primitive = paint({"attributes": attributes, "indices": shared.indices}, options)
    mesh: dict[str, Any] = {"name": avatar.id, "primitives": [primitive]}
    scene: dict[str, Any] = {
        "meshes": [mesh],
        "nodes": [{"mesh": 0, "scale": [quantum] * 3}],
        "scenes": [{"nodes": [0]}],
    }
    if head is not None:
        primitive["targets"] = [{"POSITION": accessor} for accessor in shared.targets.values()]
        mesh["extras"] = {"targetNames": list(shared.targets)}
        mesh["weights"] = [round(initial_weight(name, avatar, head), 4) for name in shared.targets]
        skeleton = Skeleton.of(head, head.rig(avatar.shape), points)
        inverse = packer.floats(skeleton.inverse_bind(quantum))  # also turn steps into metres
        scene |= skinned_nodes(avatar, skeleton, inverse, options)
        if clips := clips_of(mesh, skeleton, options, packer.floats):
            scene["animations"] = clips
    kind = options.texture or "jpeg"
    texture = avatar.baked_texture if head is None else export_texture(avatar, head)
    material = surface(packer.plain(image_bytes(texture, kind, WIDEST)), kind, options)
    return Compact(_file(scene | {"asset": asset(avatar)}, material, packer, shared), shared.data)


def joined(compact: Compact) -> bytes:
    """Return one GLB of both parts.

    Example:
        >>> joined(Compact(to_file({"buffers": [{"byteLength": 8}]}, b"own "), b"both"))[-8:]
        b'own both'
    """
    scene, own = parse(compact.own)
    return to_file(scene, own + compact.shared)


def _file(scene: dict[str, Any], material: dict[str, Any], packer: _Packer, shared: Shared) -> bytes:
    """Return the own part: views of the shared part lie behind it in one buffer."""
    own = bytes(packer.data) + bytes(-len(packer.data) % 4)
    count, plain, total = len(shared.views), 0, len(own) + len(shared.data)
    views = [_moved(view, len(own)) for view in packer.views[:count]] + packer.views[count:]
    for view in views:  # what a viewer unpacks to, end to end, as the extension wants it
        if view["buffer"] == 1:
            view["byteOffset"] = plain
            plain += -(-view["byteLength"] // 4) * 4
    content = {
        "scene": 0,
        **scene,
        **material,
        "extensionsUsed": EXTENSIONS + material.get("extensionsUsed", []),
        "extensionsRequired": EXTENSIONS + material.get("extensionsRequired", []),
        "accessors": packer.accessors,
        "bufferViews": views,
        "buffers": [
            {"byteLength": total},
            {"byteLength": plain, "extensions": {EXTENSIONS[0]: {"fallback": True}}},
        ],
    }
    return to_file(content, own)


def _moved(view: dict[str, Any], by: int) -> dict[str, Any]:
    """Return a view of the shared part, `by` bytes further on."""
    packed = view["extensions"][EXTENSIONS[0]]
    return {**view, "extensions": {EXTENSIONS[0]: {**packed, "byteOffset": packed["byteOffset"] + by}}}


def _steps(metres: Float[np.ndarray, "N 3"], quantum: float) -> np.ndarray:
    return np.round(metres / quantum).clip(-32767, 32767).astype("<i2")
