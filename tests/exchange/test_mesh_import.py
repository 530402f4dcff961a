"""Meshes of other systems: which file belongs to which prompt, how it is read and placed, and its rendered colours."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from avatargen.config.prompts import PromptItem
from avatargen.config.settings import MeshSettings, MethodSettings
from avatargen.exchange.gltf_writer import Buffer
from avatargen.exchange.mesh_files import find_mesh, mesh_problems, parts_of
from avatargen.exchange.mesh_import import face_charts, place, read_mesh
from avatargen.geometry.types import HeadTopology
from avatargen.heads.mesh_head import MESH, MeshHead
from avatargen.io.avatar_file import GREY, Avatar, load_avatar, save_avatar
from avatargen.render.warp import WarpRenderer
from avatargen.runtime import fingerprint
from tests.render.conftest import make_cameras

HEIGHT = 0.25
ITEM = PromptItem("few", "old-man", "an old man")
ONE_POINT = b"""ply
format ascii 1.0
element vertex 1
property float x
property float y
property float z
end_header
0 0 0
"""


@pytest.fixture
def meshes(tmp_path):
    return MeshSettings(folder=str(tmp_path))


def ball():
    """Return a sphere of radius 2 about (5, 5, 5) whose red grows with x, green with y and blue with z."""
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=2.0)
    mesh.visual.vertex_colors = ((mesh.vertices / 4 + 0.5) * 255).round().astype(np.uint8)
    mesh.apply_translation((5, 5, 5))
    return mesh


def seen_from(mesh, azimuth):
    """Return the colour of the middle pixel of a mesh, seen from an azimuth in degrees."""
    renderer = WarpRenderer(mesh.topology, mesh.vertices)
    shown = renderer.render(mesh.vertices[None], make_cameras([azimuth], [0.0]), 33, texture=mesh.texture[None])
    return shown.features[0, 0, :, 16, 16]


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_vertex_colours_are_read_from_each_format(meshes, tmp_path, suffix):
    path = tmp_path / f"old-man.{suffix}"
    ball().export(path)
    assert find_mesh(meshes, ITEM, tmp_path) == path
    mesh = read_mesh(path, meshes, HEIGHT)
    size = mesh.vertices.max(0).values - mesh.vertices.min(0).values
    assert torch.allclose(size, torch.tensor(HEIGHT), atol=1e-4)
    assert torch.allclose(mesh.vertices.max(0).values, size / 2, atol=1e-5)
    for azimuth, colour in ((0, (0.5, 0.5, 1.0)), (90, (1.0, 0.5, 0.5)), (180, (0.5, 0.5, 0.0))):
        assert torch.allclose(seen_from(mesh, azimuth), torch.tensor(colour), atol=0.03)


def textured():
    """Return a square that faces +z, with a different colour in each quarter of its texture."""
    quarters = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    image = Image.fromarray(quarters.repeat(8, 0).repeat(8, 1))
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=image)
    visual = trimesh.visual.TextureVisuals(uv=points[:, :2], material=material)
    return trimesh.Trimesh(points, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_textures_stand_upright(meshes, tmp_path, suffix):
    path = tmp_path / f"old-man.{suffix}"
    textured().export(path)
    mesh = read_mesh(path, meshes, HEIGHT)
    renderer = WarpRenderer(mesh.topology, mesh.vertices)
    shown = renderer.render(mesh.vertices[None], make_cameras([0.0], [0.0]), 64, texture=mesh.texture[None])
    corners = shown.features[0, 0][:, [24, 24, 40, 40], [24, 40, 24, 40]].T
    assert torch.equal(corners.round(), torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]))


def test_repeated_textures_are_moved_into_the_image(meshes, tmp_path):
    mesh = textured()
    mesh.visual.uv = mesh.visual.uv + np.array([3, -2])
    mesh.export(tmp_path / "old-man.glb")
    read = read_mesh(tmp_path / "old-man.glb", meshes, HEIGHT)
    corners = read.topology.uvs[read.topology.face_uvs]
    assert corners.min() >= -1e-6 and corners.max() <= 1 + 1e-6 and len(read.topology.uvs) == 6


def test_a_colour_factor_multiplies_linear_light(meshes, tmp_path):
    mesh = textured()
    mesh.visual.material.baseColorFactor = [0.5, 1.0, 1.0, 1.0]
    mesh.export(tmp_path / "old-man.glb")
    texture = read_mesh(tmp_path / "old-man.glb", meshes, HEIGHT).texture
    assert texture[:, 0, 0].tolist() == pytest.approx([0.5 ** (1 / 2.2), 0, 0], abs=2e-3)
    mesh.visual.material.baseColorTexture = None
    mesh.export(tmp_path / "old-man.glb")
    texture = read_mesh(tmp_path / "old-man.glb", meshes, HEIGHT).texture
    assert texture[:, 0, 0].tolist() == pytest.approx([0.5 ** (1 / 2.2), 1, 1], abs=2e-3)


def test_a_scene_of_several_meshes_keeps_the_colours_of_each(meshes, tmp_path):
    green = textured()
    green.visual.material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.new("RGB", (16, 8), (0, 200, 0)), baseColorFactor=[1.0, 1.0, 1.0, 1.0]
    )
    half = textured()
    half.visual.material.baseColorFactor = [0.5, 0.5, 0.5, 1.0]
    blue = trimesh.creation.box((1, 1, 0.2))
    blue.visual.vertex_colors = np.tile([0, 0, 255, 255], (8, 1)).astype(np.uint8)
    scene = trimesh.Scene()
    for k, part in enumerate((green, half, blue, trimesh.creation.box((1, 1, 0.2)))):
        scene.add_geometry(part, transform=trimesh.transformations.translation_matrix((1.5 * k, 0, 0)))
    scene.export(tmp_path / "old-man.glb")
    mesh = read_mesh(tmp_path / "old-man.glb", meshes, HEIGHT)
    seen = WarpRenderer(mesh.topology, mesh.vertices).render(
        mesh.vertices[None], make_cameras([0.0], [0.0], fov=60.0), 512, texture=mesh.texture[None]
    )
    colours = {tuple(c) for c in (seen.features[0, 0].flatten(1).T[seen.face_ids.flatten() >= 0] * 20).round().tolist()}
    light = round(20 * 0.5 ** (1 / 2.2))
    for wanted in ((0, 16, 0), (light, 0, 0), (0, 0, light), (light, light, light), (0, 0, 20)):
        assert wanted in colours
    assert (12, 12, 12) in colours  # the mesh without any colour


def test_mirrored_meshes_stay_wound_outwards(meshes, tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(ball(), transform=np.diag([-1.0, 1, 1, 1]))
    scene.export(tmp_path / "old-man.glb")
    mesh = read_mesh(tmp_path / "old-man.glb", meshes, HEIGHT)
    corners = mesh.vertices[mesh.topology.faces]
    outwards = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((outwards * corners.mean(1)).sum(1) > 0).all()
    assert torch.allclose(seen_from(mesh, 90), torch.tensor([0.0, 0.5, 0.5]), atol=0.03)  # the colour of the other side


def test_vertex_colours_replace_a_plain_material(meshes, tmp_path):
    box, buffer = trimesh.creation.box(), Buffer()
    attributes = {"POSITION": box.vertices.astype("f4"), "COLOR_0": np.tile([0, 1, 0, 1], (8, 1)).astype("f4")}
    primitive = {
        "attributes": {name: buffer.add(values) for name, values in attributes.items()},
        "indices": buffer.add(box.faces.flatten().astype("u4")),
        "material": 0,
    }
    scene = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}]}
    scene |= {"meshes": [{"primitives": [primitive]}], "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0}}]}
    (tmp_path / "old-man.glb").write_bytes(buffer.pack(scene))
    assert seen_from(read_mesh(tmp_path / "old-man.glb", meshes, HEIGHT), 0).tolist() == pytest.approx([0, 1, 0])


def test_seams_are_merged(meshes, tmp_path):
    sphere = ball()
    sphere.unmerge_vertices()
    sphere.export(tmp_path / "old-man.ply")
    mesh = read_mesh(tmp_path / "old-man.ply", meshes, HEIGHT)
    assert len(mesh.vertices) == len(ball().vertices) and len(mesh.topology.faces) == len(sphere.faces)


def test_an_obj_is_read_and_hashed_with_its_texture(meshes, tmp_path, make_run):
    textured().export(tmp_path / "old-man.obj")
    parts = parts_of(tmp_path / "old-man.obj")
    assert [part.suffix for part in parts] == [".obj", ".mtl", ".png"]
    run = make_run()
    run = run.model_copy(update={"method": MethodSettings(source="imported", meshes=meshes)})
    before = fingerprint.of_avatar(run, ITEM, tmp_path)
    Image.new("RGB", (4, 4)).save(parts[-1])
    assert fingerprint.of_avatar(run, ITEM, tmp_path) != before


def test_face_charts_interpolate_like_vertex_colours():
    corners = torch.rand(7, 3, 3, generator=torch.Generator().manual_seed(2))
    texture, uvs = face_charts(corners.numpy())
    points = torch.tensor([[-0.1, -0.1, 0.0], [0.1, -0.1, 0.0], [0.0, 0.1, 0.0]])
    for k in range(7):
        one = torch.tensor([[0, 1, 2]])
        topology = HeadTopology(one, torch.from_numpy(uvs[k]).float(), one, {})
        renderer, cameras = WarpRenderer(topology, points), make_cameras([0.0], [0.0])
        chart = torch.from_numpy(texture).float()[None]
        by_texture = renderer.render(points[None], cameras, 40, texture=chart).features
        by_vertex = renderer.render(points[None], cameras, 40, attributes=corners[k][None]).features
        assert by_vertex.abs().sum() > 0 and torch.allclose(by_texture, by_vertex, atol=1e-4)


@pytest.mark.parametrize(
    ("up", "front", "expected"),
    [("+y", "+z", (1, 2, 3)), ("+z", "-y", (1, 3, -2)), ("+z", "+x", (2, 3, 1)), ("-y", "+z", (-1, -2, 3))],
)
def test_axes_are_converted(up, front, expected):
    meshes = MeshSettings(folder="x", up=up, front=front, fit=False)
    assert place(np.array([[1.0, 2.0, 3.0]]), meshes, HEIGHT)[0].tolist() == list(expected)


def test_contradictory_settings_are_refused():
    with pytest.raises(ValueError, match="two different axes"):
        MeshSettings(folder="x", up="+y", front="-y")
    for settings in ({"source": "imported"}, {"meshes": MeshSettings(folder="x")}):
        with pytest.raises(ValueError, match="expected 'imported' with meshes"):
            MethodSettings(**settings)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.glb", b"", "empty file, which stands for a failure"),
        ("a.glb", b"glTF nonsense", "cannot be read"),
        ("a.ply", ONE_POINT, "no triangles"),
        ("a.obj", b"v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "without extent"),
        ("a.obj", b"v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n", "NaN or infinite"),
    ],
)
def test_files_without_a_mesh_are_refused(meshes, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_mesh(tmp_path / name, meshes, HEIGHT)


def test_an_avatar_file_stores_an_imported_mesh(meshes, tmp_path):
    ball().export(tmp_path / "old-man.glb")
    mesh = read_mesh(tmp_path / "old-man.glb", meshes, HEIGHT)
    nothing = torch.zeros(0)
    made = Avatar(
        id="a",
        prompt="a",
        seed=0,
        method="theirs",
        head_id=MESH,
        prior_id="mini",
        shape=nothing,
        expression=nothing,
        joints=torch.zeros(0, 3),
        offsets=mesh.vertices,
        latent_texture=None,
        baked_texture=mesh.texture,
        topology=mesh.topology,
    )
    save_avatar(tmp_path / "made", made)
    avatar = load_avatar(tmp_path / "made")
    head = MeshHead(avatar.topology)
    assert torch.equal(head.vertices(avatar.parameters())[0], mesh.vertices)
    assert head.canonical(head.template(1).shape).shape == (1, *mesh.vertices.shape)
    assert torch.equal(seen_from(replace(mesh, topology=avatar.topology), 90), seen_from(mesh, 90))


def test_missing_meshes_are_named(meshes, tmp_path):
    items = [PromptItem("few", name, name, seed=seed) for seed in (0, 1) for name in ("a", "b", "c")]
    (tmp_path / "a.ply").touch()
    (tmp_path / "b.1.obj").touch()
    (problem,) = mesh_problems("theirs", meshes, items, tmp_path)
    assert "theirs" in problem and "no mesh for b, c, a.1 and 1 more; expected a file of .glb, .obj, .ply" in problem
    assert not mesh_problems("theirs", meshes, items[:1], tmp_path)
    material = "newmtl m\r\nmap_kd the skin.png \r\n"
    (tmp_path / "c.obj").write_text("mtllib c.mtl\n")
    (problem,) = mesh_problems("theirs", meshes, items[2:3], tmp_path)
    assert "c.obj: refers to 'c.mtl'; expected that file beside it" in problem
    (tmp_path / "c.mtl").write_text(material)
    assert "refers to 'the skin.png'" in mesh_problems("theirs", meshes, items[2:3], tmp_path)[0]
    (tmp_path / "the skin.png").touch()
    assert not mesh_problems("theirs", meshes, items[2:3], tmp_path)
    elsewhere = meshes.model_copy(update={"folder": "nowhere"})
    assert "folder: got 'nowhere'; expected a folder" in mesh_problems("theirs", elsewhere, items, tmp_path)[0]


def test_unread_features_are_input_errors(meshes, tmp_path):
    buffer = Buffer()
    buffer.add(np.zeros((3, 3), "f4"))
    packed = buffer.pack({"asset": {"version": "2.0"}, "extensionsRequired": ["KHR_draco_mesh_compression"]})
    (tmp_path / "old-man.glb").write_bytes(packed)
    (problem,) = mesh_problems("theirs", meshes, [ITEM], tmp_path)
    assert "old-man.glb: got KHR_draco_mesh_compression, which we do not read" in problem
    moved = {"baseColorTexture": {"index": 0, "texCoord": 1, "extensions": {"KHR_texture_transform": {}}}}
    scene = {"asset": {"version": "2.0"}, "materials": [{"pbrMetallicRoughness": moved}], "extensionsRequired": None}
    (tmp_path / "old-man.glb").write_bytes(buffer.pack(scene | {"images": [{"uri": "gone.png"}]}))
    problems = "\n".join(mesh_problems("theirs", meshes, [ITEM], tmp_path))
    for what in ("KHR_texture_transform", "a second set of texture coordinates", "refers to 'gone.png'"):
        assert what in problems


def test_a_ply_refers_to_its_image(tmp_path):
    (tmp_path / "a.ply").write_text("ply\nformat ascii 1.0\ncomment TextureFile a b.png\nend_header\n")
    (tmp_path / "a b.png").touch()
    assert [part.name for part in parts_of(tmp_path / "a.ply")] == ["a.ply", "a b.png"]


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 0 1 0 1 0 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n", (1, 0, 0)),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n", (GREY, GREY, GREY)),
        ("mtllib m.mtl\nusemtl a\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n", (0, 0.25, 1)),
    ],
    ids=["vertex colours", "no colours", "a material"],
)
def test_an_obj_without_an_image_shows_its_plain_colours(meshes, tmp_path, text, colour):
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 0 0.25 1\n")
    (tmp_path / "old-man.obj").write_text(text)
    assert read_mesh(tmp_path / "old-man.obj", meshes, HEIGHT).texture[:, 0, 0].tolist() == pytest.approx(colour)


def test_a_shared_image_is_stored_once(meshes, tmp_path):
    scene, one = trimesh.Scene(), textured()
    for k in range(3):
        scene.add_geometry(one, transform=trimesh.transformations.translation_matrix((0, k, 0)), geom_name=str(k))
    scene.export(tmp_path / "old-man.glb")
    mesh = read_mesh(tmp_path / "old-man.glb", meshes, HEIGHT)
    assert mesh.texture.shape == (3, 16, 16) and len(mesh.topology.faces) == 6
