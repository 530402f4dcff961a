"""FLAME: formats and errors of its files, and vertices that match the published equations."""

import pickle
import shutil

import numpy as np
import pytest
import torch

from avatargen.config.errors import InputError
from avatargen.geometry.types import HeadParameters
from avatargen.heads.flame.files import VARIABLE, find_flame, flame_problems, read_flame
from avatargen.heads.flame.head import FlameHead
from avatargen.heads.flame.mesh import split
from tests.small_flame import as_python2, make_flame, write_flame


@pytest.fixture(scope="module")
def flame(flame_file):
    return FlameHead.load(flame_file)


@pytest.fixture
def folder(flame_file, tmp_path):
    """A copy of the files, for tests that damage them."""
    return shutil.copytree(flame_file.parent, tmp_path / "flame")


def rotation(axis_angle):
    """Return a rotation matrix, the exponential of the cross-product matrix."""
    x, y, z = axis_angle
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)).numpy()


def published(model, shape, expression, joints):
    """Return FLAME's vertices by its equations 2 to 5, one vertex after the other, with the root at rest."""
    moved = model["v_template"] + model["shapedirs"] @ np.concatenate([shape, expression])
    pivots = model["J_regressor"] @ moved
    turns = [np.eye(3), *(rotation(joint) for joint in joints)]
    bends = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    moved = moved + model["posedirs"] @ bends
    worlds = []
    for joint, parent in enumerate((-1, 0, 1, 1, 1)):
        own = np.eye(4)
        own[:3, :3], own[:3, 3] = turns[joint], pivots[joint] - turns[joint] @ pivots[joint]
        worlds.append(own if parent < 0 else worlds[parent] @ own)
    posed = [sum(w * world for w, world in zip(row, worlds, strict=True)) for row in model["weights"]]
    return np.stack([(m @ np.append(v, 1))[:3] for m, v in zip(posed, moved, strict=True)])


def test_vertices_match_the_published_equations(flame):
    model, masks, *_ = make_flame()
    draw = np.random.default_rng(1)
    shape, expression, joints = draw.normal(size=300), draw.normal(size=100), draw.normal(size=(4, 3)) * 0.4
    kept = np.setdiff1d(np.unique(model["f"][~np.isin(model["f"], masks["boundary"]).any(1)]), masks["boundary"])

    def ours(*parts):
        return flame.vertices(HeadParameters(*parts, torch.zeros(1, len(flame.bases.weights[0]), 3)))[0]

    tensors = [torch.from_numpy(part)[None].float() for part in (shape, expression, joints)]
    at_rest = ours(*(torch.zeros_like(part) for part in tensors))[: len(kept)].double().numpy()
    centre = (model["v_template"][kept] - at_rest).mean(0)
    assert np.allclose(at_rest + centre, model["v_template"][kept], atol=1e-6)
    wanted = published(model, shape, expression, joints)[kept] - centre
    assert np.allclose(ours(*tensors)[: len(kept)].numpy(), wanted, atol=2e-6)
    assert np.abs(wanted - at_rest).max() > 0.02


def test_the_neck_is_trimmed_and_triangles_are_split(flame):
    model, masks, uvs, face_uvs = make_flame()
    inside = ~np.isin(model["f"], masks["boundary"]).any(1)
    faces, points = flame.topology.faces.numpy(), flame.canonical(flame.shape_template[None])[0].numpy()
    assert 0 < inside.sum() < len(inside) and len(faces) == 4 * inside.sum()

    def area(corners):
        return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)

    parts = area(points[faces]).reshape(4, -1)  # each a quarter of the triangle that it is of
    whole = area(model["v_template"][model["f"][inside]])
    assert np.allclose(parts, whole / 4, rtol=1e-4)
    corners = flame.topology.uvs.numpy()[flame.topology.face_uvs.numpy()].reshape(4, -1, 3, 2)
    assert np.allclose(corners[0][:, 0], uvs[face_uvs[inside]][:, 0], atol=1e-6)
    assert np.allclose(corners[3].mean(1), uvs[face_uvs[inside]].mean(1), atol=1e-6)


def test_regions_come_from_the_masks(flame):
    regions, points = flame.topology.regions, flame.canonical(flame.shape_template[None])[0]
    assert regions["eyes"].sum() == 2 * 162 and not (regions["eyes"] & regions["skin"]).any()
    assert points[regions["scalp"], 1].min() > points[:, 1].max() - 0.06
    assert not regions["nose"].any()  # these files have no such mask


def test_split_makes_four_equal_triangles_of_each():
    operator, faces = split(np.array([[0, 1, 2], [2, 1, 3]]), 4)
    points = operator @ np.array([[0.0, 0], [2, 0], [0, 2], [2, 2]])
    assert len(points) == 4 + 5 and len(faces) == 8
    crossed = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    assert (crossed == 1).all()  # a quarter of 4, wound alike


@pytest.mark.parametrize("kind", ["numpy pickle", "npz"])
def test_other_formats_hold_the_same_head(flame, folder, kind):
    model = {name: value for name, value in make_flame()[0].items() if name != "bs_style"}
    (folder / "generic_model.pkl").unlink()
    if kind == "npz":
        np.savez(folder / "flame2023.npz", **model)
    else:
        (folder / "flame2023.pkl").write_bytes(pickle.dumps(model))
    other = FlameHead.load(folder)
    assert torch.equal(other.bases.basis, flame.bases.basis) and other.id != flame.id
    assert torch.allclose(other.bases.template, flame.bases.template, atol=1e-7)


def test_an_obj_layout_may_order_faces_in_any_way(flame, folder):
    model, _, uvs, face_uvs = make_flame()
    (folder / "FLAME_texture.npz").unlink()
    corners = np.roll(np.stack([model["f"], face_uvs], 2).astype(int), 1, axis=1)[::-1] + 1
    lines = [f"vt {u:.9f} {v:.9f}" for u, v in uvs]
    lines += ["f " + " ".join(f"{vertex}/{uv}" for vertex, uv in face) for face in corners]
    (folder / "head_template_mesh.obj").write_text("# a template\n" + "\n".join(lines) + "\n")
    topology = FlameHead.load(folder).topology
    assert torch.equal(topology.faces, flame.topology.faces)
    assert torch.allclose(topology.uvs[topology.face_uvs], flame.topology.uvs[flame.topology.face_uvs], atol=1e-6)
    (folder / "head_template_mesh.obj").write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match=r"got no match for 1 of the model's .* faces"):
        FlameHead.load(folder)


class Evil:
    def __reduce__(self):
        return print, ("this must not run",)


def test_a_pickle_runs_no_code(folder, capsys):
    (folder / "FLAME_masks.pkl").write_bytes(pickle.dumps({"boundary": Evil()}))
    with pytest.raises(InputError, match=r"FLAME_masks.pkl: cannot be read \(got builtins.print"):
        FlameHead.load(folder)
    assert "must not" not in capsys.readouterr().out


def test_all_problems_of_a_model_are_reported_at_once(folder):
    model = make_flame()[0]
    model["shapedirs"] = model["shapedirs"][..., :300]
    model["weights"][3, 1] = np.nan
    del model["posedirs"]
    (folder / "generic_model.pkl").write_bytes(as_python2(model))
    with pytest.raises(InputError) as caught:
        FlameHead.load(folder)
    count, said = len(model["v_template"]), str(caught.value)
    assert len(caught.value.problems) == 3 and "no 'posedirs'" in said and "weights: got" in said
    assert f"shapedirs: got {count} x 3 x 300 of float64; expected finite numbers, {count} x 3 x 400" in said


def test_masks_of_another_mesh_are_refused(folder):
    (folder / "FLAME_masks.pkl").write_bytes(as_python2({"boundary": np.array([0, 99999])}))
    with pytest.raises(InputError) as caught:
        read_flame(find_flame(folder))
    assert "boundary: got vertex 99999" in str(caught.value) and "no mask 'left_eyeball'" in str(caught.value)


def test_missing_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    assert [line.count("no such folder") for line in flame_problems()] == [1]
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert len(flame_problems()) == 3
    write_flame(tmp_path)
    assert not flame_problems()
    first = write_flame(tmp_path, chumpy=False)
    assert "generic_model.pkl" in flame_problems()[0] and "expected one" in flame_problems()[0]
    monkeypatch.setenv(VARIABLE, str(first))
    assert not flame_problems() and find_flame().model == first
