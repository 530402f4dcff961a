"""What may be chosen of an exported file, and the sizes that follow."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from avatargen.config.plugins import HEADS, load_class
from avatargen.exchange.gltf_compact import joined, shared_part, to_compact
from avatargen.exchange.gltf_export import to_glb
from avatargen.exchange.gltf_material import UNLIT, VARIANTS, WEBP
from avatargen.exchange.gltf_options import GltfOptions
from avatargen.exchange.gltf_writer import parse
from avatargen.exchange.visemes import mix_of
from avatargen.geometry.normals import area_normals
from avatargen.io.avatar_file import Avatar
from tests.exchange.test_gltf_export import Viewer


@pytest.fixture(scope="module")
def head():
    return load_class("head", "anny", HEADS).load()


@pytest.fixture(scope="module")
def avatar(head):
    smooth = torch.stack(torch.meshgrid(*[torch.linspace(0, 1, 128)] * 2, indexing="ij"))
    return Avatar(
        id="a-man",
        prompt="a man",
        seed=3,
        method="full",
        head_id=head.id,
        prior_id="mini",
        **head.template(1).first(),
        latent_texture=None,
        baked_texture=torch.cat([smooth, 0.5 * smooth[:1]]),
    )


@pytest.fixture(scope="module")
def plain(avatar, head):
    return to_glb(avatar, head)


@pytest.fixture(scope="module")
def rich(avatar, head):
    return Viewer(to_glb(avatar, head, GltfOptions("both", "webp", visemes=True, clip=False, rig="vrm")))


def test_plain_files_are_small(plain, rich):
    """Indices and weights have 16 bits; 52 expressions are most of the file."""
    viewer = Viewer(plain)
    kinds = {viewer.scene["accessors"][k]["componentType"] for k in (viewer.primitive()["indices"],)}
    kinds |= {
        accessor["sparse"]["indices"]["componentType"] for accessor in viewer.scene["accessors"] if "sparse" in accessor
    }
    weights = viewer.scene["accessors"][viewer.primitive()["attributes"]["WEIGHTS_0"]]
    assert kinds == {5123} and weights["componentType"] == 5123 and weights["normalized"]
    shown = viewer.attribute("WEIGHTS_0")
    assert np.allclose(shown.sum(1), 1, atol=1e-9) and not viewer.attribute("JOINTS_0")[shown == 0].any()
    assert len(plain) < 4_500_000


def test_lit_and_unlit_are_named_variants(rich):
    scene = rich.scene
    assert [material["name"] for material in scene["materials"]] == ["head_lit", "head_unlit"]
    assert [UNLIT in material.get("extensions", {}) for material in scene["materials"]] == [False, True]
    assert [variant["name"] for variant in scene["extensions"][VARIANTS]["variants"]] == ["lit", "unlit"]
    mappings = rich.primitive()["extensions"][VARIANTS]["mappings"]
    assert mappings == [{"material": 0, "variants": [0]}, {"material": 1, "variants": [1]}]
    assert {UNLIT, VARIANTS, WEBP} == set(scene["extensionsUsed"]) and scene["extensionsRequired"] == [WEBP]


def test_lit_targets_turn_the_normals(rich, head, avatar):
    names = rich.scene["meshes"][0]["extras"]["targetNames"]
    target = rich.primitive()["targets"][names.index("jawOpen")]
    neutral = head.vertices(head.template(1))[0]
    moved = head.vertices(replace(head.template(1), expression=head.expression_from(jawOpen=1.0)[None]))[0]
    faces = head.topology.faces
    wanted = area_normals(moved, faces)
    shown = rich.attribute("NORMAL") + rich.array(target["NORMAL"])
    where = rich.attribute("POSITION")
    vertex = (torch.cdist(torch.from_numpy(where[:200].copy()), neutral)).argmin(1)
    assert np.abs(shown[:200] - wanted[vertex].numpy()).max() < 5e-3
    assert np.abs(rich.array(target["NORMAL"])).max() > 0.1


def test_the_texture_has_the_chosen_format(rich, avatar):
    image = rich.scene["images"][0]
    with Image.open(io.BytesIO(rich.view(image["bufferView"]))) as opened:
        pixels = np.asarray(opened.convert("RGB"), float) / 255
        assert opened.format == "WEBP" and image["mimeType"] == "image/webp"
    assert np.abs(pixels.transpose(2, 0, 1) - avatar.baked_texture.numpy()).mean() < 0.01
    assert rich.scene["textures"][0]["extensions"][WEBP] == {"source": 0}


def test_visemes_are_sums_of_the_files_own_targets(rich):
    names = rich.scene["meshes"][0]["extras"]["targetNames"]
    moves = [target["POSITION"] for target in rich.primitive()["targets"]]
    assert sum(name.startswith("viseme_") for name in names) == 15 and len(names) == 52 + 15 + 5
    for viseme in ("viseme_FF", "viseme_sil"):
        wanted = sum((v * rich.array(moves[names.index(n)]) for n, v in mix_of(viseme).items()), np.zeros(3))
        assert np.abs(rich.array(moves[names.index(viseme)]) - wanted).max() < 8e-5  # each leaves out less than 10 µm
    assert not any(rich.scene["meshes"][0]["weights"][52:])


def test_bones_have_the_chosen_names(rich, plain):
    assert [node["name"] for node in rich.scene["nodes"][1:]] == [
        "upperChest",
        "neck",
        "head",
        "jaw",
        "leftEye",
        "rightEye",
    ]
    assert [node["name"] for node in Viewer(plain).scene["nodes"][1:3]] == ["body", "neck"]


def test_the_origin_is_where_programs_look(plain):
    scene = Viewer(plain).scene
    about = scene["nodes"][0]["extras"]
    assert (about["prompt"], about["seed"], about["method"]) == ("a man", 3, "full") and "Apache-2.0" in about[
        "licence"
    ]
    assert scene["meshes"][0]["extras"].items() >= about.items()
    assert scene["asset"]["copyright"].startswith('"a man" (seed 3, method full)') and scene["asset"]["extras"] == about


def test_clips_come_unless_they_are_left_out(plain, rich):
    assert [clip["name"] for clip in Viewer(plain).scene["animations"]] == ["blink_look_talk"]
    assert "animations" not in rich.scene


def test_compressed_files_hold_the_same(avatar, head, plain):
    options = GltfOptions("lit", visemes=True)
    data = joined(to_compact(avatar, head, shared_part(head.topology, head, avatar, options), options))
    scene, buffer = parse(data)
    names = scene["meshes"][0]["extras"]["targetNames"]
    assert len(names) == 52 + 15 + 5 and scene["materials"][0]["name"] == "head_lit" and len(data) < len(plain) / 2.5
    (clip,) = scene["animations"]
    output = scene["accessors"][clip["samplers"][0]["output"]]
    times = scene["accessors"][clip["samplers"][0]["input"]]
    assert output["count"] == times["count"] * len(names) and times["min"] == [0.0] and times["max"] == [6.0]
    view = scene["bufferViews"][output["bufferView"]]
    values = np.frombuffer(buffer, "<f4", output["count"], view["byteOffset"]).reshape(-1, len(names))
    assert values[:, names.index("eyeBlinkLeft")].max() == 1 and not values[0].any()
    assert UNLIT not in scene["extensionsUsed"]


def test_files_without_extensions_name_none(avatar, head):
    scene, _ = parse(to_glb(avatar, head, GltfOptions("lit", "jpeg")))
    assert not {"extensions", "extensionsUsed", "extensionsRequired"} & scene.keys()
