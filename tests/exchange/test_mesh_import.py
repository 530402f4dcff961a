"""Meshes of other systems: which file belongs to which prompt, how it is read and placed, and its rendered colours."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from avatargen.config.other_systems import MeshSettings
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import MethodSettings
from avatargen.exchange.gltf_writer import Buffer
from avatargen.exchange.mesh_files import (
    COLUMNS,
    Landmarks,
    landmarks_of,
    mesh_notes,
    read_landmarks,
)
from avatargen.exchange.mesh_folder import find_mesh, mesh_problems, parts_of
from avatargen.exchange.mesh_import import TemplateSize, face_charts, place, read_mesh
from avatargen.geometry.types import HeadTopology
from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.face_points import FacePoints
from avatargen.heads.mesh_head import MESH, MeshHead
from avatargen.headworld.truth import true_head
from avatargen.io.avatar_file import GREY, Avatar, load_avatar, save_avatar
from avatargen.render.warp import WarpRenderer
from avatargen.runtime import fingerprint
from tests.render.conftest import make_cameras
from tests.user_folder import problems_of

HEIGHT = 0.25
TEMPLATE = TemplateSize(HEIGHT, eyes=(0.0, 0.03, 0.08), face=0.1)
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
    path, meshes = tmp_path / f"old-man.{suffix}", meshes.model_copy(update={"vertex_colours": "srgb"})
    ball().export(path)  # trimesh writes sRGB into a GLB, too
    assert find_mesh(meshes, ITEM, tmp_path) == path
    mesh = read_mesh(path, meshes, TEMPLATE)
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
    mesh = read_mesh(path, meshes, TEMPLATE)
    renderer = WarpRenderer(mesh.topology, mesh.vertices)
    shown = renderer.render(mesh.vertices[None], make_cameras([0.0], [0.0]), 64, texture=mesh.texture[None])
    corners = shown.features[0, 0][:, [24, 24, 40, 40], [24, 40, 24, 40]].T
    assert torch.equal(corners.round(), torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]))


def test_repeated_textures_are_moved_into_the_image(meshes, tmp_path):
    mesh = textured()
    mesh.visual.uv = mesh.visual.uv + np.array([3, -2])
    mesh.export(tmp_path / "old-man.glb")
    read = read_mesh(tmp_path / "old-man.glb", meshes, TEMPLATE)
    corners = read.topology.uvs[read.topology.face_uvs]
    assert corners.min() >= -1e-6 and corners.max() <= 1 + 1e-6 and len(read.topology.uvs) == 6


def test_a_colour_factor_multiplies_linear_light(meshes, tmp_path):
    mesh = textured()
    mesh.visual.material.baseColorFactor = [0.5, 1.0, 1.0, 1.0]
    mesh.export(tmp_path / "old-man.glb")
    texture = read_mesh(tmp_path / "old-man.glb", meshes, TEMPLATE).texture
    assert texture[:, 0, 0].tolist() == pytest.approx([0.7354, 0, 0], abs=2e-3)
    mesh.visual.material.baseColorTexture = None
    mesh.export(tmp_path / "old-man.glb")
    texture = read_mesh(tmp_path / "old-man.glb", meshes, TEMPLATE).texture
    assert texture[:, 0, 0].tolist() == pytest.approx([0.7354, 1, 1], abs=2e-3)


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
    mesh = read_mesh(tmp_path / "old-man.glb", meshes, TEMPLATE)
    seen = WarpRenderer(mesh.topology, mesh.vertices).render(
        mesh.vertices[None], make_cameras([0.0], [0.0], fov=60.0), 512, texture=mesh.texture[None]
    )
    colours = {tuple(c) for c in (seen.features[0, 0].flatten(1).T[seen.face_ids.flatten() >= 0] * 20).round().tolist()}
    light = round(20 * 0.7354)
    for wanted in ((0, 16, 0), (light, 0, 0), (0, 0, light), (light, light, light), (0, 0, 20)):
        assert wanted in colours
    assert (12, 12, 12) in colours  # the mesh without any colour


def test_mirrored_meshes_stay_wound_outwards(meshes, tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(ball(), transform=np.diag([-1.0, 1, 1, 1]))
    scene.export(tmp_path / "old-man.glb")
    mesh = read_mesh(tmp_path / "old-man.glb", meshes, TEMPLATE)
    corners = mesh.vertices[mesh.topology.faces]
    outwards = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((outwards * corners.mean(1)).sum(1) > 0).all()
    assert torch.allclose(seen_from(mesh, 90), torch.tensor([0.0, 0.7354, 0.7354]), atol=0.03)  # of the other side


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
    assert seen_from(read_mesh(tmp_path / "old-man.glb", meshes, TEMPLATE), 0).tolist() == pytest.approx([0, 1, 0])


def test_seams_are_merged(meshes, tmp_path):
    sphere = ball()
    sphere.unmerge_vertices()
    sphere.export(tmp_path / "old-man.ply")
    mesh = read_mesh(tmp_path / "old-man.ply", meshes, TEMPLATE)
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
    meshes = MeshSettings(folder="x", up=up, front=front, scale=1.0)
    assert place(np.array([[1.0, 2.0, 3.0]]), meshes, TEMPLATE)[0].tolist() == list(expected)


@pytest.fixture(scope="module")
def world_head():
    return AnnyHead.load()


def in_their_space(points):
    """Metres to a file in centimetres with z up, looking along -y, far from its origin; and that file's settings."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], 1) * 100 + (3, -7, 150), {"up": "+z", "front": "-y"}


@pytest.mark.parametrize("caption", ["a man with a white mohawk", "a woman with a pink bun"])
def test_eyes_and_chin_come_to_those_of_the_template(world_head, caption):
    """The height of the box, with tall hair, would shrink these faces by more than a twentieth."""
    truth, points, template = true_head(caption, (), world_head), FacePoints.of(world_head), TemplateSize.of(world_head)
    vertices = world_head.vertices(truth.parameters.neutral())
    theirs, axes = in_their_space(vertices[0].double().numpy())
    eyes, chin = (theirs[points.right] + theirs[points.left]) / 2, theirs[points.chin]
    meshes = MeshSettings(folder="x", eyes=tuple(eyes), chin=tuple(chin), **axes)
    placed = torch.from_numpy(place(theirs, meshes, template, Landmarks(meshes.eyes, meshes.chin))).float()
    own = world_head.canonical(world_head.shape_template[None])
    torch.testing.assert_close(points.eyes(placed[None]), points.eyes(own), rtol=0, atol=1e-6)
    torch.testing.assert_close(placed[points.chin, 1], own[0, points.chin, 1], rtol=0, atol=1e-6)
    sides = [(each[:, None] - each).norm(dim=-1) for each in (placed[::997], vertices[0, ::997])]
    torch.testing.assert_close(
        sides[0] / sides[1].clamp(min=1e-9),
        torch.full_like(sides[0], template.face / face_of(points, vertices)).fill_diagonal_(0),
        rtol=1e-3,
        atol=0,
    )
    by_height = torch.from_numpy(place(theirs, MeshSettings(folder="x", **axes), template)).float()[None]
    assert face_of(points, by_height) < 0.95 * template.face


def face_of(points, vertices) -> float:
    """How far the eyes lie above the chin."""
    return float(points.eyes(vertices)[0, 1] - vertices[0, points.chin, 1])


def test_a_stated_scale_keeps_size_and_origin():
    points = np.random.default_rng(0).normal(size=(9, 3))
    meshes = MeshSettings(folder="x", up="+z", front="-y", scale=0.01)
    theirs = in_their_space(points)[0] - (3, -7, 150)
    assert np.allclose(place(theirs, meshes, TEMPLATE), points)


def write_table(folder, *rows, columns=COLUMNS):
    text = "\n".join(",".join(map(str, row)) for row in (columns, *rows))
    (folder / "landmarks.csv").write_text(text + "\n")
    return MeshSettings(folder=str(folder), landmarks="landmarks.csv")


def test_a_table_has_landmarks_for_each_mesh(tmp_path):
    ball().export(tmp_path / "old-man.glb")
    ball().export(tmp_path / "old-man.2.glb")
    meshes = write_table(tmp_path, ("old-man", 5, 6, 7, 5, 4, 7), ("old-man.2", 5, 6, 7, 5, 5, 7))
    assert not mesh_problems("theirs", meshes, [ITEM, replace(ITEM, seed=2)], tmp_path)
    sizes = []
    for item in (ITEM, replace(ITEM, seed=2)):
        mesh = read_mesh(find_mesh(meshes, item, tmp_path), meshes, TEMPLATE, landmarks_of(meshes, item, tmp_path))
        sizes.append(float(mesh.vertices[:, 1].max() - mesh.vertices[:, 1].min()))
        centre = (mesh.vertices[:, 1].max() + mesh.vertices[:, 1].min()) / 2
        assert float(centre) == pytest.approx(0.03 - sizes[-1] / 4, abs=1e-4)  # eyes lie half a radius above it
    assert sizes == pytest.approx([0.1 * 4 / 2, 0.1 * 4], abs=1e-4)


def test_only_a_mesh_whose_landmarks_change_is_made_again(tmp_path, make_run):
    items = [replace(ITEM, item=name, prompt=name) for name in "ab"]
    for item in items:
        ball().export(tmp_path / f"{item.item}.glb")

    def fingerprints(*rows):
        run = make_run("theirs", source="imported", meshes=write_table(tmp_path, *rows))
        return fingerprint.of_avatars(run, items, tmp_path)

    before = fingerprints(("a", 0, 1, 0, 0, 0, 0), ("b", 0, 1, 0, 0, 0, 0))
    after = fingerprints(("a", 0, 1, 0, 0, 0, 0), ("b", 0, 1.25, 0, 0, 0, 0))
    assert before[0] == after[0] and before[1] != after[1]


def test_wrong_tables_are_input_errors(tmp_path):
    items = [replace(ITEM, item=name) for name in "abcde"]
    for name in "abcd":
        ball().export(tmp_path / f"{name}.glb")
    (tmp_path / "e.glb").touch()  # a failure of the other system needs no landmarks
    good = ("a", 0, 1, 0, 0, 0, 0)
    (problem,) = mesh_problems("theirs", write_table(tmp_path, good, ("b", 0, 1, 0, 0, 0, 0)), items, tmp_path)
    assert problem.endswith("landmarks.csv: no row for c, d; expected one for each mesh")
    rows = (good, ("b", 0, "nan", 0, 0, 0, 0), ("c", 0, "x", 0, 0, 0, 0), ("d", 0, 1), ("e", 0, 0, 5, 0, 0, 9), good)
    problems = mesh_problems("theirs", write_table(tmp_path, *rows), items, tmp_path)
    wanted = (
        "3: got 0, nan, 0",
        "4: got 0, x, 0",
        "5: got 0, 1",
        "6: eyes (0.0, 0.0, 5.0) lie no higher",
        "7: duplicate",
    )
    assert len(problems) == 5 and all(
        f"landmarks.csv:{text}" in line for line, text in zip(problems, wanted, strict=True)
    )
    (problem,) = problems_of(read_landmarks, tmp_path / "landmarks.csv", write_table(tmp_path, columns=COLUMNS[:-1]))
    assert "got the columns mesh, eyes_x" in problem
    (problem,) = mesh_problems("theirs", MeshSettings(folder=str(tmp_path), landmarks="no.csv"), items, tmp_path)
    assert "methods.yaml: theirs: meshes: " in problem and "no.csv: not readable" in problem


def test_users_are_told_where_height_decides_the_size():
    (note,) = mesh_notes("theirs", MeshSettings(folder="x"))
    assert "made as tall as the template" in note
    assert not mesh_notes("theirs", MeshSettings(folder="x", scale=1.0))
    assert not mesh_notes("theirs", MeshSettings(folder="x", landmarks="landmarks.csv"))


def test_contradictory_settings_are_refused():
    points = {"eyes": (0, 1, 0), "chin": (0, 0, 0)}
    for wrong, message in (
        ({"front": "-y"}, "two different axes"),
        ({"scale": 1, **points}, "got scale and eyes; expected one of"),
        ({"landmarks": "a.csv", **points}, "got eyes and landmarks; expected one of"),
        ({"eyes": (0, 1, 0)}, "got eyes alone; expected both"),
        ({"chin": (0, 1, 0), "scale": 1}, "got chin alone; expected both"),
        ({"up": "-y", **points}, "lie no higher than chin"),
        ({"eyes": (0, float("inf"), 0), "chin": (0, 0, 0)}, "finite"),
        ({"scale": 0}, "greater than 0"),
        ({"scale": 1, "landmarks": "a.csv", "front": "+y"}, "scale and landmarks.*; .*two different axes"),
    ):
        with pytest.raises(ValueError, match=message):
            MeshSettings(folder="x", **wrong)
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
        read_mesh(tmp_path / name, meshes, TEMPLATE)


def test_an_avatar_file_stores_an_imported_mesh(meshes, tmp_path):
    ball().export(tmp_path / "old-man.glb")
    mesh = read_mesh(tmp_path / "old-man.glb", meshes, TEMPLATE)
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
    (tmp_path / "c.obj").write_text("mtllib c.mtl\nf 1 2 3\n")
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
    assert "old-man.glb: extensionsRequired: got KHR_draco_mesh_compression, which we do not read" in problem
    (tmp_path / "old-man.glb").write_bytes(buffer.pack({"extensionsRequired": None, "images": [{"uri": "gone.png"}]}))
    (problem,) = mesh_problems("theirs", meshes, [ITEM], tmp_path)
    assert problem.endswith("old-man.glb: refers to 'gone.png'; expected that file beside it")


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
    assert read_mesh(tmp_path / "old-man.obj", meshes, TEMPLATE).texture[:, 0, 0].tolist() == pytest.approx(colour)


def test_a_shared_image_is_stored_once(meshes, tmp_path):
    scene, one = trimesh.Scene(), textured()
    for k in range(3):
        scene.add_geometry(one, transform=trimesh.transformations.translation_matrix((0, k, 0)), geom_name=str(k))
    scene.export(tmp_path / "old-man.glb")
    mesh = read_mesh(tmp_path / "old-man.glb", meshes, TEMPLATE)
    assert mesh.texture.shape == (3, 16, 16) and len(mesh.topology.faces) == 6
