"""Each feature of glTF that decides what a viewer shows: read rightly, or refused by name before the run.

Expected values follow from the text of the specification, by hand; colours are sRGB.
"""

import io
import json
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from avatargen.config.other_systems import MeshSettings
from avatargen.config.prompts import PromptItem
from avatargen.exchange.mesh_folder import mesh_problems
from avatargen.exchange.mesh_import import TemplateSize, read_mesh
from avatargen.exchange.meshopt_codec import encode_attributes, encode_indices
from avatargen.exchange.meshopt_decoder import decode_view
from avatargen.io.avatar_file import GREY
from avatargen.render.sampling import bilinear
from tests.exchange.glb_maker import FLAT, QUARTERS, SQUARE, Glb, data_uri, packed

TEMPLATE = TemplateSize(0.25, eyes=(0.0, 0.03, 0.08), face=0.1)
ITEM = PromptItem("few", "old-man", "an old man")
RED, GREEN, BLUE, WHITE, BLACK = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0)
HALF = 0.7354
"""sRGB of half of the light."""
QUARTER = 0.5371
"""sRGB of a quarter of the light."""
PLACES = {
    "upper left": (0.25, 0.75),
    "upper right": (0.75, 0.75),
    "lower left": (0.25, 0.25),
    "lower right": (0.75, 0.25),
}
UPRIGHT = dict(zip(PLACES, (RED, GREEN, BLUE, WHITE), strict=True))
"""Colours of the square with the image of quarters."""


def read(path, data, **settings):
    """Return a mesh in the units and axes of its file; the checks before the run must pass."""
    path.write_bytes(data)
    meshes = MeshSettings(folder=str(path.parent), scale=1.0, **settings)
    assert not mesh_problems("theirs", meshes, [ITEM], path.parent)
    return read_mesh(path, meshes, TEMPLATE)


def problems(folder, data, suffix=".glb"):
    """Return what is wrong with a file, each without its place."""
    path = folder / f"old-man{suffix}"
    path.write_bytes(data)
    lines = mesh_problems("theirs", MeshSettings(folder=str(folder)), [ITEM], folder)
    start = f"methods.yaml: theirs: meshes: {path}: "
    assert all(line.startswith(start) for line in lines)
    return [line.removeprefix(start) for line in lines]


def colour_at(mesh, x, y):
    """Return the colour at a point of the plane z = 0, as the renderer samples it; None where nothing is."""
    corners = mesh.vertices[mesh.topology.faces].double()
    for face in range(len(corners)):
        a, b, c = corners[face, :, :2]
        matrix = torch.stack([b - a, c - a], dim=1)
        if abs(float(torch.linalg.det(matrix))) < 1e-9:
            continue
        v, w = torch.linalg.solve(matrix, torch.tensor([x, y]).double() - a).tolist()
        if min(v, w, 1 - v - w) >= -1e-9:
            uvs = mesh.topology.uvs[mesh.topology.face_uvs[face]].double()
            place = torch.tensor([1 - v - w, v, w]).double() @ uvs
            return bilinear(mesh.texture[None].double(), place[None], torch.zeros(1).long())[0].tolist()
    return None


def shows(mesh, expected, within=2e-3):
    """Assert the colours at places of the square."""
    for place, colour in expected.items():
        found = colour_at(mesh, *PLACES[place])
        assert found is None if colour is None else found == pytest.approx(colour, abs=within), place


def extent(mesh):
    return [[round(value, 5) for value in row.tolist()] for row in (mesh.vertices.min(0)[0], mesh.vertices.max(0)[0])]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "old-man.glb"


@pytest.fixture
def glb():
    return Glb()


def everywhere(colour):
    return dict.fromkeys(PLACES, colour)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.array([[128, 64, 0]] * 4, "u1"), (0.7367, 0.5373, 0)),
        (np.array([[32768, 16384, 65535]] * 4, "u2"), (0.7354, 0.5371, 1)),
        (np.array([[0.5, 0.25, 0.0, 1.0]] * 4, "f4"), (HALF, QUARTER, 0)),
    ],
    ids=["bytes", "shorts", "floats"],
)
def test_vertex_colours_are_linear_light(path, glb, rows, expected):
    glb.square(material=glb.material(), more={"COLOR_0": glb.accessor(rows, normalized=rows.dtype.kind == "u")})
    shows(read(path, glb.bytes()), everywhere(expected))


def test_vertex_colours_without_a_material_are_shown(path, glb):
    glb.square(more={"COLOR_0": glb.accessor(np.array([[0.5, 0.25, 0]] * 4, "f4"))})
    shows(read(path, glb.bytes()), everywhere((HALF, QUARTER, 0)))


def test_vertex_colours_are_srgb_where_stated(path, glb):
    glb.square(more={"COLOR_0": glb.accessor(np.array([[128, 64, 0]] * 4, "u1"), normalized=True)})
    shows(read(path, glb.bytes(), vertex_colours="srgb"), everywhere((0.502, 0.251, 0)))


def test_vertex_colours_run_between_corners(path, glb):
    corners = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], "f4")
    glb.square(more={"COLOR_0": glb.accessor(corners)})
    mesh = read(path, glb.bytes())
    for place, colour in zip(((0, 0), (1, 0), (1, 1), (0, 1)), corners.tolist(), strict=True):
        assert colour_at(mesh, *place) == pytest.approx(colour, abs=1e-6)


def test_vertex_colours_times_texture_times_factor(path, glb):
    shades = np.array([[0.5] * 3, [0.5] * 3, [1.0] * 3, [1.0] * 3], "f4")  # below, above
    material = glb.textured(factor=(1, 0.5, 0.5, 1))
    glb.square(material=material, more={"COLOR_0": glb.accessor(shades)})
    light = {"upper left": (0.875, 0, 0), "upper right": (0, 0.4375, 0), "lower left": (0, 0, 0.3125)}
    expected = {place: tuple(1.055 * x ** (1 / 2.4) - 0.055 if x else 0 for x in rgb) for place, rgb in light.items()}
    shows(read(path, glb.bytes()), expected, within=0.01)


def test_one_vertex_colour_tints_a_texture(path, glb):
    glb.square(material=glb.textured(), more={"COLOR_0": glb.accessor(np.array([[0.5] * 3] * 4, "f4"))})
    mesh = read(path, glb.bytes())
    shows(mesh, {"upper left": (HALF, 0, 0), "lower right": (HALF,) * 3})
    assert mesh.texture.shape == (3, 16, 16)


def test_a_factor_is_linear_light(path, glb):
    glb.square(material=glb.textured(factor=(0.5, 1, 0.25, 1)))
    shows(read(path, glb.bytes()), {"upper left": (HALF, 0, 0), "lower right": (HALF, 1, QUARTER)})


def test_a_plain_material_shows_its_factor(path, glb):
    glb.square(material=glb.material(pbrMetallicRoughness={"baseColorFactor": [0.5, 0.25, 0, 1]}))
    shows(read(path, glb.bytes()), everywhere((HALF, QUARTER, 0)))


def test_a_bare_mesh_is_grey_and_a_default_material_white(path, glb):
    glb.square()
    shows(read(path, glb.bytes()), everywhere((GREY,) * 3))
    other = Glb()
    other.square(material=other.material())
    shows(read(path, other.bytes()), everywhere(WHITE))


@pytest.mark.parametrize(
    ("uvs", "normalized"),
    [((FLAT * 255).astype("u1"), True), ((FLAT * 65535).astype("u2"), True), (FLAT, False)],
    ids=["bytes", "shorts", "floats"],
)
def test_texture_coordinates_of_each_type(path, glb, uvs, normalized):
    glb.square(material=glb.textured(), uvs=glb.accessor(uvs, normalized=normalized))
    shows(read(path, glb.bytes()), UPRIGHT)


@pytest.mark.parametrize(
    ("points", "normalized", "scale"),
    [
        ((SQUARE * 100).astype("i1"), False, 0.01),
        ((SQUARE * 127).astype("i1"), True, 1.0),
        ((SQUARE * 32767).astype("i2"), True, 1.0),
        ((SQUARE * 500).astype("u2"), False, 0.002),
    ],
)
def test_quantised_positions(path, glb, points, normalized, scale):
    glb.json["extensionsRequired"] = ["KHR_mesh_quantization"]
    glb.square(points=glb.accessor(points, normalized=normalized), node={"scale": [scale] * 3})
    assert extent(read(path, glb.bytes())) == [[0, 0, 0], [1, 1, 0]]


def sparse(glb, rows, values, **facts):
    """Add an accessor with some rows replaced."""
    indices = {"bufferView": glb.view(np.array(rows, "<u2").tobytes()), "componentType": 5123}
    part = {
        "count": len(rows),
        "indices": indices,
        "values": {"bufferView": glb.view(np.array(values, "<f4").tobytes())},
    }
    return glb.accessor(SQUARE, sparse=part, **facts)


def test_sparse_positions_over_a_base_and_alone(path, glb):
    glb.square(points=sparse(glb, [1, 2], [[3, 0, 0], [3, 1, 0]], view=glb.view(SQUARE.tobytes())))
    assert extent(read(path, glb.bytes())) == [[0, 0, 0], [3, 1, 0]]
    other = Glb()
    other.square(points=sparse(other, [1, 2], [[3, 0, 0], [3, 1, 0]]))  # the others are zero
    mesh = read(path, other.bytes())
    assert extent(mesh) == [[0, 0, 0], [3, 1, 0]] and len(mesh.vertices) == 3


def test_interleaved_attributes(path, glb):
    whole = np.hstack([SQUARE, FLAT]).astype("<f4")
    view = glb.view(whole.tobytes(), byteStride=20)
    points = glb.accessor(SQUARE, view=view)
    glb.square(material=glb.textured(), points=points, uvs=glb.accessor(FLAT, view=view, byteOffset=12))
    mesh = read(path, glb.bytes())
    assert extent(mesh) == [[0, 0, 0], [1, 1, 0]]
    shows(mesh, UPRIGHT)


UP = np.array([[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 1, 0]], "f4")
"""A morph target that makes the square taller."""


@pytest.mark.parametrize(
    ("mesh", "node", "height"),
    [
        ({}, {}, 1.0),
        ({"weights": [0.5, 0.0]}, {}, 1.5),
        ({"weights": [0.5, 0.25]}, {}, 2.0),
        ({"weights": [0.5, 0.0]}, {"weights": [0.0, 1.0]}, 3.0),
    ],
    ids=["none", "one", "both", "of the node"],
)
def test_morph_targets_are_shown_at_their_weights(path, glb, mesh, node, height):
    targets = [{"POSITION": glb.accessor(UP)}, {"POSITION": glb.accessor(2 * UP)}]
    glb.square(primitive={"targets": targets}, node=node, **mesh)
    assert extent(read(path, glb.bytes()))[1] == [1, height, 0]


def test_morph_targets_move_colours_and_texture_coordinates(path, glb):
    """By the width of the image: green where red was; and half the light."""
    target = {"TEXCOORD_0": glb.accessor(np.tile([0.5, 0.0], (4, 1)).astype("f4"))}
    target["COLOR_0"] = glb.accessor(np.full((4, 3), -0.5, "f4"))
    colours = {"COLOR_0": glb.accessor(np.ones((4, 3), "f4"))}
    glb.square(material=glb.textured(), more=colours, primitive={"targets": [target]}, weights=[1.0])
    shows(read(path, glb.bytes()), {"upper left": (0, HALF, 0), "upper right": (HALF, 0, 0)}, within=0.01)


def skin(glb, inverse=True):
    """Add a square whose upper corners follow a joint at (0, 1, 0) that is turned a quarter about z, and moved by 1."""
    joints = np.array([[1, 0, 0, 0]] * 2 + [[2, 1, 0, 0]] * 2, "u1") - np.array([1, 0, 0, 0], "u1")
    weights = np.array([[255, 0, 0, 0]] * 4, "u1")
    more = {"JOINTS_0": glb.accessor(joints), "WEIGHTS_0": glb.accessor(weights, normalized=True)}
    matrices = np.tile(np.eye(4, dtype="f4"), (2, 1, 1))
    matrices[1, 3, 1] = -1  # column by column: the inverse of a move by (0, 1, 0)
    glb.square(more=more, node={"skin": 0, "scale": [100, 100, 100], "translation": [7, 7, 7]})
    glb.json["scenes"] = [{"nodes": [0, 1]}]
    half = 0.5**0.5
    glb.json["nodes"] += [{"children": [2]}, {"translation": [0, 2, 0], "rotation": [0, 0, half, half]}]
    glb.json["skins"] = [
        {"joints": [1, 2]} | ({} if inverse is False else {"inverseBindMatrices": glb.accessor(matrices)})
    ]


def test_skins_are_shown_in_their_pose(path, glb):
    """The node's own place does not count. (1, 1) is (1, 0) from the joint; turned (0, 1); at the joint (0, 3)."""
    skin(glb)
    mesh = read(path, glb.bytes())
    found = sorted(tuple(round(x, 5) for x in row) for row in mesh.vertices.tolist())
    assert found == [(0, 0, 0), (0, 2, 0), (0, 3, 0), (1, 0, 0)]


def test_skins_without_inverse_bind_matrices(path, glb):
    """(1, 1) turns to (-1, 1), and moves to (-1, 3)."""
    skin(glb, inverse=False)
    found = sorted(tuple(round(x, 5) for x in row) for row in read(path, glb.bytes()).vertices.tolist())
    assert found == [(-1, 2, 0), (-1, 3, 0), (0, 0, 0), (1, 0, 0)]


def test_weights_of_skins_are_made_to_sum_to_one(path, glb):
    more = {"JOINTS_0": glb.accessor(np.zeros((4, 4), "u2")), "WEIGHTS_0": glb.accessor(np.full((4, 4), 0.5, "f4"))}
    glb.square(more=more, node={"skin": 0})
    glb.json["skins"] = [{"joints": [0]}]
    assert extent(read(path, glb.bytes())) == [[0, 0, 0], [1, 1, 0]]


def test_nodes_place_meshes_and_only_the_scene_is_shown(path, glb):
    glb.square()
    matrix = [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 6, 7, 1]  # twice as wide, moved by (5, 6, 7)
    glb.json["nodes"] += [{"matrix": matrix, "children": [0]}, {"mesh": 0, "translation": [100, 0, 0]}]
    glb.json["scenes"] = [{"nodes": [2]}, {"nodes": [1]}]
    glb.json["scene"] = 1
    assert extent(read(path, glb.bytes())) == [[5, 6, 7], [7, 7, 7]]


def test_mirrored_nodes_keep_front_faces_in_front(path, glb):
    glb.square(node={"scale": [-1, 1, 1]})
    mesh = read(path, glb.bytes())
    a, b, c = mesh.vertices[mesh.topology.faces[0]]
    assert torch.linalg.cross(b - a, c - a)[2] > 0


def test_second_texture_coordinates(path, glb):
    material = glb.material(pbrMetallicRoughness={"baseColorTexture": {"index": glb.image(), "texCoord": 1}})
    glb.square(material=material, uvs=np.zeros((4, 2), "f4"), more={"TEXCOORD_1": glb.accessor(FLAT)})
    shows(read(path, glb.bytes()), UPRIGHT)


def test_texture_transform_of_the_specification(path, glb):
    """Its example: the lower left quadrant of the image, turned clockwise by a quarter."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[2:, :2] = QUARTERS
    transform = {"offset": [0, 1], "rotation": np.pi / 2, "scale": [0.5, 0.5], "texCoord": 1}
    info = {"index": glb.image(pixels), "texCoord": 0, "extensions": {"KHR_texture_transform": transform}}
    glb.json["extensionsRequired"] = ["KHR_texture_transform"]
    material = glb.material(pbrMetallicRoughness={"baseColorTexture": info})
    glb.square(material=material, uvs=np.zeros((4, 2), "f4"), more={"TEXCOORD_1": glb.accessor(FLAT)})
    turned = dict(zip(PLACES, (BLUE, RED, WHITE, GREEN), strict=True))
    shows(read(path, glb.bytes()), turned)


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (10497, (GREEN, RED, WHITE, BLUE)),
        (33648, (GREEN, GREEN, WHITE, WHITE)),
        (33071, (GREEN, GREEN, WHITE, WHITE)),
        (None, (GREEN, RED, WHITE, BLUE)),
    ],
    ids=["repeat", "mirror", "clamp", "default"],
)
def test_textures_repeat_as_samplers_say(path, glb, wrap, expected):
    """The square shows the image from its middle to half a width beyond its border."""
    sampler = {} if wrap is None else {"sampler": glb.add("samplers", {"wrapS": wrap, "wrapT": 33071})}
    glb.square(material=glb.textured(glb.image(**sampler)), uvs=FLAT + np.array([0.5, 0], "f4"))
    shows(read(path, glb.bytes()), dict(zip(PLACES, expected, strict=True)), within=0.02)


def test_whole_periods_keep_the_image_as_it_is(path, glb):
    glb.square(material=glb.textured(), uvs=FLAT + np.array([3, -2], "f4"))
    mesh = read(path, glb.bytes())
    shows(mesh, UPRIGHT)
    assert mesh.texture.shape == (3, 16, 16)


def test_mirrored_periods_turn_the_image(path, glb):
    sampler = glb.add("samplers", {"wrapS": 33648, "wrapT": 10497})
    glb.square(material=glb.textured(glb.image(sampler=sampler)), uvs=FLAT + np.array([3, 1], "f4"))
    shows(read(path, glb.bytes()), dict(zip(PLACES, (GREEN, RED, WHITE, BLUE), strict=True)))


BLACK_BASE = {"baseColorFactor": [0, 0, 0, 1]}


def test_what_a_material_emits_is_shown(path, glb):
    lit = {"emissiveTexture": {"index": glb.image()}, "emissiveFactor": [1, 1, 0.5]}
    glb.square(material=glb.material(pbrMetallicRoughness=BLACK_BASE, **lit))
    shows(read(path, glb.bytes()), {"upper left": RED, "lower left": (0, 0, HALF), "lower right": (1, 1, HALF)})


def test_emitted_light_adds_to_the_base_colour(path, glb):
    """A quarter of red light everywhere, with emission at half strength."""
    more = {"emissiveFactor": [0.5, 0, 0], "extensions": {"KHR_materials_emissive_strength": {"emissiveStrength": 0.5}}}
    glb.square(material=glb.textured(factor=(0.25, 0.25, 0.25, 1), **more))
    shows(read(path, glb.bytes()), {"upper left": (HALF, 0, 0), "upper right": (QUARTER, QUARTER, 0)})


def test_base_and_emission_have_images_of_their_own(path, glb):
    """The left half of the base is a quarter grey, the upper half emits a quarter of green."""
    base = glb.image(np.array([[[137] * 3, [0] * 3]], np.uint8))
    above = glb.image(np.array([[[0, 137, 0]], [[0, 0, 0]]], np.uint8), scale=4)
    rough, lit = {"baseColorTexture": {"index": base}}, {"emissiveTexture": {"index": above, "texCoord": 1}}
    material = glb.material(pbrMetallicRoughness=rough, emissiveFactor=[1, 1, 1], **lit)
    glb.square(material=material, more={"TEXCOORD_1": glb.accessor(FLAT)})
    expected = ((QUARTER, HALF, QUARTER), (0, QUARTER, 0), (QUARTER,) * 3, BLACK)
    shows(read(path, glb.bytes()), dict(zip(PLACES, expected, strict=True)), within=0.01)


def test_unlit_materials_emit_nothing(path, glb):
    more = {"emissiveFactor": [1, 1, 1], "extensions": {"KHR_materials_unlit": {}}}
    glb.json["extensionsRequired"] = ["KHR_materials_unlit"]
    glb.square(material=glb.textured(**more))
    shows(read(path, glb.bytes()), UPRIGHT)


def test_diffuse_of_specular_glossiness_is_shown(path, glb):
    glossy = {"diffuseTexture": {"index": glb.image()}, "diffuseFactor": [0.5, 1, 1, 1]}
    glb.json["extensionsRequired"] = ["KHR_materials_pbrSpecularGlossiness"]
    glb.square(material=glb.material(extensions={"KHR_materials_pbrSpecularGlossiness": glossy}))
    shows(read(path, glb.bytes()), {"upper left": (HALF, 0, 0), "upper right": GREEN, "lower left": BLUE})


@pytest.mark.parametrize("required", [True, False])
def test_webp_textures_are_read(path, glb, required):
    texture = glb.image(format="WEBP")
    source = glb.json["textures"][texture].pop("source")
    glb.json["textures"][texture]["extensions"] = {"EXT_texture_webp": {"source": source}}
    if required:
        glb.json["extensionsRequired"] = ["EXT_texture_webp"]
    else:
        glb.json["textures"][texture]["source"] = glb.json["textures"][glb.image(QUARTERS[::-1])]["source"]
    glb.square(material=glb.textured(texture))
    shows(read(path, glb.bytes()), UPRIGHT)


def as_palette(alpha):
    """Return the quarters in a palette, with a transparent colour if asked."""
    image = Image.fromarray(QUARTERS.repeat(8, 0).repeat(8, 1)).quantize(4)
    if alpha:
        image.info["transparency"] = 0
    return image


@pytest.mark.parametrize("image", [as_palette(False), as_palette(True)], ids=["palette", "palette with alpha"])
def test_images_with_a_palette(path, glb, image):
    """An opaque material does not look at alpha."""
    glb.square(material=glb.textured(glb.image(image)))
    shows(read(path, glb.bytes()), UPRIGHT)


def test_images_of_sixteen_bits(path, glb):
    glb.square(material=glb.textured(glb.image(Image.fromarray(np.full((4, 4), 32896, np.uint16)))))
    shows(read(path, glb.bytes()), everywhere((0.502,) * 3))


def test_strips_fans_and_lists_without_indices(path):
    strip, fan, flat = Glb(), Glb(), Glb()
    strip.square(
        material=strip.textured(), primitive={"mode": 5, "indices": strip.accessor(np.array([0, 1, 3, 2], "u1"))}
    )
    fan.square(material=fan.textured(), primitive={"mode": 6})
    order = [0, 1, 2, 0, 2, 3]
    view = flat.accessor(SQUARE[order])
    flat.square(material=flat.textured(), points=view, uvs=FLAT[order], primitive={"mode": 4, "indices": None})
    for glb in (strip, fan, flat):
        mesh = read(path, glb.bytes())
        shows(mesh, UPRIGHT)
        corners = mesh.vertices[mesh.topology.faces]
        assert (torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()


def test_buffers_and_images_outside_the_file(path, glb):
    glb.square(material=glb.textured())
    view = glb.json["bufferViews"][glb.json["images"][0].pop("bufferView")]
    (path.parent / "skin tone.png").write_bytes(glb.data[view["byteOffset"] :][: view["byteLength"]])
    glb.json["images"][0] = {"uri": "skin%20tone.png"}
    facts = {**glb.json, "buffers": [{"byteLength": len(glb.data), "uri": data_uri(glb.data)}]}
    shows(read(path, packed({name: part for name, part in facts.items() if part != []})), UPRIGHT)


ALPHA = np.dstack([QUARTERS, [[0, 0], [255, 255]]]).astype(np.uint8)
"""The image of quarters, whose upper half is transparent."""


def strips(glb, material):
    """Add the square in two parts, above and below, with two triangles each."""
    for base in (0.0, 0.5):
        points = SQUARE * np.array([1, 0.5, 1], "f4") + np.array([0, base, 0], "f4")
        glb.square(material=material, points=points, uvs=(points[:, :2] * (1, -1) + (0, 1)).astype("f4"))
    glb.json["scenes"] = [{"nodes": [0, 1]}]


@pytest.mark.parametrize("mode", ["MASK", "BLEND", "OPAQUE"])
def test_triangles_that_alpha_hides_are_left_out(path, glb, mode):
    """By the last of its rows of texels, an edge of the lower triangles shows the upper half: less than 1%."""
    strips(glb, glb.textured(glb.image(ALPHA, scale=256), alphaMode=mode))
    gone = mode != "OPAQUE"
    shows(read(path, glb.bytes()), UPRIGHT | (dict.fromkeys(("upper left", "upper right")) if gone else {}))


def test_cutoff_and_vertex_alpha_decide_what_a_mask_hides(path):
    """0.5 × 0.8 of alpha against a cutoff."""
    for cutoff, shown in ((0.39, True), (0.41, False)):
        glb = Glb()
        base = {"baseColorFactor": [1, 1, 1, 0.5]}
        masked = glb.material(pbrMetallicRoughness=base, alphaMode="MASK", alphaCutoff=cutoff)
        glb.square(material=masked, more={"COLOR_0": glb.accessor(np.array([[1, 1, 1, 0.8]] * 4, "f4"))})
        glb.square(points=SQUARE + np.array([5, 0, 0], "f4"))
        glb.json["scenes"] = [{"nodes": [0, 1]}]
        assert (colour_at(read(path, glb.bytes()), 0.5, 0.25) is not None) == shown


def compressed(glb, data, count, stride, mode, raw, **facts):
    """Add a view whose bytes are compressed, and whose fallback is not in the file."""
    packed_view = {"buffer": 0, "byteLength": len(data), "count": count, "byteStride": stride, "mode": mode, **facts}
    place = glb.json["bufferViews"][glb.view(data)]["byteOffset"]
    glb.json["more_buffers"] = [{"byteLength": 4096}]
    part = {"buffer": 1, "byteLength": len(raw)} | ({"byteStride": stride} if mode == "ATTRIBUTES" else {})
    part["extensions"] = {"EXT_meshopt_compression": packed_view | {"byteOffset": place}}
    return glb.add("bufferViews", part)


def test_meshopt_compression_is_read(path, glb):
    glb.json["extensionsRequired"] = ["EXT_meshopt_compression", "KHR_mesh_quantization"]
    points = np.zeros((4, 4), "<i2")
    points[:, :3] = SQUARE * 300
    rows = points.view(np.uint8).reshape(4, 8)
    view = compressed(glb, encode_attributes(rows), 4, 8, "ATTRIBUTES", rows.tobytes())
    order = np.array([0, 1, 2, 0, 2, 3], "<u2")
    faces = compressed(glb, encode_indices(order.astype(int)), 6, 2, "INDICES", order.tobytes())
    stored = glb.accessor(points[:, :3], view=view)
    primitive = {"indices": glb.accessor(order, view=faces)}
    glb.square(material=glb.textured(), points=stored, primitive=primitive, node={"scale": [1 / 300] * 3})
    mesh = read(path, glb.bytes())
    assert extent(mesh) == [[0, 0, 0], [1, 1, 0]]
    shows(mesh, UPRIGHT)


TABLE = bytes([0x00, 0x76, 0x87, 0x56, 0x67, 0x78, 0xA9, 0x86, 0x65, 0x89, 0x68, 0x98, 0x01, 0x69, 0, 0])
"""The lookup table that the reference encoder writes."""


def triangles(codes, extra=b""):
    data = bytes([0xE1, *codes]) + extra + TABLE
    return np.frombuffer(decode_view(data, 3 * len(codes), 4, "TRIANGLES"), "<u4").reshape(-1, 3).tolist()


def test_meshopt_triangles_follow_the_specification():
    """Codes worked out by hand from appendix A, mode 1."""
    assert triangles([0xF0]) == [[0, 1, 2]]
    assert triangles([0xF0, 0x00]) == [[0, 1, 2], [0, 2, 3]]  # the last edge is (0, 2)
    assert triangles([0xF0, 0x10]) == [[0, 1, 2], [2, 1, 3]]  # the one before it is (2, 1)
    assert triangles([0xF0, 0x00, 0x03]) == [[0, 1, 2], [0, 2, 3], [0, 3, 0]]  # vertices: 3, 2, 1, 0
    assert triangles([0xF0, 0x0F], bytes([20])) == [[0, 1, 2], [0, 2, 10]]  # 10 from the last index, 0
    assert triangles([0xF0, 0x0F, 0x0E], bytes([20]))[2] == [0, 10, 11]  # one more than the last index
    assert triangles([0xFF], bytes([0xFF, 10, 2, 3])) == [[5, 6, 4]]  # three differences: 5, 1, -2
    assert triangles([0xFE], bytes([0xF0, 14])) == [[0, 7, 1]]
    assert triangles([0xF0, 0xFE], bytes([0x00])) == [[0, 1, 2], [0, 1, 2]]  # starts anew


def test_meshopt_exponents_follow_the_specification():
    words = np.array([3 | (-1 & 0xFF) << 24, -5 & 0xFFFFFF | 2 << 24], "<u4")  # 3 × 2⁻¹, -5 × 2²
    data = encode_attributes(words.view(np.uint8).reshape(2, 4))
    found = np.frombuffer(decode_view(data, 2, 4, "ATTRIBUTES", "EXPONENTIAL"), "<f4")
    assert found.tolist() == [1.5, -20.0]


def test_meshopt_attributes_of_many_blocks():
    rows = np.random.default_rng(1).integers(0, 256, (1000, 12), np.uint8)
    rows[:500] //= 64
    assert decode_view(encode_attributes(rows), 1000, 12, "ATTRIBUTES") == rows.tobytes()


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (b"\xa0" + bytes(8), "ATTRIBUTES"),
        (b"\xe1\xff" + TABLE, "TRIANGLES"),
        (b"\xd1\x80", "INDICES"),
        (b"\x00", "INDICES"),
    ],
)
def test_meshopt_data_that_end_early_are_refused(data, mode):
    with pytest.raises(ValueError, match="compressed view: got"):
        decode_view(data, 300, 4, mode)


def test_optional_draco_with_a_copy_is_read(path, glb):
    glb.square(material=glb.textured(), primitive={"extensions": {"KHR_draco_mesh_compression": {"bufferView": 0}}})
    shows(read(path, glb.bytes()), UPRIGHT)


def refused(glb_of):
    """Return the bytes of a square, changed by a function."""
    glb = Glb()
    glb.square(material=glb.textured())
    glb_of(glb.json)
    return glb.bytes()


def primitive_of(facts):
    return facts["meshes"][0]["primitives"][0]


def without_data(facts):
    primitive_of(facts)["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0}}
    facts["accessors"][1].pop("bufferView")


def in_basis(facts):
    facts["textures"][0] = {"extensions": {"KHR_texture_basisu": {"source": 0}}}


def splats(facts):
    primitive_of(facts).update(mode=0, extensions={"KHR_gaussian_splatting": {}})


def require(*names):
    return lambda facts: facts.update(extensionsRequired=list(names))


GLASS = {"KHR_materials_transmission": {"transmissionFactor": 1}}
REFUSED = {
    "required Draco": (
        require("KHR_draco_mesh_compression"),
        "extensionsRequired: got KHR_draco_mesh_compression, which we do not read; export without it",
    ),
    "Draco without a copy": (
        without_data,
        "meshes.0.primitives.0: got KHR_draco_mesh_compression alone; expected an uncompressed copy beside it",
    ),
    "unknown extension": (require("ACME_hair"), "extensionsRequired: got ACME_hair, which we do not read"),
    "points": (
        lambda facts: primitive_of(facts).update(mode=0),
        "meshes.0.primitives.0: got points; expected triangles",
    ),
    "lines": (lambda facts: primitive_of(facts).update(mode=3), "got a line strip; expected triangles"),
    "splats": (splats, "meshes.0.primitives.0: got Gaussian splats; expected triangles"),
    "Basis textures": (
        in_basis,
        "materials.0: got textures.0 in a format that we do not read; expected PNG, JPEG or WebP",
    ),
    "glass": (
        lambda facts: facts["materials"][0].update(extensions=GLASS),
        "materials.0: got glass (KHR_materials_transmission: 1); expected an opaque material",
    ),
    "instances": (
        lambda facts: facts["nodes"][0].update(extensions={"EXT_mesh_gpu_instancing": {}}),
        "nodes.0: got EXT_mesh_gpu_instancing; expected a node for each instance",
    ),
    "half transparent": (
        lambda facts: (
            facts["materials"][0].update(alphaMode="BLEND")
            or facts["materials"][0]["pbrMetallicRoughness"].update(baseColorFactor=[1, 1, 1, 0.4])
        ),
        "got 40% of the surface half transparent, or cut by alpha across triangles; expected at most 1%",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_we_do_not_read_is_refused_by_name(tmp_path, name):
    change, expected = REFUSED[name]
    (problem,) = problems(tmp_path, refused(change))
    assert problem.startswith(expected) or expected in problem


def test_a_mask_that_cuts_through_triangles_is_refused(tmp_path):
    glb = Glb()
    glb.square(material=glb.textured(glb.image(ALPHA, scale=64), alphaMode="MASK"))
    (problem,) = problems(tmp_path, glb.bytes())
    assert "of the surface half transparent, or cut by alpha across triangles" in problem
    with pytest.raises(ValueError, match="cut by alpha"):
        read_mesh(tmp_path / "old-man.glb", MeshSettings(folder=str(tmp_path)), TEMPLATE)


def test_what_is_not_shown_is_not_refused(tmp_path):
    glb = Glb()
    glb.square(material=glb.textured())
    glb.json["meshes"].append({"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]})
    glb.json["nodes"].append({"mesh": 1})
    assert not problems(tmp_path, glb.bytes())


def test_all_problems_of_a_file_are_told_at_once(tmp_path):
    def change(facts):
        in_basis(facts)
        splats(facts)
        require("ACME_hair", "ACME_skin")(facts)

    assert len(problems(tmp_path, refused(change))) == 4


def test_a_problem_of_several_files_is_told_once(tmp_path):
    items = [PromptItem("few", name, name) for name in "abcde"]
    for name in "abcde":
        (tmp_path / f"{name}.glb").write_bytes(refused(REFUSED["points"][0]))
    (problem,) = mesh_problems("theirs", MeshSettings(folder=str(tmp_path)), items, tmp_path)
    assert problem.endswith("a.glb, b.glb, c.glb and 2 more: meshes.0.primitives.0: got points; expected triangles")


def test_files_that_are_cut_off_are_refused(tmp_path):
    glb = Glb()
    glb.square(material=glb.textured())
    whole = glb.bytes()
    for size in (len(whole) - 1, len(whole) // 2, 20):
        (problem,) = problems(tmp_path, whole[:size])
        assert problem == f"got {size:,} bytes; expected {len(whole):,}, as its header says: the file is cut off"


PLY = b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
ASCII = PLY.replace(b"binary_little_endian", b"ascii")
FACES = b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"
BODY = struct.pack("<9fB3i", 0, 0, 0, 1, 0, 0, 0, 1, 0, 3, 0, 1, 2)
TEXT = b"0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (PLY + FACES + BODY, None),
        (PLY + FACES + BODY[:-4], "the file is cut off"),
        (PLY.replace(b"binary_little_endian", b"ascii") + FACES + TEXT, None),
        (
            PLY.replace(b"binary_little_endian", b"ascii") + FACES + TEXT[:-8],
            "got 3 lines; expected at least 4: the file",
        ),
        (PLY + b"end_header\n" + BODY[:36], "got points; expected triangles"),
        (PLY + b"property float f_dc_0\nend_header\n" + bytes(48), "got Gaussian splats; expected triangles"),
    ],
)
def test_points_and_cut_off_plys_are_refused(tmp_path, data, expected):
    lines = problems(tmp_path, data, ".ply")
    assert not lines if expected is None else len(lines) == 1 and expected in lines[0]


def test_an_obj_without_faces_is_refused(tmp_path):
    assert problems(tmp_path, b"v 0 0 0\nv 1 0 0\nl 1 2\n", ".obj") == ["got points or lines; expected triangles"]
    assert not problems(tmp_path, b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", ".obj")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda glb: glb.json["nodes"][0].update(skin=0) or glb.json["skins"].append({"joints": [0]}), None),
        (lambda glb: primitive_of(glb.json).update(indices=glb.accessor(np.array([0, 1, 9], "u2"))), "indices: got 9"),
        (lambda glb: glb.json["images"][0].update(bufferView=1), "images.0: cannot identify image file"),
        (lambda glb: glb.json["images"][0].clear(), "images.0: got neither uri nor bufferView"),
    ],
    ids=["skin without joints", "index", "image", "no image"],
)
def test_broken_contents_fail_with_their_place(path, glb, change, message):
    glb.square(material=glb.textured())
    change(glb)
    if message is None:
        shows(read(path, glb.bytes()), UPRIGHT)
        return
    with pytest.raises(ValueError, match=message):
        read(path, glb.bytes())


def test_coordinates_that_are_not_finite_are_refused(path, glb):
    points = SQUARE.copy()
    points[2, 0] = np.nan
    glb.square(points=points)
    with pytest.raises(ValueError, match="NaN or infinite"):
        read(path, glb.bytes())


def test_integers_may_be_written_as_1_0(path, glb):
    glb.square(material=glb.textured(), uvs=glb.accessor((FLAT * 255).astype("u1"), normalized=True))
    data = glb.bytes()
    size = struct.unpack("<I", data[12:16])[0]
    facts = json.loads(data[20 : 20 + size], parse_int=float)
    assert facts["accessors"][0]["componentType"] == 5121.0
    shows(read(path, packed(facts, data[28 + size :])), UPRIGHT)


def test_a_jpeg_is_read(path, glb):
    file = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 0, 0, 127)).save(file, "JPEG")
    source = glb.add("images", {"bufferView": glb.view(file.getvalue()), "mimeType": "image/jpeg"})
    glb.square(material=glb.textured(glb.add("textures", {"source": source})))
    shows(read(path, glb.bytes()), everywhere((0.502,) * 3), within=0.01)
