"""Compressed GLB files: a viewer shows the head to within half a quantum of space."""

import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from avatargen.config.plugins import HEADS, load_class
from avatargen.exchange.gltf_compact import QUANTUM, WIDEST, depends_on_shape, joined, shared_part, to_compact
from avatargen.exchange.gltf_targets import morph_targets
from avatargen.geometry.normals import area_normals
from avatargen.geometry.types import HeadTopology
from avatargen.io.avatar_file import Avatar
from tests.exchange.meshopt_decoder import decode_attributes, decode_indices, decode_normals
from tests.small_flame import write_flame

FORMATS = {5120: "<i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
TARGETS = ("jawOpen", "eyeBlinkLeft")


@pytest.fixture(scope="module", params=["anny", "flame"])
def head(request, tmp_path_factory):
    kind = load_class("head", request.param, HEADS)
    return kind.load(write_flame(tmp_path_factory.mktemp("flame"))) if request.param == "flame" else kind.load()


@pytest.fixture(scope="module")
def shared(head):
    return shared_part(head.topology, head)


def avatar_of(head, size=16):
    template, draw = head.template(1), torch.Generator().manual_seed(1)
    return Avatar(
        id="a-man",
        prompt="a man",
        seed=3,
        method="full",
        head_id=head.id,
        prior_id="mini",
        shape=template.shape[0],
        expression=0.3 * torch.rand(template.expression.shape[1], generator=draw),
        joints=template.joints[0],
        offsets=1e-3 * torch.randn(template.offsets.shape[1:], generator=draw),
        latent_texture=None,
        baked_texture=torch.rand(3, size, size, generator=draw),
    )


class Viewer:
    """A glTF viewer, written from the specifications, with as much of it as the tests need."""

    def __init__(self, data):
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size = struct.unpack_from("<I", data, 12)[0]
        self.scene, self.buffer = json.loads(data[20 : 20 + size]), data[28 + size :]
        assert len(self.buffer) == self.scene["buffers"][0]["byteLength"]

    def array(self, index):
        accessor = self.scene["accessors"][index]
        view = self.scene["bufferViews"][accessor["bufferView"]]
        packed = view["extensions"]["EXT_meshopt_compression"]
        assert packed["byteOffset"] % 4 == 0 and packed["count"] == accessor["count"]
        assert view["byteLength"] == packed["count"] * packed["byteStride"]
        data = self.buffer[packed["byteOffset"] : packed["byteOffset"] + packed["byteLength"]]
        if packed["mode"] == "INDICES":
            return decode_indices(data, packed["count"])
        rows = decode_attributes(data, packed["count"], packed["byteStride"])
        if packed.get("filter") == "OCTAHEDRAL":
            return decode_normals(rows)
        return rows.view(FORMATS[accessor["componentType"]])[:, : WIDTHS[accessor["type"]]]


@pytest.fixture(scope="module")
def viewer(head, shared):
    return Viewer(joined(to_compact(avatar_of(head), head, shared)))


@pytest.fixture(scope="module")
def primitive(viewer):
    return viewer.scene["meshes"][0]["primitives"][0]


def test_places_are_those_of_the_head(head, shared, viewer, primitive):
    steps = viewer.array(primitive["attributes"]["POSITION"])
    neutral = head.vertices(avatar_of(head).parameters().neutral())[0]
    assert np.abs(steps * QUANTUM - neutral.numpy()[shared.vertex]).max() <= QUANTUM / 2 + 1e-7
    facts = viewer.scene["accessors"][primitive["attributes"]["POSITION"]]
    assert facts["min"] == steps.min(axis=0).tolist() and facts["max"] == steps.max(axis=0).tolist()


def test_triangles_and_textures_are_those_of_the_head(head, shared, viewer, primitive):
    indices = viewer.array(primitive["indices"]).reshape(-1, 3)
    uvs = viewer.array(primitive["attributes"]["TEXCOORD_0"]) / 65535

    def canonical(faces):
        return sorted(map(tuple, (np.roll(face, -face.argmin()) for face in faces)))

    assert canonical(shared.vertex[indices]) == canonical(head.topology.faces.numpy())
    assert np.abs(uvs - (head.topology.uvs.numpy() * (1, -1) + (0, 1))[shared.uv]).max() < 1e-5
    normals = area_normals(head.vertices(avatar_of(head).parameters().neutral())[0], head.topology.faces).numpy()
    shown = viewer.array(primitive["attributes"]["NORMAL"])
    assert (shown * normals[shared.vertex]).sum(axis=1).min() > np.cos(np.radians(1.2))


def test_weights_of_joints_sum_to_one(viewer, primitive):
    assert (viewer.array(primitive["attributes"]["WEIGHTS_0"]).astype(int).sum(axis=1) == 255).all()


def test_inverse_bind_matrices_turn_steps_into_metres(head, viewer):
    accessor = viewer.scene["accessors"][viewer.scene["skins"][0]["inverseBindMatrices"]]
    view = viewer.scene["bufferViews"][accessor["bufferView"]]
    data = viewer.buffer[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    matrices = np.frombuffer(data, "<f4").reshape(-1, 4, 4).transpose(0, 2, 1)
    turns = matrices[:, :3, :3] / QUANTUM
    places = -np.einsum("jrc,jr->jc", turns, matrices[:, :3, 3])
    assert np.allclose(turns @ turns.swapaxes(1, 2), np.eye(3), atol=1e-6)
    assert np.allclose(places[1:], head.rig(avatar_of(head).shape).pivots.numpy(), atol=1e-6)


def test_expressions_are_those_of_the_head(head, shared, viewer, primitive):
    mesh = viewer.scene["meshes"][0]
    moves = morph_targets(head, head.template(1))
    names = mesh["extras"]["targetNames"]
    assert names == [name for name in moves if not name.startswith("corrective_")]
    for name in set(names) & set(TARGETS) or names[:2]:
        steps = viewer.array(primitive["targets"][names.index(name)]["POSITION"])
        assert np.abs(steps * QUANTUM - moves[name].numpy()[shared.vertex]).max() <= QUANTUM / 2 + 1e-7
    own = dict(zip(head.expression_names, avatar_of(head).expression.tolist(), strict=True))
    assert all(abs(mesh["weights"][k] - own.get(name, 0.0)) < 1e-4 for k, name in enumerate(names))


def test_the_texture_is_a_jpeg_of_bounded_size(head, shared):
    viewer = Viewer(joined(to_compact(avatar_of(head, size=WIDEST + 8), head, shared)))
    view = viewer.scene["bufferViews"][viewer.scene["images"][0]["bufferView"]]
    data = viewer.buffer[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG" and image.size == (WIDEST, WIDEST)


def test_a_rigged_head_takes_about_a_megabyte(head, shared):
    """With a texture of as many pixels as the shipped prior's, and morph targets that all shapes share.

    FLAME's expressions move every vertex, and the test's own are random numbers, which compress worst.
    """
    smooth = torch.linspace(0, 1, 512).expand(3, 512, 512)
    compact = to_compact(replace(avatar_of(head), baked_texture=smooth), head, shared)
    whole = 1_100_000 if head.id.startswith("anny") else 1_500_000
    assert len(compact.own) < 200_000 and len(joined(compact)) < whole
    assert depends_on_shape(head) == head.id.startswith("flame")


def test_a_mesh_of_another_system_has_its_own_topology():
    corners = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    topology = HeadTopology(faces, torch.rand(4, 2), faces, {"skin": torch.ones(4, dtype=torch.bool)})
    head = load_class("head", "anny", HEADS).load()
    avatar = replace(avatar_of(head), offsets=corners, topology=topology, head_id="mesh")
    shared = shared_part(topology)
    viewer = Viewer(joined(to_compact(avatar, None, shared)))
    primitive = viewer.scene["meshes"][0]["primitives"][0]
    steps = viewer.array(primitive["attributes"]["POSITION"])
    assert viewer.scene["nodes"] == [{"mesh": 0, "scale": [4 * QUANTUM] * 3}] and "targets" not in primitive
    assert np.abs(steps * (4 * QUANTUM) - corners.numpy()[shared.vertex]).max() <= 2 * QUANTUM


def test_an_avatar_without_a_head_is_refused(head, shared):
    with pytest.raises(ValueError, match="a failed avatar has no head"):
        to_compact(replace(avatar_of(head), status="error"), head, shared)
    with pytest.raises(ValueError, match="expected 'other', which it was made with"):
        to_compact(replace(avatar_of(head), head_id="other"), head, shared)
