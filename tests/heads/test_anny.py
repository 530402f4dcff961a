"""The Anny head: symmetry, anatomy, border, texture layout, loading."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from avatargen.geometry.cameras import evaluation_cameras
from avatargen.heads.anny.bake.uv_flatten import border_loops
from avatargen.heads.anny.head import AnnyHead
from avatargen.render.warp import WarpRenderer


@pytest.fixture(scope="module")
def anny():
    return AnnyHead.load()


@pytest.fixture(scope="module")
def template(anny):
    return anny.canonical(anny.template(1).shape)[0]


def identities(anny):
    named = [
        {"age": -1 / 3},
        {"age": 0.05, "weight": 0.8},
        {"age": 1.0, "gender": 0.0, "weight": 1.0},
        {"gender": 1.0, "asian": 1.0, "african": 0.0, "caucasian": 0.0},
        {"gender": 0.0, "african": 1.0, "asian": 0.0, "caucasian": 0.0, "muscle": 1.0},
        {"neck_scale_vert": 1.0, "head_fat": 1.0},
    ]
    return torch.stack([anny.shape_from(**values) for values in named])


def test_template_is_symmetric(anny, template):
    points = template.numpy()
    distance, mirror = cKDTree(points).query(points * [-1, 1, 1])
    assert distance.max() < 1e-6
    faces = {frozenset(face) for face in anny.topology.faces.tolist()}
    assert {frozenset(mirror[list(face)].tolist()) for face in faces} == faces


def test_heads_stay_centred_and_keep_their_relative_size(anny, template):
    skull = anny.topology.regions["scalp"] | anny.topology.regions["face"]
    heads = anny.canonical(identities(anny))[:, skull]
    middle = (heads.amax(dim=1) + heads.amin(dim=1)) / 2
    reference = (template[skull].amax(dim=0) + template[skull].amin(dim=0)) / 2
    assert (middle - reference).norm(dim=1).max() < 0.02
    size = heads.amax(dim=1) - heads.amin(dim=1)
    width = template[skull].amax(dim=0) - template[skull].amin(dim=0)
    assert 0.45 < size[0, 0] / width[0] < 0.75  # newborn
    assert 0.9 < size[2, 0] / width[0] < 1.15  # old man


def test_proxy_mesh_keeps_the_outline_with_a_quarter_of_faces(anny):
    proxy, shapes = anny.proxy(), identities(anny)
    assert 4 * len(proxy.topology.faces) < 1.05 * len(anny.topology.faces)
    cameras = evaluation_cameras(len(shapes), 3, fov=16.0)
    whole, coarse = (
        WarpRenderer(head.topology).silhouette(head.canonical(shapes), cameras, 64) for head in (anny, proxy)
    )
    assert (whole - coarse).abs().sum() < 0.01 * whole.sum()
    assert (whole - coarse).sum().abs() < 0.005 * whole.sum()


def test_proxy_mesh_keeps_texture_coordinates(anny, template):
    proxy = anny.proxy()
    points = proxy.canonical(proxy.template(1).shape)[0]
    same = torch.cdist(points.double(), template.double()).argmin(dim=1)

    def placed(topology, faces):
        uvs = topology.uvs[topology.face_uvs].view(-1, 2).tolist()
        return {(vertex, *uv) for vertex, uv in zip(faces.flatten().tolist(), uvs, strict=True)}

    assert placed(proxy.topology, same[proxy.topology.faces]) <= placed(anny.topology, anny.topology.faces)
    corners = proxy.topology.uvs[proxy.topology.face_uvs]
    assert (torch.linalg.det(corners[:, 1:] - corners[:, :1]) > 0).all()


def border(anny):
    """Return the vertices of the neck's border, the longest open loop."""
    return torch.as_tensor(border_loops(anny.topology.faces.numpy())[0])


def plane_distance(loop):
    centred = loop - loop.mean(dim=-2, keepdim=True)
    normal = torch.linalg.svd(centred).Vh[..., 2, :]
    return (centred @ normal[..., None]).abs().amax(dim=(-2, -1))


def test_neck_border_is_planar_and_even(anny, template):
    loop = template[border(anny)]
    assert plane_distance(loop) < 1e-6
    steps = (loop - loop.roll(1, dims=0)).norm(dim=1)
    assert steps.max() / steps.min() < 8
    heads = anny.canonical(identities(anny))[:, border(anny)]
    assert plane_distance(heads).max() < 0.003


def test_only_the_neck_and_hidden_parts_are_open(anny):
    for loop in border_loops(anny.topology.faces.numpy())[1:]:
        hidden = anny.topology.regions["teeth"] | anny.topology.regions["tongue"]
        hidden = hidden | anny.topology.regions["mouth_interior"] | anny.topology.regions["eyes"]
        assert hidden[torch.as_tensor(loop)].all()


def posed(anny, **rotations):
    parameters = anny.template(1)
    joints = parameters.joints.clone()
    for name, rotation in rotations.items():
        joints[0, anny.joint_names.index(name)] = torch.tensor(rotation)
    return anny.vertices(replace(parameters, joints=joints))[0]


def test_jaw_moves_chin_teeth_and_tongue_but_not_scalp(anny, template):
    move = posed(anny, jaw=[0.3, 0.0, 0.0]) - template
    regions = anny.topology.regions
    assert move[regions["scalp"]].norm(dim=1).max() < 1e-6
    below_lips = template[:, 1] < template[regions["lips"], 1].min() - 0.01
    chin = regions["beard"] & below_lips & (template[:, 2] > 0.06)
    assert move[chin, 1].max() < -0.005
    teeth = move[regions["teeth"], 1]
    assert teeth.min() < -0.015 and (teeth.abs() < 1e-4).sum() > 0.4 * len(teeth)
    assert move[regions["tongue"], 1].mean() < -0.01


def test_eyes_turn_in_place_and_to_the_given_side(anny, template):
    left = anny.topology.regions["eyes"] & (template[:, 0] > 0)
    front = left & anny.topology.regions["pupil"]
    turned = posed(anny, eye_left=[0.0, 0.4, 0.0])
    assert (turned[left].mean(dim=0) - template[left].mean(dim=0)).norm() < 0.002
    assert (turned - template)[front, 0].mean() > 0.003  # about +y, +z turns towards +x
    right = anny.topology.regions["eyes"] & (template[:, 0] < 0)
    assert torch.equal(turned[right], template[right])


def test_neck_border_stays_with_the_body(anny, template):
    turned = posed(anny, neck=[0.3, 0.5, 0.0], head=[0.2, 0.0, 0.1])
    assert (turned - template)[border(anny)].norm(dim=1).max() < 1e-6
    assert (turned - template)[anny.topology.regions["scalp"]].norm(dim=1).min() > 0.005


def test_expressions_move_what_they_name(anny, template):
    def move(**values):
        parameters = anny.template(1)
        return anny.vertices(replace(parameters, expression=anny.expression_from(**values)[None]))[0] - template

    blink = move(eyeBlinkLeft=1.0).norm(dim=1)
    skin, side = anny.topology.regions["skin"], template[:, 0]  # Anny also moves the other eye socket
    assert blink[skin & (side > 0)].max() > 0.005 and blink[skin & (side < -0.005)].max() < 1e-6
    opened = move(jawOpen=1.0)
    assert opened[anny.topology.regions["lips"], 1].min() < -0.02
    assert opened[anny.topology.regions["scalp"]].norm(dim=1).max() < 1e-3


def test_phenotype_weights_are_products_of_hat_functions(anny):
    """Checked on anchors, halfway between anchors, and on a mixture of ancestries."""
    from avatargen.heads.anny.shape_space import PHENOTYPES, phenotype_labels, phenotype_weights

    values = dict.fromkeys(PHENOTYPES, 0.0) | {"age": 5 / 6, "weight": 0.75, "muscle": 1.0, "asian": 2.0}
    weights = phenotype_weights(torch.tensor([[values[name] for name in PHENOTYPES]], dtype=torch.float64))[0]
    table = dict(zip(phenotype_labels(), weights.tolist(), strict=True))
    assert table["universal:male-young-maxmuscle-averageweight"] == pytest.approx(0.25)
    assert table["universal:male-old-maxmuscle-maxweight"] == pytest.approx(0.25)
    assert table["race:asian-male-old"] == pytest.approx(0.5, abs=1e-5)
    assert table["height:male-old-maxmuscle-maxweight-maxheight"] == 0
    assert sum(table[name] for name in table if name.startswith("universal")) == pytest.approx(1)


def test_no_bit_depends_on_the_rest_of_the_batch(anny, template):
    draw = torch.Generator().manual_seed(0)
    moved = 0.02 * torch.randn(6, len(anny.shape_names), generator=draw)
    pull = torch.randn(6, *template.shape, generator=draw)

    def pose(rows):
        shape = (anny.shape_template + moved[rows]).requires_grad_()
        vertices = anny.vertices(replace(anny.template(len(rows)), shape=shape))
        (vertices * pull[rows]).sum().backward()
        return zip(vertices.detach(), shape.grad, strict=True)

    alone = [next(pose([row])) for row in range(6)]
    for rows in ([1, 0], [5, 3, 4, 0, 2, 1]):
        for row, made in zip(rows, pose(rows), strict=True):
            assert all(map(torch.equal, made, alone[row]))


def test_texture_layout_has_gutters_and_no_overlaps(anny):
    resolution = 512
    corners = anny.topology.uvs[anny.topology.face_uvs].numpy() * resolution
    hits = np.zeros((resolution, resolution), int)
    low = np.floor(corners.min(axis=1)).astype(int)
    size = np.ceil(corners.max(axis=1)).astype(int) - low
    count = size.prod(axis=1)
    triangle = np.repeat(np.arange(len(corners)), count)
    nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    texel = low[triangle] + np.stack([nth % size[triangle, 0], nth // size[triangle, 0]], axis=1)
    a, b, c = corners[triangle].transpose(1, 0, 2) - (texel + 0.5)[None]

    def cross(p, q):
        return p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]

    sides = np.stack([cross(a, b), cross(b, c), cross(c, a)])
    inside = (sides > 1e-9).all(axis=0)  # a flipped triangle has no inside
    np.add.at(hits, tuple(texel[inside].T), 1)
    assert (hits > 1).sum() == 0
    assert (hits == 1).mean() > 0.8
    area = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert area.min() > 0
    face = anny.topology.regions["face"][anny.topology.faces].all(dim=1).numpy()
    assert area[face].sum() / 2 / resolution**2 > 0.3
    in_skin = anny.topology.regions["skin"][anny.topology.faces].all(dim=1).numpy()
    strip = corners[..., 1].max(axis=1) < 0.16 * resolution
    gap = corners[in_skin][..., 1].min() - corners[strip][..., 1].max()
    assert gap / resolution * 128 > 3  # texels at 128²


def test_regions_are_filled_and_disjoint(anny):
    regions = anny.topology.regions
    outer = "face lips brows eyelids scalp ears beard moustache neck skin nose"
    for name in [*outer.split(), "eyes", "iris", "pupil", "teeth", "tongue", "mouth_interior", "eye_sockets"]:
        assert regions[name].sum() > 10, name
    inner = ["teeth", "tongue", "mouth_interior", "eyes", "eye_sockets", "skin"]
    assert sum(regions[name].int() for name in inner).eq(1).all()
    apart = """scalp face, scalp ears, beard lips, beard scalp, lips nose, moustache lips, brows eyelids,
               neck face, iris skin"""
    for one, other in (pair.split() for pair in apart.split(",")):
        assert not (regions[one] & regions[other]).any(), (one, other)
    for name, mask in anny.region_weights.items():
        assert mask.min() >= 0 and mask.max() <= 1 and torch.equal(mask > 0.5, regions[name])


def test_loading_is_quick_and_does_not_import_anny(anny):
    start = time.process_time()
    AnnyHead.load()
    assert time.process_time() - start < 1
    imports = "import sys; from avatargen.heads.anny.head import AnnyHead"
    program = f"{imports}; AnnyHead.load(); sys.exit('anny' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_forward_and_backward_are_quick(anny):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    leaf = anny.template(4).shape.requires_grad_()
    parameters = replace(anny.template(4), shape=leaf)
    times = []
    for _ in range(8):
        start = time.process_time()
        anny.vertices(parameters).sum().backward()
        times.append(time.process_time() - start)
    torch.set_num_threads(threads)
    assert min(times) < 0.15  # 10 to 15 ms on an idle core; the limit allows for a busy machine
