"""Exported GLB files: a glTF viewer reproduces the head model's vertices."""

import io
import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from avatargen.cli.main import main
from avatargen.config.plugins import HEADS, load_class
from avatargen.exchange.gltf_export import NAME, strongest, to_glb
from avatargen.exchange.gltf_targets import SMALLEST
from avatargen.geometry.types import HeadParameters
from avatargen.heads.base import Rig
from avatargen.heads.skinning import rotation_matrices
from avatargen.io.avatar_file import Avatar, save_avatar
from tests.small_flame import write_flame

FORMATS = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": (), "VEC2": (2,), "VEC3": (3,), "VEC4": (4,), "MAT4": (4, 4)}


@pytest.fixture(scope="module", params=sorted(HEADS))
def head(request, tmp_path_factory):
    kind = load_class("head", request.param, HEADS)
    return (
        kind.load(write_flame(tmp_path_factory.mktemp("flame"))) if request.param.startswith("flame") else kind.load()
    )


@pytest.fixture(scope="module")
def avatar(head):
    draw = torch.Generator().manual_seed(1)
    template = head.template(1)
    low, high = head.shape_bounds
    shape = head.shape_template + 0.1 * (high - low) * torch.randn(len(low), generator=draw).clamp(-1, 1)
    expression = 0.3 * torch.rand(template.expression.shape[1], generator=draw)
    return Avatar(
        id="a-man",
        prompt="a män",
        seed=3,
        method="full",
        head_id=head.id,
        prior_id="mini",
        shape=shape.clamp(low, high),
        expression=expression,
        joints=template.joints[0],
        offsets=1e-3 * torch.randn(template.offsets.shape[1:], generator=draw),
        latent_texture=None,
        baked_texture=torch.rand(3, 16, 16, generator=draw),
    )


class Viewer:
    """A glTF viewer, written from the specification, with as much of it as the tests need."""

    def __init__(self, data):
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON" and size % 4 == 0
        self.scene = json.loads(data[20 : 20 + size])
        rest, kind = struct.unpack_from("<I4s", data, 20 + size)
        assert kind == b"BIN\0" and rest == len(data) - 28 - size
        self.buffer = data[28 + size :]

    def view(self, index):
        view = self.scene["bufferViews"][index]
        assert view["byteOffset"] % 4 == 0
        return self.buffer[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]

    def array(self, index):
        facts = self.scene["accessors"][index]
        width, count = WIDTHS[facts["type"]], facts["count"]
        if "bufferView" in facts:
            found = np.frombuffer(self.view(facts["bufferView"]), FORMATS[facts["componentType"]])
            found = found.reshape(count, *width)
            return found / np.iinfo(found.dtype).max if facts.get("normalized") else found
        array = np.zeros((count, *width))
        if "sparse" not in facts:
            return array
        sparse = facts["sparse"]
        rows = np.frombuffer(self.view(sparse["indices"]["bufferView"]), FORMATS[sparse["indices"]["componentType"]])
        assert (np.diff(rows.astype(int)) > 0).all()
        array[rows] = np.frombuffer(self.view(sparse["values"]["bufferView"]), "<f4").reshape(-1, *width)
        return array

    def primitive(self):
        return self.scene["meshes"][0]["primitives"][0]

    def attribute(self, name):
        return self.array(self.primitive()["attributes"][name])

    def world(self, node, turns, parent=None):
        """Return the world matrices of a node and its descendants; `turns` replace rotations, by name of the node."""
        facts = self.scene["nodes"][node]
        own = np.eye(4)
        own[:3, 3] = facts.get("translation", 0)
        own[:3, :3] = turns.get(facts["name"], Rotation.from_quat(facts.get("rotation", (0, 0, 0, 1))).as_matrix())
        found = {node: own if parent is None else parent @ own}
        for child in facts.get("children", ()):
            found |= self.world(child, turns, found[node])
        return found

    def frames(self):
        """Return the axes at rest of each joint and of its parent, as columns, by name of the joint."""
        skin = self.scene["skins"][0]
        axes = dict(zip(skin["joints"], self.array(skin["inverseBindMatrices"])[:, :3, :3], strict=True))
        above = {child: node for node in axes for child in self.scene["nodes"][node].get("children", ())}
        return {self.scene["nodes"][n]["name"]: (axes[n], axes.get(above.get(n), np.eye(3))) for n in axes}

    def local(self, turns):
        """Return rotations of nodes that turn joints about the head's axes, by name."""
        return {name: above.T @ turns[name] @ own for name, (own, above) in self.frames().items() if name in turns}

    def posed(self, morphs, turns):
        """Return the positions of the vertices: morph targets, then skinning."""
        points = self.attribute("POSITION").astype(float)
        for weight, target in zip(morphs, self.primitive()["targets"], strict=True):
            points = points + weight * self.array(target["POSITION"])
        skin = self.scene["skins"][0]
        bones = self.array(skin["inverseBindMatrices"]).transpose(0, 2, 1)
        worlds = self.world(skin["skeleton"], turns)
        matrices = np.stack([worlds[node] @ bone for node, bone in zip(skin["joints"], bones, strict=True)])
        joints, weights = self.attribute("JOINTS_0"), self.attribute("WEIGHTS_0")
        blended = np.einsum("vk,vkrc->vrc", weights, matrices[joints])
        return np.einsum("vrc,vc->vr", blended[:, :3], np.pad(points, ((0, 0), (0, 1)), constant_values=1))


def corners(viewer, points):
    return points[viewer.array(viewer.primitive()["indices"])].reshape(-1, 3, points.shape[1])


def posed_like(viewer, head, avatar, expression, joints):
    """Return the viewer's triangles and the head model's for an expression and a turn of each joint about one axis."""
    names = viewer.scene["meshes"][0]["extras"]["targetNames"]
    known = dict(zip(head.expression_names, expression.tolist(), strict=True)) | correctives(head, joints)
    turns = {name: turn.numpy() for name, turn in zip(head.joint_names, rotation_matrices(joints), strict=True)}
    found = corners(viewer, viewer.posed([known.get(name, 0.0) for name in names], viewer.local(turns)))
    parameters = HeadParameters(avatar.shape[None], expression[None], joints[None], avatar.offsets[None])
    return found, head.vertices(parameters)[0][head.topology.faces].numpy()


def correctives(head, joints):
    """Return the weights of all correctives that turns of the joints ask for, by name."""
    angles = {
        f"corrective_{name}_{axis}": joints[k, a].item()
        for k, name in enumerate(head.joint_names)
        for a, axis in enumerate("xyz")
    }
    return {f"{name}_sin": math.sin(t) for name, t in angles.items()} | {
        f"{name}_cos": math.cos(t) - 1 for name, t in angles.items()
    }


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_a_viewer_reproduces_the_head_model(head, avatar, axis):
    """The avatar as it is, and its neutral face with every joint turned about one axis; only four joints per vertex."""
    viewer, joints = Viewer(to_glb(avatar, head)), torch.zeros(len(head.joint_names), 3)
    mesh = viewer.scene["meshes"][0]
    names = mesh["extras"]["targetNames"]
    kept = torch.tensor([name in names for name in head.expression_names])
    expression = torch.where(kept, avatar.expression, 0.0)
    assert mesh["weights"][: kept.sum()] == expression[kept].tolist() and not any(mesh["weights"][kept.sum() :])
    if axis is not None:  # the file's joints lie where those of the neutral face do
        expression = torch.zeros_like(expression)
        joints[:, axis] = torch.tensor([0.4, -0.3, 0.5, -0.2, 0.3])[: len(joints)]
    found, wanted = posed_like(viewer, head, avatar, expression, joints)
    assert np.abs(found - wanted).max() < 2e-4


def test_facial_actions_have_arkit_names(head, avatar):
    viewer = Viewer(to_glb(avatar, head))
    targets = viewer.scene["meshes"][0]["extras"]["targetNames"]
    assert {"jawOpen", "jawLeft", "eyeLookUpLeft", "eyeLookInRight"} <= set(targets)
    shift = viewer.array(viewer.primitive()["targets"][targets.index("jawOpen")]["POSITION"])
    assert shift[:, 1].min() < -0.003  # metres, down
    rest = head.vertices(avatar.parameters().neutral())[0]
    for name, action in head.actions().items():
        parameters = HeadParameters(
            avatar.shape[None], action.expression[None], action.joints[None], avatar.offsets[None]
        )
        wanted = (head.vertices(parameters)[0] - rest)[head.topology.faces].numpy()
        given = viewer.array(viewer.primitive()["targets"][targets.index(name)]["POSITION"])
        assert np.abs(corners(viewer, given) - wanted).max() <= SMALLEST


def test_the_clip_opens_the_jaw_with_its_correctives(head, avatar):
    scene = Viewer(to_glb(avatar, head)).scene
    if "corrective_jaw_x_sin" not in scene["meshes"][0]["extras"]["targetNames"]:
        assert not head.correctives(torch.ones(1, len(head.joint_names), 3)).any()
        assert "jaw_open" not in [clip["name"] for clip in scene["animations"]]
        return
    avatar = replace(avatar, expression=torch.zeros_like(avatar.expression))
    viewer, jaw = Viewer(to_glb(avatar, head)), head.joint_names.index("jaw")
    (clip,) = (clip for clip in scene["animations"] if clip["name"] == "jaw_open")
    keys = {}
    for channel in clip["channels"]:
        sampler, target = clip["samplers"][channel["sampler"]], channel["target"]
        keys[target["path"]] = (target["node"], viewer.array(sampler["input"]), viewer.array(sampler["output"]))
    node, time, turns = keys["rotation"]
    assert scene["nodes"][node]["name"] == "jaw" and (np.diff(time) > 0).all() and len(turns) == len(time)
    mesh_node, _, weights = keys["weights"]
    assert "mesh" in scene["nodes"][mesh_node]
    weights = weights.reshape(len(time), -1)
    own, above = viewer.frames()["jaw"]
    angles = Rotation.from_matrix(above @ Rotation.from_quat(turns).as_matrix() @ own.T).as_rotvec()
    assert angles[0] == pytest.approx(0, abs=1e-6) and angles[len(time) // 2] == pytest.approx([math.radians(25), 0, 0])
    for key in range(0, len(time), 6):
        joints = torch.zeros(len(head.joint_names), 3)
        joints[jaw] = torch.from_numpy(angles[key]).float()
        found = corners(viewer, viewer.posed(weights[key], {"jaw": Rotation.from_quat(turns[key]).as_matrix()}))
        parameters = HeadParameters(avatar.shape[None], avatar.expression[None], joints[None], avatar.offsets[None])
        wanted = head.vertices(parameters)[0][head.topology.faces].numpy()
        assert np.abs(found - wanted).max() < 2e-4


def test_texture_coordinates_and_normals_are_exported(head, avatar):
    viewer = Viewer(to_glb(avatar, head))
    uvs = corners(viewer, viewer.attribute("TEXCOORD_0"))
    wanted = head.topology.uvs[head.topology.face_uvs].numpy()
    assert np.allclose(uvs[..., 0], wanted[..., 0]) and np.allclose(1 - uvs[..., 1], wanted[..., 1], atol=1e-6)
    normals = viewer.attribute("NORMAL")
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-4)
    a, b, c = corners(viewer, viewer.attribute("POSITION")).astype(float).swapaxes(0, 1)
    crossed, faces = np.cross(b - a, c - a), head.topology.faces.numpy()
    outwards = np.zeros((faces.max() + 1, 3))
    np.add.at(outwards, faces, crossed[:, None])  # area-weighted, by the winding of the triangles
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True).clip(1e-30)
    assert np.abs(corners(viewer, normals) - outwards[faces]).max() < 1e-3
    assert np.sum(crossed * a) > 0  # six times the volume that the triangles enclose: they are wound outwards
    image = Image.open(io.BytesIO(viewer.view(viewer.scene["images"][0]["bufferView"])))
    assert image.getpixel((5, 2)) == tuple((avatar.baked_texture[:, 2, 5] * 255).round().int().tolist())


def test_vertices_keep_their_four_strongest_joints():
    weights = torch.tensor([[0.1, 0.0], [0.2, 0.0], [0.3, 0.25], [0.05, 0.75], [0.35, 0.0]])
    joints, kept = strongest(Rig((-1, 0, 0, 0, 0), torch.zeros(5, 3), weights))
    assert joints.tolist() == [[5, 3, 2, 1], [4, 3, 0, 0]]
    assert np.allclose(kept, [[0.35 / 0.95, 0.3 / 0.95, 0.2 / 0.95, 0.1 / 0.95], [0.75, 0.25, 0, 0]])
    joints, kept = strongest(Rig((-1,), torch.zeros(1, 3), torch.tensor([[0.25, 0.0]])))
    assert joints.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]] and kept[:, 0].tolist() == [0.75, 1.0]


def test_joints_have_the_avatars_rotations(head, avatar):
    joints = torch.randn(avatar.joints.shape, generator=torch.Generator().manual_seed(2))
    joints[-1] = 0.0
    viewer = Viewer(to_glb(replace(avatar, joints=joints), head))
    nodes, frames = viewer.scene["nodes"][2:], viewer.frames()
    assert [node["name"] for node in nodes] == list(head.joint_names)
    for node, wanted in zip(nodes, rotation_matrices(joints), strict=True):
        own, above = frames[node["name"]]
        shown = above @ Rotation.from_quat(node["rotation"]).as_matrix() @ own.T
        assert np.allclose(shown, wanted.numpy(), atol=1e-5)


def test_bones_point_along_what_they_move(head, avatar):
    """Importers draw them along y; x stays the head's, so that a jaw opens about it."""
    viewer = Viewer(to_glb(avatar, head))
    places = {name: place[:3, 3] for name, place in named(viewer).items()}
    along = {name: own[:, 1] for name, (own, _) in viewer.frames().items()}
    assert all(np.allclose(own[:, 0], (1, 0, 0)) for own, _ in viewer.frames().values())
    assert np.allclose(along["eye_left"], (0, 0, 1), atol=1e-6) and np.allclose(along["body"], (0, 1, 0))
    assert np.allclose(places["neck"] - places["body"], (0, 0.1, 0), atol=1e-6)
    if "head" in places:
        way = places["head"] - places["neck"]
        assert along["neck"] @ way / np.linalg.norm(way) == pytest.approx(1, abs=1e-4)
        assert along["jaw"][1] < -0.3 and along["jaw"][2] > 0.5  # forwards and down, to the chin


def named(viewer):
    """World matrices of the joints as the file has them, by name."""
    worlds = viewer.world(viewer.scene["skins"][0]["skeleton"], {})
    return {viewer.scene["nodes"][node]["name"]: place for node, place in worlds.items()}


def test_export_writes_good_avatars_and_reports_the_others(head, avatar, make_run, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("avatargen.cli.export.load_class", lambda *_: type("Kind", (), {"load": lambda: head}))
    config = make_run().model_dump(mode="json")
    save_avatar(tmp_path / "good", replace(avatar, config=config))
    save_avatar(tmp_path / "failed", replace(avatar, config=config, status="diverged"))
    save_avatar(tmp_path / "foreign", replace(avatar, config=config, head_id="anny-0"))
    folders = [str(tmp_path / name) for name in ("failed", "foreign", "none", "good")]
    assert main(["export", *folders]) == 2
    said = capsys.readouterr()
    assert (
        "got status 'diverged'" in said.err
        and "expected 'anny-0'" in said.err
        and "expected a folder of an avatar" in said.err
    )
    assert said.out.split() == [str(tmp_path / "good" / NAME)]
    assert Viewer((tmp_path / "good" / NAME).read_bytes()).scene["asset"]["extras"]["prompt"] == "a män"
    assert main(["export", folders[-1], "--out", str(tmp_path / "head.glb")]) == 0 and (tmp_path / "head.glb").is_file()
