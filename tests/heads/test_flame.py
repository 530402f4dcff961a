"""FLAME: formats and errors of its files, and vertices that match the published equations."""

import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from avatargen.config.errors import InputError
from avatargen.geometry.types import HeadParameters
from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.flame.arkit import NAMES
from avatargen.heads.flame.files import VARIABLE, find_flame, flame_notes, flame_problems
from avatargen.heads.flame.head import FlameHead
from avatargen.heads.flame.mesh import split, trim
from avatargen.heads.flame.reading import read_flame
from tests.small_flame import as_python2, make_flame, make_full_size_flame, write_flame


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
    missing = flame_problems()
    assert len(missing) == 3 and "FLAME_texture.npz" in missing[1] and "head_template.obj" in missing[1]
    write_flame(tmp_path)
    assert not flame_problems()
    first = write_flame(tmp_path, chumpy=False)
    assert "generic_model.pkl" in flame_problems()[0] and "expected one" in flame_problems()[0]
    monkeypatch.setenv(VARIABLE, str(first))
    assert not flame_problems() and find_flame().model == first


def lay_out(place, flame_file, **moved):
    """Copy the three files to the given names, relative to a folder."""
    sources = {"model": flame_file, "masks": flame_file.parent / "FLAME_masks.pkl"}
    sources["texture"] = flame_file.parent / "FLAME_texture.npz"
    for part, names in moved.items():
        for name in names.split():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sources[part], place / name)


def write_landmarks(folder):
    """What else the downloads hold, with the arrays that they have."""
    faces = {"lmk_face_idx": np.arange(51), "lmk_b_coords": np.full((51, 3), 1 / 3)}
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("flame_static_embedding.pkl", "flame_static_embedding_68.pkl", "landmark_embedding.pkl"):
        (folder / name).write_bytes(as_python2(faces))
    for name in ("flame_dynamic_embedding.npy", "landmark_embedding.npy", "landmark_embedding_with_eyes.npy"):
        np.save(folder / name, faces, allow_pickle=True)
    np.savez(folder / "mediapipe_landmark_embedding.npz", **faces, landmark_indices=np.arange(105))
    np.savez(folder / "FLAME_albedo_from_BFM.npz", MU=np.zeros((2, 2, 3)), PC=np.zeros((2, 2, 3, 4)))
    (folder / "head_template_mesh.obj").write_text("v 0 0 0\nf 1 2 3\n")
    (folder / "._generic_model.pkl").write_bytes(b"\0\5\x16\7 v_template shapedirs")
    np.savez(folder / "SMPLX_NEUTRAL.npz", v_template=np.zeros((9, 3)), shapedirs=np.zeros((9, 3, 20)))
    for name in ("Readme.pdf", "FLAME_masks.gif", "FLAME2020.zip", "empty.pkl"):
        (folder / name).touch()


LAYOUTS = {
    "2020 as unzipped": (
        {"model": "FLAME2020/generic_model.pkl FLAME2020/male_model.pkl FLAME2020/female_model.pkl"},
        {"masks": "FLAME_masks/FLAME_masks.pkl", "texture": "TextureSpace/FLAME_texture.npz"},
    ),
    "2023 with and without a jaw": (
        {"model": "FLAME2023/flame2023.pkl FLAME2023/flame2023_no_jaw.pkl"},
        {"masks": "FLAME_masks.pkl", "texture": "FLAME_texture.npz"},
    ),
    "2023 Open": (
        {"model": "FLAME2023Open/flame2023_Open.pkl"},
        {"masks": "FLAME_masks.pkl", "texture": "FLAME_texture.npz"},
    ),
    "names of smplx, in capitals": (
        {"model": "flame/FLAME_NEUTRAL.PKL flame/FLAME_FEMALE.PKL flame/FLAME_MALE.PKL"},
        {"masks": "flame_masks.PKL", "texture": "flame_texture.NPZ"},
    ),
    "a copy of the same model": (
        {"model": "generic_model.pkl FLAME2020/generic_model.pkl"},
        {"masks": "FLAME_masks.pkl FLAME2020/FLAME_masks.pkl", "texture": "FLAME_texture.npz other/FLAME_texture.npz"},
    ),
    "only a gendered model": (
        {"model": "female_model.pkl"},
        {"masks": "FLAME_masks.pkl", "texture": "FLAME_texture.npz"},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_as_users_have_them(flame_file, tmp_path, layout):
    """The generic model is found among all that the downloads hold, wherever the zips put it."""
    models, others = LAYOUTS[layout]
    write_landmarks(tmp_path)
    lay_out(tmp_path, flame_file, **models, **others)
    for name in models["model"].split()[1:]:  # another content, except for the copy
        if layout != "a copy of the same model":
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
    files = find_flame(tmp_path)
    assert files.model == tmp_path / models["model"].split()[0] and files.actions is None
    assert files.masks == tmp_path / others["masks"].split()[0]
    assert files.texture == tmp_path / others["texture"].split()[0]
    assert FlameHead.load(tmp_path).id == FlameHead.load(flame_file).id


def test_links_and_other_formats_of_masks_are_followed(flame_file, flame, tmp_path):
    lay_out(tmp_path / "store", flame_file, model="a.pkl", texture="t.npz")
    np.savez(tmp_path / "store/parts.npz", **make_flame()[1])
    (tmp_path / "flame").mkdir()
    for name, target in {"model.pkl": "a.pkl", "layout.npz": "t.npz", "regions.npz": "parts.npz"}.items():
        (tmp_path / "flame" / name).symlink_to(tmp_path / "store" / target)
    head = FlameHead.load(tmp_path / "flame")
    for name, mask in flame.topology.regions.items():
        assert torch.equal(head.topology.regions[name], mask)
    (tmp_path / "folder").symlink_to(tmp_path / "flame")
    assert find_flame(tmp_path / "folder").model.name == "model.pkl"


def test_companions_may_lie_beside_the_models_folder(flame_file, tmp_path):
    lay_out(tmp_path, flame_file, model="FLAME2020/generic_model.pkl FLAME2023/flame2023.pkl", masks="FLAME_masks.pkl")
    lay_out(tmp_path, flame_file, texture="TextureSpace/FLAME_texture.npz")
    chosen = tmp_path / "FLAME2023/flame2023.pkl"
    chosen.write_bytes(chosen.read_bytes() + b" ")
    with pytest.raises(InputError, match=r"FLAME2020/generic_model\.pkl, FLAME2023/flame2023\.pkl; expected one; set"):
        find_flame(tmp_path)
    files = find_flame(chosen)
    assert (files.model, files.masks.name, files.texture.parent.name) == (chosen, "FLAME_masks.pkl", "TextureSpace")


def test_files_that_are_no_model_are_explained(flame_file, tmp_path):
    lay_out(tmp_path, flame_file, masks="FLAME_masks.pkl", texture="FLAME_texture.npz")
    with pytest.raises(InputError, match="got no model; expected"):
        find_flame(tmp_path)
    (tmp_path / "FLAME2020.zip").touch()
    with pytest.raises(InputError, match=r"got no model \(unpack FLAME2020\.zip\)"):
        find_flame(tmp_path)
    (tmp_path / "generic_model.pkl").symlink_to(tmp_path / "elsewhere.pkl")
    with pytest.raises(InputError, match=r"generic_model\.pkl: a link to what does not exist"):
        find_flame(tmp_path)
    (tmp_path / "generic_model.pkl").unlink()
    (tmp_path / "generic_model.pkl").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"generic_model\.pkl holds no model's arrays: an unfinished download"):
        find_flame(tmp_path)


def test_problems_of_all_files_are_found_before_the_first_job(folder, monkeypatch):
    """Without torch, and once: a second call reads nothing."""
    monkeypatch.setenv(VARIABLE, str(folder))
    model = (folder / "generic_model.pkl").read_bytes()
    (folder / "generic_model.pkl").write_bytes(model[: len(model) // 2])
    (folder / "FLAME_masks.pkl").write_bytes(as_python2({"boundary": np.arange(3)}))
    (folder / "arkit.json").write_text('{"jawOpn": {"jaw": [1, 0, 0]}, "jawLeft": {"jaw": [1]}}')
    said = flame_problems()
    assert len(said) == 4 and "generic_model.pkl: cannot be read" in said[0] and "'left_eyeball'" in said[1]
    assert "did you mean 'jawOpen'" in said[2] and "jawLeft: jaw: got 1; expected 3 finite numbers" in said[3]
    program = (
        "import sys; from avatargen.heads.flame.files import flame_problems as f; f(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    write_flame(folder)
    (folder / "arkit.json").unlink()
    assert not flame_problems()
    monkeypatch.setattr("avatargen.heads.flame.reading.read_flame", None)
    assert not flame_problems() and "vertices after subdivision" in flame_notes()[0]


def test_an_open_release_has_scipy_and_extra_entries(flame, folder):
    """FLAME 2023 Open is a pickle of Python 3 with a sparse regressor and a dictionary of metadata."""
    model = make_flame()[0] | {"J": np.zeros((5, 3)), "bs_type": "lrotmin"}
    model["J_regressor"] = sp.csc_matrix(model["J_regressor"])
    model["supr_expression_metadata"] = {"n_expr": 100, "expr_components": "last_100"}
    (folder / "generic_model.pkl").unlink()
    (folder / "flame2023_Open.pkl").write_bytes(pickle.dumps(model))
    assert torch.equal(FlameHead.load(folder).bases.basis, flame.bases.basis)


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    parts = make_full_size_flame()
    return write_flame(tmp_path_factory.mktemp("full"), chumpy=False, parts=parts), parts


@pytest.mark.parametrize(("border", "vertices"), [(0, 20017), (60, 19777), (960, 16177)])
def test_boundary_decides_the_number_of_vertices(full_size, tmp_path, border, vertices):
    """N = V + (3 F + b) / 2: a vertex at each vertex and edge that is left, and four fewer for each that is trimmed."""
    path, (_, masks, *_) = full_size
    lay_out(tmp_path, path, model="flame2023.pkl")
    shutil.copy(path.parent / "FLAME_texture.npz", tmp_path)
    lowest = masks["boundary"][len(masks["boundary"]) - border :]
    np.savez(tmp_path / "FLAME_masks.npz", **masks | {"boundary": lowest})
    mesh = trim(read_flame(find_flame(tmp_path)))
    sides = np.sort(np.stack([mesh.faces, np.roll(mesh.faces, -1, 1)], -1).reshape(-1, 2), axis=1)
    open_edges = (np.unique(sides, axis=0, return_counts=True)[1] == 1).sum()
    assert open_edges == 60 and len(mesh.kept) == 5023 - border and len(mesh.faces) == 9976 - 2 * border
    assert mesh.refined() == vertices == len(mesh.kept) + (3 * len(mesh.faces) + open_edges) // 2 == 20017 - 4 * border


def test_the_proxy_is_flames_own_mesh_and_the_same_surface(full_size):
    head = FlameHead.load(full_size[0])
    proxy, points = head.proxy(), head.canonical(head.shape_template[None])[0]
    source = read_flame(find_flame(full_size[0]))
    mesh = trim(source)
    assert np.array_equal(proxy.topology.faces.numpy(), mesh.faces) and 4 * len(mesh.faces) == len(head.topology.faces)
    assert len(head.offset_points()) == len(mesh.kept) == 4063 and len(points) == 16177
    corners = proxy.topology.uvs[proxy.topology.face_uvs].numpy()
    inside = ~np.isin(source.faces, source.masks["boundary"]).any(1)
    assert np.allclose(corners, source.uvs[source.face_uvs[inside]], atol=1e-6)
    draw = torch.Generator().manual_seed(0)
    offsets = 0.01 * torch.randn(1, 4063, 3, generator=draw)
    shape = torch.randn(1, 300, generator=draw)
    coarse, fine = ((h.canonical(shape) + h.interpolate_offsets(offsets))[0] for h in (proxy, head))
    middles = coarse[proxy.topology.faces].mean(1)  # the middle of a triangle is that of its inner part
    inner = fine[head.topology.faces].view(4, -1, 3, 3)[3].mean(1)
    assert torch.allclose(middles, inner, atol=1e-6) and torch.equal(coarse, fine[:4063])
    again = proxy.proxy()
    assert torch.equal(again.topology.faces, proxy.topology.faces) and len(again.topology.regions["skin"]) == 4063


def test_correctives_are_what_a_pose_adds_before_skinning(flame):
    """Against the published equations: every entry of R - I times its corrective."""
    model, masks, *_ = make_flame()
    kept = np.setdiff1d(np.unique(model["f"][~np.isin(model["f"], masks["boundary"]).any(1)]), masks["boundary"])
    joints = np.random.default_rng(2).normal(size=(4, 3)) * 0.4
    bends = np.concatenate([(rotation(joint) - np.eye(3)).ravel() for joint in joints])
    found = flame.correctives(torch.from_numpy(joints)[None].float())[0, : len(kept)]
    assert np.allclose(found.numpy(), (model["posedirs"] @ bends)[kept], atol=1e-6)


def test_arkit_names_are_those_of_anny():
    assert set(NAMES) == set(AnnyHead.load().expression_names)


def moved(head, name):
    """Displacement of each vertex by a facial action, without pose correctives, metres."""
    at = head.actions()[name]
    offsets = -head.correctives(at.joints[None])
    parameters = replace(head.template(1), expression=at.expression[None], joints=at.joints[None], offsets=offsets)
    return head.vertices(parameters)[0] - head.canonical(head.shape_template[None])[0]


def test_jaw_and_gaze_need_no_file(full_size):
    head = FlameHead.load(full_size[0])
    points = head.canonical(head.shape_template[None])[0]
    assert len(head.actions()) == 11
    chin = moved(head, "jawOpen")[:, 1].argmin()
    assert moved(head, "jawOpen")[chin, 1] < -0.002 and points[chin, 2] > 0.05
    assert moved(head, "jawLeft")[chin, 0] > 0 > moved(head, "jawRight")[chin, 0]  # the person's left is +x
    eyes = head.topology.regions["eyes"]
    for side, own in (("Left", eyes & (points[:, 0] > 0)), ("Right", eyes & (points[:, 0] < 0))):
        pupil = (points[:, 2] - 10 * (~own)).argmax()
        out = torch.sign(points[pupil, 0])
        assert (
            moved(head, f"eyeLookUp{side}")[pupil, 1] > 0.005 and moved(head, f"eyeLookDown{side}")[pupil, 1] < -0.005
        )
        assert moved(head, f"eyeLookOut{side}")[pupil, 0] * out > 0.005
        assert moved(head, f"eyeLookIn{side}")[pupil, 0] * out < -0.005
        assert moved(head, f"eyeLookUp{side}")[eyes & ~own].abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["npz", "json"])
def test_a_file_names_facial_actions(folder, kind):
    smile, jaw = np.linspace(-1, 1, 50), np.array([0.3, 0.0, 0.0])
    if kind == "npz":
        rows = {"expression": np.stack([smile, 0 * smile]), "jaw": np.stack([0 * jaw, jaw])}
        np.savez(folder / "ARKit.npz", names=np.array(["mouthSmileLeft", "jawOpen"]), **rows)
    else:
        parts = {"mouthSmileLeft": {"expression": smile.tolist()}, "jawOpen": {"jaw": jaw.tolist()}}
        (folder / "arkit.json").write_text(json.dumps(parts))
    before = FlameHead.load(folder).id
    actions = FlameHead.load(folder).actions()
    assert len(actions) == 12
    assert np.allclose(actions["mouthSmileLeft"].expression[:50], smile) and not actions["mouthSmileLeft"].joints.any()
    assert not actions["mouthSmileLeft"].expression[50:].any()
    assert np.allclose(actions["jawOpen"].joints[1], jaw)
    for name in ("ARKit.npz", "arkit.json"):
        (folder / name).unlink(missing_ok=True)
    assert FlameHead.load(folder).id == before  # no avatar depends on the file


BAD = {
    "not an npz": (b"text", "cannot be read"),
    "no names": ({"jaw": np.zeros((2, 3))}, "expected a row for each of 0 names"),
    "twice": ({"names": np.array(["jawOpen"] * 2), "jaw": np.zeros((2, 3))}, "duplicate 'jawOpen'"),
    "too long": ({"names": np.array(["jawOpen"]), "expression": np.zeros((1, 101))}, "at most 100 finite numbers"),
    "not finite": ({"names": np.array(["jawOpen"]), "eyes": np.full((1, 6), np.nan)}, "expected 6 finite numbers"),
    "unknown part": ({"names": np.array(["jawOpen"]), "neck": np.zeros((1, 3))}, "unknown 'neck'"),
    "empty": ({"names": np.array([], str)}, "got no facial action"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_of_facial_actions_are_refused(folder, case):
    content, said = BAD[case]
    if isinstance(content, bytes):
        (folder / "arkit.npz").write_bytes(content)
    else:
        np.savez(folder / "arkit.npz", **content)
    with pytest.raises(InputError, match=said):
        FlameHead.load(folder)
