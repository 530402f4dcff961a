"""Building blocks of the head models, checked against values derived by hand."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from avatargen.geometry.sparse import SparseMap
from avatargen.heads.anny.bake.uv_flatten import border_loops, flatten, open_seam
from avatargen.heads.proxy_mesh import build_proxy_mesh
from avatargen.heads.skinning import joint_motions, rotation_matrices, skin
from avatargen.heads.subdivide import catmull_clark, cut, linear, triangulate


def test_a_quarter_turn_about_z_takes_x_to_y():
    turn = rotation_matrices(torch.tensor([[0.0, 0.0, math.pi / 2]]))
    assert torch.allclose(turn[0], torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), atol=1e-6)


def test_rotation_is_smooth_at_zero():
    angle = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotation_matrices, angle)


def test_a_child_joint_follows_its_parent():
    joints = torch.zeros(1, 2, 3)
    joints[0, 0, 2] = math.pi / 2  # the parent, at the origin, turns x to y
    joints[0, 1, 2] = math.pi / 2  # the child, at (1, 0, 0), too
    pivots = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]])
    motions = joint_motions(joints, pivots, (-1, 0))
    rest = torch.tensor([[[2.0], [0], [0]]])  # (1, 3, N=1)
    posed = skin(rest, motions, torch.tensor([[0.0], [1.0]]))
    assert torch.allclose(posed[0, :, 0], torch.tensor([-1.0, 1, 0]), atol=1e-6)
    half = skin(rest, motions, torch.tensor([[0.0], [0.5]]))  # the remaining weight stays at rest
    assert torch.allclose(half[0, :, 0], torch.tensor([0.5, 0.5, 0]), atol=1e-6)


def test_skinning_gradients_match_finite_differences():
    draw = torch.Generator().manual_seed(0)
    rest = torch.randn(2, 3, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    motions = torch.randn(2, 4, 3, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(4, 5, generator=draw, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda r, m: skin(r, m, weights), (rest, motions))


def test_sparse_map_is_the_matrix():
    matrix = sp.random(6, 4, density=0.6, random_state=1, format="csr")
    parts = [
        tuple(torch.as_tensor(x) for x in (m.indptr[:-1].astype(int), m.indices.astype(int), m.data))
        for m in (matrix, matrix.T.tocsr())
    ]
    dense = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    check_product(SparseMap(*parts[0], parts[1]), torch.as_tensor(matrix.toarray()), dense)


def test_a_sparse_map_of_entries_in_any_order():
    matrix = torch.eye(5, dtype=torch.float64) + (torch.rand(5, 5, dtype=torch.float64) < 0.3)
    rows, columns = matrix.nonzero()[torch.randperm(int((matrix != 0).sum()))].T
    dense = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    whole = SparseMap.of(rows, columns, matrix[rows, columns], tuple(matrix.shape))
    check_product(whole, matrix, dense)
    chosen = torch.tensor([3, 0])
    check_product(whole.chosen(chosen), matrix[chosen], dense)


def check_product(operator, matrix, dense):
    assert torch.allclose(operator @ dense, matrix @ dense)
    assert torch.autograd.gradcheck(lambda x: operator @ x, dense)


CUBE = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
CORNERS = np.array([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])


def test_catmull_clark_of_a_cube():
    operator, quads = catmull_clark(CUBE, 8)
    points = operator @ CORNERS
    assert points.shape == (26, 3) and quads.shape == (24, 4)
    assert np.allclose(np.abs(points[:8]), 5 / 9)  # (F + 2R + 0 P) / 3 = (1/3 + 2·2/3) / 3
    assert np.allclose(np.sort(np.abs(points[8:20]), axis=1), [0, 3 / 4, 3 / 4])
    assert np.allclose(np.asarray(operator.sum(axis=1)), 1)


def test_a_flat_border_follows_the_spline_curve():
    operator, _ = catmull_clark(np.array([[0, 1, 2, 3]]), 4)
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert np.allclose((operator @ square)[0], [1 / 8, 1 / 8, 0])
    assert np.allclose((operator @ square)[4:8].mean(axis=0), [0.5, 0.5, 0])
    plain, _ = linear(np.array([[0, 1, 2, 3]]), 4)
    assert np.allclose((plain @ square)[:4], square)


def test_proxy_mesh_merges_only_whole_quads():
    """Quads with a texture seam inside, or clipped by a cut, keep their triangles."""
    two = np.array([[0, 1, 2, 3], [1, 4, 5, 2]])
    flat = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0], [2, 1, 0]])
    operator, quads = catmull_clark(two, 6)
    points = operator @ flat
    faces = triangulate(quads, points)
    owner, corners = np.arange(16) // 8, np.arange(len(points)) < 6
    merged, uvs = build_proxy_mesh(faces, faces, owner, corners, points)
    assert len(merged) == 4 and set(merged.ravel()) == set(range(6)) and np.array_equal(merged, uvs)
    seam = faces.copy()
    seam[8][faces[8] >= 6] += 100
    merged, uvs = build_proxy_mesh(faces, seam, owner, corners, points)
    assert len(merged) == 2 + 8 and np.array_equal(uvs[2:], seam[8:])
    merged, _ = build_proxy_mesh(faces[:15], faces[:15], owner[:15], corners, points)
    assert len(merged) == 2 + 7 and np.array_equal(merged[2:], faces[8:15])


def test_cut_leaves_nothing_below_and_a_straight_border():
    operator, quads = catmull_clark(CUBE, 8)
    points = operator @ CORNERS
    faces = triangulate(quads, points)
    slide, kept, origin = cut(faces, points, points[:, 1] - 0.21)
    after = slide @ points
    used = np.unique(kept)
    assert after[used, 1].min() > 0.21 - 1e-12
    loop = border_loops(kept)
    assert len(loop) == 1 and np.allclose(after[loop[0], 1], 0.21)
    assert np.isin(origin, np.arange(len(faces))).all() and len(origin) == len(kept)


def test_seam_and_flattening_are_one_to_one():
    side = 7
    grid = np.arange(side * side).reshape(side, side)
    quads = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], -1).reshape(-1, 4)
    flat = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) / (side - 1)
    points = np.concatenate([flat, np.exp(-8 * ((flat - 0.5) ** 2).sum(1, keepdims=True))], axis=1)
    faces = triangulate(quads, points)
    _, origin = open_seam(faces, np.stack([grid[3, :3], grid[3, 1:4]], 1))
    assert len(origin) == side * side + 3  # the seam's vertices are doubled, except for its inner end
    faces = faces[(np.linalg.norm(flat[faces] - [0.5, 0.5], axis=2) > 1e-9).all(axis=1)]
    loop = border_loops(faces)[0]
    uvs = flatten(faces, points, loop, flat[loop], np.ones(len(points)))
    a, b, c = uvs[faces].transpose(1, 0, 2)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert area.min() > 0 and area.sum() / 2 == pytest.approx(1, abs=0.2)
    rim = np.unique(faces[np.linalg.norm(flat[faces].mean(axis=1) - 0.5, axis=1) < 0.3])
    wide = flatten(faces, points, loop, flat[loop], np.where(np.isin(np.arange(49), rim), 2.0, 1.0))
    ring = np.isin(faces, rim).all(axis=1)
    a, b, c = wide[faces].transpose(1, 0, 2)
    assert np.cross(b - a, c - a)[ring].sum() > 1.2 * area[ring].sum()  # a larger scale gives more area
