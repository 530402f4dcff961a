"""OBJ and PLY hold the posed surface with its colours."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from avatargen.config.plugins import HEADS, load_class
from avatargen.exchange.plain_mesh import to_plain
from avatargen.geometry.types import HeadTopology
from avatargen.io.avatar_file import Avatar


@pytest.fixture(scope="module")
def head():
    return load_class("head", "anny_coarse", HEADS).load()


@pytest.fixture(scope="module")
def avatar(head):
    tensors = head.template(1).first() | {"expression": head.expression_from(jawOpen=1.0)}
    ramp = torch.linspace(0, 1, 64).expand(64, 64)
    texture = torch.stack([ramp, ramp.T, torch.full_like(ramp, 0.25)])
    about = {"id": "a", "prompt": "a", "seed": 0, "method": "full", "head_id": head.id, "prior_id": ""}
    return Avatar(**about, **tensors, latent_texture=None, baked_texture=texture)


def read(files, tmp_path, name):
    for path, data in files.items():
        (tmp_path / path).write_bytes(data)
    return trimesh.load(tmp_path / name, process=False, force="mesh", maintain_order=True)


def test_obj_has_the_posed_surface_and_its_texture(avatar, head, tmp_path):
    files = to_plain(avatar, head, ".obj", "one")
    assert {"one.obj", "one.mtl"} < set(files) and b"cannot hold" in files["one.obj"]
    mesh = read(files, tmp_path, "one.obj")
    points, faces = head.vertices(avatar.parameters())[0].numpy(), head.topology.faces.numpy()
    assert np.abs(mesh.vertices[mesh.faces] - points[faces]).max() < 1e-6
    assert np.abs(mesh.visual.uv[mesh.faces] - head.topology.uvs[head.topology.face_uvs].numpy()).max() < 1e-5
    image = np.asarray(mesh.visual.material.image.convert("RGB"))
    assert image.shape == (64, 64, 3) and image[10, 20].tolist() == [81, 40, 64]


def test_ply_has_the_colours_of_the_texture_at_vertices(avatar, head, tmp_path):
    mesh = read(to_plain(avatar, head, ".ply", "one"), tmp_path, "one.ply")
    assert np.abs(mesh.vertices - head.vertices(avatar.parameters())[0].numpy()).max() < 1e-6
    corner = head.topology.face_uvs[100, 0]
    u, v = head.topology.uvs[corner].tolist()
    x, y = (np.clip((place * 64 - 0.5) / 63, 0, 1) * 255 for place in (u, 1 - v))
    shown = mesh.visual.vertex_colors[head.topology.faces[100, 0]][:3].astype(float)
    assert shown == pytest.approx([x, y, 64], abs=4)


def test_meshes_of_other_systems_are_written_as_they_are(avatar, tmp_path):
    corners = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    topology = HeadTopology(faces, torch.rand(4, 2), faces, {"skin": torch.ones(4, dtype=torch.bool)})
    foreign = replace(avatar, offsets=corners, topology=topology, head_id="mesh")
    mesh = read(to_plain(foreign, None, ".ply", "one"), tmp_path, "one.ply")
    assert np.array_equal(mesh.vertices, corners.numpy()) and np.array_equal(mesh.faces, faces.numpy())


def test_a_failed_avatar_is_refused(avatar, head):
    with pytest.raises(ValueError, match="a failed avatar has no head"):
        to_plain(replace(avatar, status="error"), head, ".obj", "one")
