"""``avatargen export``: formats, options that do not fit, and folders that cannot be exported."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from avatargen.cli.main import main
from avatargen.config.experiment import RunConfig
from avatargen.config.plugins import HEADS, load_class
from avatargen.exchange.gltf_options import Bones, ImageKind, Material
from avatargen.exchange.gltf_writer import parse
from avatargen.geometry.types import HeadTopology
from avatargen.io.avatar_file import Avatar, save_avatar


def template(head: str, run: RunConfig) -> Avatar:
    """An avatar of a head model, by its name."""
    model = load_class("head", head, HEADS).load()
    about = {"id": "a", "prompt": "a", "seed": 0, "method": "full", "head_id": model.id, "prior_id": ""}
    tensors = model.template(1).first() | {"latent_texture": None, "baked_texture": torch.full((3, 8, 8), 0.5)}
    return Avatar(**about, **tensors, config=run.model_copy(update={"head": head}).model_dump(mode="json"))


@pytest.fixture
def saved(make_run, tmp_path):
    """A good avatar in ``list/one``; a mesh of another system in ``list/foreign``."""
    avatar = template("anny", make_run())
    save_avatar(tmp_path / "list" / "one", avatar)
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    topology = HeadTopology(faces, torch.rand(4, 2), faces.clone(), {"skin": torch.ones(4, dtype=torch.bool)})
    foreign = replace(avatar, topology=topology, offsets=torch.rand(4, 3), head_id="mesh")
    save_avatar(tmp_path / "list" / "foreign", foreign)
    return tmp_path / "list"


def test_options_reach_the_file(saved, tmp_path):
    out = tmp_path / "a.glb"
    given = [
        "--material",
        "lit",
        "--texture",
        "jpeg",
        "--visemes",
        "--no-clip",
        "--rig",
        "vrm",
        "--compress",
        "meshopt",
    ]
    assert main(["export", str(saved / "one"), "--out", str(out), *given]) == 0
    scene, _ = parse(out.read_bytes())
    assert scene["materials"][0]["name"] == "head_lit" and scene["images"][0]["mimeType"] == "image/jpeg"
    assert "viseme_aa" in scene["meshes"][0]["extras"]["targetNames"] and "animations" not in scene
    assert scene["nodes"][1]["name"] == "upperChest" and "EXT_meshopt_compression" in scene["extensionsRequired"]


@pytest.mark.parametrize("head", ["anny", "anny_coarse"])
def test_the_head_is_the_one_that_the_avatar_was_made_with(head, make_run, tmp_path):
    save_avatar(tmp_path / "one", template(head, make_run()))
    assert main(["export", str(tmp_path / "one"), "--format", "obj"]) == 0
    lines = (tmp_path / "one" / "avatar.obj").read_text().splitlines()
    faces = load_class("head", head, HEADS).load().topology.faces
    assert sum(line.startswith("f ") for line in lines) == len(faces)
    assert main(["export", str(tmp_path / "one")]) == 0 and (tmp_path / "one" / "avatar.glb").is_file()


@pytest.mark.parametrize(
    ("option", "values", "of"),
    [
        ("--material", get_args(Material), lambda scene: [one["name"] for one in scene["materials"]]),
        ("--texture", get_args(ImageKind), lambda scene: scene["images"][0]["mimeType"]),
        ("--rig", get_args(Bones), lambda scene: scene["nodes"][1]["name"]),
    ],
)
def test_every_choice_makes_another_file(option, values, of, saved, tmp_path):
    found = []
    for value in values:
        assert main(["export", str(saved / "one"), "--out", str(tmp_path / "a.glb"), option, value]) == 0
        found.append(str(of(parse((tmp_path / "a.glb").read_bytes())[0])))
    assert len({*found}) == len(values) == 3


def test_formats_follow_the_suffix_or_the_option(saved, capsys):
    assert main(["export", str(saved / "one"), "--out", str(saved / "x.obj")]) == 0
    assert {"x.obj", "x.mtl"} <= {path.name for path in saved.iterdir()}
    assert main(["export", str(saved / "one"), str(saved / "foreign"), "--format", "ply"]) == 0
    assert all((saved / name / "avatar.ply").is_file() for name in ("one", "foreign"))
    assert str(saved / "one" / "avatar.ply") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--out", "a.stl"], "--out: got 'a.stl'; expected a name that ends in .glb, .obj, .ply"),
        (["--out", "a.fbx"], "ends in .glb, .obj, .ply; Blender makes it of a GLB of --material lit"),
        (["--out", "a.usdz"], "ends in .glb, .obj, .ply; Blender makes it of a GLB of --material lit"),
        (["--out", "a.obj", "--format", "ply"], "--format: got ply with --out a.obj; expected obj"),
        (["--format", "obj", "--visemes"], "--visemes: got format obj; expected glb"),
        (["b", "--out", "a"], "--out: got 2 folders; expected one"),
    ],
)
def test_options_that_do_not_fit_are_refused(given, said, capsys):
    assert main(["export", "a", *given]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_stops_no_other(saved, capsys, monkeypatch):
    import avatargen.cli.export as command

    write = command.write_bytes

    def refuse(path, data):
        if path.parent.name == "one":
            raise PermissionError(13, "Permission denied", str(path))
        write(path, data)

    monkeypatch.setattr(command, "write_bytes", refuse)
    assert main(["export", str(saved / "one"), str(saved / "foreign"), "--format", "ply"]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines() == [f"{saved / 'one' / 'avatar.ply'}: cannot be written: Permission denied"]
    assert (saved / "foreign" / "avatar.ply").is_file()


def test_a_parent_folder_asks_for_its_avatars(saved, capsys):
    assert main(["export", str(saved)]) == 2
    assert f"did you mean {saved}/*?" in capsys.readouterr().err


def test_a_mesh_of_another_system_says_why_it_has_no_rig(saved, capsys):
    assert main(["export", str(saved / "foreign")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "neither joints nor expressions" in line and "--format obj or ply" in line
