"""Malformed meshes are failures of their avatars, each in one line."""

import json
import os
import struct

import numpy as np
import pytest
import trimesh

from avatargen.exchange.item_table import item_name
from avatargen.preflight.mesh_structure import malformed
from avatargen.preflight.validate import validate_all
from avatargen.runtime.launch import asked
from tests.user_folder import problems_of, write_yaml

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


def write_glb(path, text):
    data = text.encode() if isinstance(text, str) else json.dumps(text).encode()
    data += b" " * (-len(data) % 4)
    path.write_bytes(struct.pack("<4sIIII", b"glTF", 2, 20 + len(data), len(data), 0x4E4F534A) + data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": ["a"]}, 'images.0: got "a"; expected'),
        ({"materials": [None]}, "materials.0: got null; expected"),
        ({"materials": {"a": 1}}, 'materials: got {"a": 1}; expected a valid list'),
        ({"materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, "texCoord": "1"}}}]}, "texCoord"),
        ({"extensionsRequired": "KHR"}, 'extensionsRequired: got "KHR"'),
        ({"images": [{"uri": 7}]}, "images.0.uri: got 7; expected a valid string"),
        ({"images": [{"uri": "a" * 5000}]}, "a file that it names cannot be looked at: File name too long"),
        ([], "JSON: got []"),
        ("{", "its JSON cannot be read"),
        ('{"images":' + "[" * 100_000, "its JSON is nested too deep"),
        ({"images": [{"bufferView": 0}]}, "images.0.bufferView: got 0; expected an index of 0 bufferViews"),
        (
            {"textures": [{"extensions": {"EXT_texture_webp": {"source": 3}}}]},
            "webp.source: got 3; expected an index of 0",
        ),
        ({"materials": [{"emissiveTexture": {}}]}, "materials.0.emissiveTexture.index: got nothing; expected a value"),
        ({"nodes": [{"children": [1]}, {"children": [0]}]}, "nodes.1: got its own ancestor; expected a tree"),
        ({"nodes": [{"children": [1, 1]}, {}]}, "nodes.0.children: got 1, a child of nodes.0; expected one parent"),
        (
            {"buffers": [{"byteLength": 4}], "bufferViews": [{"buffer": 0, "byteLength": 5}]},
            "at most the 4 of",
        ),
        (
            {"accessors": [{"count": 1, "type": "VEC9", "componentType": 5126}]},
            'accessors.0.type: got "VEC9"',
        ),
        ({"materials": [{}], "images": None}, None),
        ({"images": [{"uri": "data:image/png;base64,"}]}, None),
    ],
)
def test_json_of_a_glb_is_checked_before_it_is_walked(tmp_path, content, message):
    write_glb(tmp_path / "a.glb", content)
    problem = malformed(tmp_path / "a.glb")
    assert problem is None if message is None else message in str(problem) and "\n" not in str(problem)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"solid x", "no GLB: it begins with b'soli'"),
        (b"glTF" + bytes(16), "no GLB"),
        (b"", None),
        (struct.pack("<4sIIII", b"glTF", 1, 20, 0, 0x4E4F534A), "got version 1 of glTF; expected 2"),
    ],
)
def test_container_of_a_glb_is_checked(tmp_path, content, message):
    (tmp_path / "a.glb").write_bytes(content)
    problem = malformed(tmp_path / "a.glb")
    assert problem is None if message is None else message in str(problem)


def test_materials_that_name_themselves_or_nothing_end(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.obj").write_text(f"mtllib {'m' * 5000}.mtl\n{TRIANGLE}")
    assert "File name too long" in str(malformed(tmp_path / "a.obj"))
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl\n{TRIANGLE}")
    (tmp_path / "a.mtl").write_text("newmtl x\nmap_Kd sub/../a.mtl\n")
    assert "File name too long" in str(malformed(tmp_path / "a.obj"))
    (tmp_path / "a.mtl").write_text("newmtl x\nKd 1 1 1\n")
    assert malformed(tmp_path / "a.obj") is None


@pytest.fixture
def theirs(place):
    """The folder of a method's meshes, two seeds of two prompts, all of them triangles."""
    folder = place / "workflow/config/meshes"
    folder.mkdir()
    stanza = {"reason": "theirs", "overrides": {"source": "imported", "meshes": {"folder": "meshes", "scale": 1.0}}}
    write_yaml(place / "workflow/config/methods.yaml", theirs=stanza)
    for item in validate_all("mine").lists["few"]:
        (folder / f"{item_name(item)}.obj").write_text(TRIANGLE)
    return folder


def test_a_folder_of_meshes_starts_at_the_file_that_names_it(theirs):
    study = validate_all("mine", {"methods": ["theirs"]})
    assert study.runs["theirs"].method.meshes.folder == str(theirs)


def test_overrides_of_an_experiment_start_at_its_file(place, theirs):
    (place / "workflow/config/more").mkdir()
    text = (place / "workflow/config/mine.yaml").read_text()
    overrides = "overrides: {source: imported, meshes: {folder: ../meshes, scale: 1.0}}\nexperiment: mine\n"
    (place / "workflow/config/more/mine.yaml").write_text(text + overrides)
    study = validate_all("workflow/config/more/mine.yaml", {"methods": ["full"]})
    assert study.runs["full"].method.meshes.folder == str(theirs)
    stated = {"source": "imported", "meshes": {"folder": "workflow/config/meshes", "scale": 1.0}}
    study = validate_all("mine", {"methods": ["full"], "overrides": stated})
    assert study.runs["full"].method.meshes.folder == str(theirs)


def test_a_folder_meant_from_elsewhere_is_found_and_told(place, theirs):
    theirs.rename(place / "meshes")
    (problem,) = problems_of(validate_all, "mine", {"methods": ["theirs"]})
    assert problem.startswith("methods.yaml: theirs: meshes: folder: got no folder workflow/config/meshes; expected")
    assert problem.endswith("did you mean '../../meshes'?")


def test_malformed_meshes_are_told_and_fail_alone(theirs):
    study = validate_all("mine", {"methods": ["theirs"]})
    first, second, third, fourth = [item_name(item) for item in study.lists["few"]]
    before = asked(study)("few", "theirs", "0000")
    for name in (first, second, third):
        (theirs / f"{name}.obj").unlink()
    write_glb(theirs / f"{first}.glb", {"images": ["a"]})
    os.mkfifo(theirs / f"{second}.obj")
    (theirs / f"{third}.ply").symlink_to(f"{third}.ply")
    study = validate_all("mine", {"methods": ["theirs"]})
    (note,) = [note for note in study.notes if "count as failures" in note]
    assert note.startswith("methods.yaml: theirs: meshes: 3 count as failures: ") and fourth not in note.split(": ")[-1]
    assert 'images.0: got "a"' in note and "got a named pipe" in note and "symbolic links" in note
    assert asked(study)("few", "theirs", "0000") != before


def test_a_table_of_landmarks_is_a_file(place, theirs):
    os.mkfifo(theirs / "marks.csv")
    meshes = {"folder": "meshes", "landmarks": "marks.csv"}
    stanza = {"reason": "theirs", "overrides": {"source": "imported", "meshes": meshes}}
    write_yaml(place / "workflow/config/methods.yaml", theirs=stanza)
    (problem,) = problems_of(validate_all, "mine", {"methods": ["theirs"]})
    assert "landmarks: marks.csv: got a folder, a pipe or a broken link; expected a file" in problem


def test_colours_that_break_the_rule_of_gltf_are_told(place, theirs):
    """trimesh writes vertex colours in sRGB."""
    names = [item_name(item) for item in validate_all("mine", {"methods": ["theirs"]}).lists["few"]]
    box = trimesh.creation.box()
    for name, coloured in zip(names[:2], (True, False), strict=True):
        if coloured:
            box.visual.vertex_colors = np.full((8, 4), 99, np.uint8)
        else:
            box.visual = trimesh.visual.ColorVisuals(box)
        (theirs / f"{name}.obj").unlink()
        box.export(theirs / f"{name}.glb")
    (note,) = [note for note in validate_all("mine", {"methods": ["theirs"]}).notes if "vertex_colours" in note]
    assert "1 come from trimesh" in note and f": {names[0]}.glb; state vertex_colours: srgb" in note
    meshes = {"folder": "meshes", "scale": 1.0, "vertex_colours": "srgb"}
    stanza = {"reason": "theirs", "overrides": {"source": "imported", "meshes": meshes}}
    write_yaml(place / "workflow/config/methods.yaml", theirs=stanza)
    assert not [note for note in validate_all("mine", {"methods": ["theirs"]}).notes if "vertex_colours" in note]
