"""Tables say where each item's mesh lies, so that another system's folders stay as they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatargen.config.other_systems import MeshSettings
from avatargen.config.prompts import PromptItem
from avatargen.exchange.mesh_folder import find_mesh, mesh_problems, mesh_table, parts_of
from avatargen.exchange.mesh_import import TemplateSize, read_mesh
from tests.user_folder import problems_of

MAN = PromptItem("few", "old-man", "an old man, smiling")
WOMAN = PromptItem("few", "woman", "a woman")
OBJ = "mtllib model.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl m\nf 1/1 2/2 3/3\n"


@pytest.fixture
def theirs(tmp_path):
    """A tree as threestudio writes it: a folder for each prompt and time, with the export of its last step."""
    for name, colour in (("an_old_man@20230101-120000", 200), ("a_woman@20230101-130000", 100)):
        folder = tmp_path / "magic3d" / name / "save/it10000-export"
        folder.mkdir(parents=True)
        (folder / "model.obj").write_text(OBJ)
        (folder / "model.mtl").write_text("newmtl m\nmap_Kd texture_kd.jpg\n")
        Image.fromarray(np.full((8, 8, 3), colour, np.uint8)).save(folder / "texture_kd.jpg")
    return tmp_path


def path_of(name):
    return f"magic3d/{name}/save/it10000-export/model.obj"


def settings(folder, text):
    (folder / "map.csv").write_text(text)
    return MeshSettings(folder=str(folder), table="map.csv", scale=1.0)


ROWS = {MAN: "an_old_man@20230101-120000", WOMAN: "a_woman@20230101-130000"}
TABLES = {
    "ids": ["id,mesh", *(f"{item.item},{path_of(name)}" for item, name in ROWS.items())],
    "prompts": ["mesh,prompt", *(f'{path_of(name)},"{item.prompt}"' for item, name in ROWS.items())],
    "seeds": ["prompt,seed,mesh", *(f'"{item.prompt}",0,{path_of(name)}' for item, name in ROWS.items())],
}


@pytest.mark.parametrize("name", TABLES)
def test_a_tree_is_read_without_renaming(theirs, name):
    meshes = settings(theirs, "\n".join(TABLES[name]))
    assert not mesh_problems("theirs", meshes, ROWS, theirs)
    for item, colour in zip(ROWS, (200, 100), strict=True):
        path = find_mesh(meshes, item, theirs)
        assert path == theirs / path_of(ROWS[item])
        assert [part.name for part in parts_of(path)] == ["model.obj", "model.mtl", "texture_kd.jpg"]
        mesh = read_mesh(path, meshes, TemplateSize(0.25, (0.0, 0.03, 0.08), 0.1))
        assert mesh.texture.mean().item() == pytest.approx(colour / 255, abs=0.01)


def test_seeds_have_rows_of_their_own(theirs):
    rows = [f'"{MAN.prompt}",{seed},{path_of(name)}' for seed, name in enumerate(ROWS.values())]
    meshes = settings(theirs, "\n".join(["prompt,seed,mesh", *rows]))
    assert find_mesh(meshes, replace(MAN, seed=1), theirs) == theirs / path_of(ROWS[WOMAN])
    assert find_mesh(meshes, replace(MAN, seed=2), theirs) is None
    meshes = settings(theirs, f"id,mesh\nold-man.2,{path_of(ROWS[MAN])}\n")
    assert find_mesh(meshes, replace(MAN, seed=2), theirs) and not find_mesh(meshes, MAN, theirs)


def test_rows_and_files_that_are_missing_are_named(theirs):
    meshes = settings(theirs, f"mesh,prompt\n{path_of('gone')},a woman\nold.glb,an old man smiling\n")
    problems = mesh_problems("theirs", meshes, [MAN, WOMAN], theirs)
    assert problems == [
        "methods.yaml: theirs: meshes: map.csv: no row for old-man; expected one for each item; "
        "is 'an old man smiling' meant?",
        f"methods.yaml: theirs: meshes: map.csv: no file {Path(theirs / path_of('gone'))}; expected one; "
        "leave it empty for a failure",
    ]


def test_wrong_tables_of_meshes_are_input_errors(theirs):
    text = "prompt,seed,mesh\na,0,a.glb\na,,b.glb\nb,one,c.glb\nc,1,c.fbx\n\n"
    problems = problems_of(mesh_table, settings(theirs, text), theirs)
    wanted = (
        "map.csv:3: duplicate 'a'; expected one row for each",
        "map.csv:4: seed: got 'one'; expected a whole number",
        "map.csv:5: mesh: got 'c.fbx'; expected a file of .glb, .obj, .ply",
    )
    assert len(problems) == 3 and all(line.endswith(end) for line, end in zip(problems, wanted, strict=True))
    (problem,) = problems_of(mesh_table, settings(theirs, "prompt,path\n"), theirs)
    assert problem.endswith(
        "map.csv:1: got the columns prompt, path; expected id, mesh; or mesh, prompt; or mesh, prompt, seed"
    )
    (problem,) = mesh_problems("theirs", MeshSettings(folder=str(theirs), table="no.csv"), [MAN], theirs)
    assert "no.csv: not readable" in problem
