"""Distances to the ground truth, on heads where they are known."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from avatargen.config.errors import InputError
from avatargen.geometry.types import HeadTopology
from avatargen.headworld.truth import TrueHead
from avatargen.io.atomic import read_json
from avatargen.io.avatar_file import save_avatar
from eval import truth
from eval.load import load_avatar_files
from eval.score import AvatarScores
from eval.surface import align_rigidly, distance_to_surface, weighted_quantile
from eval.tabulate import truth_records
from eval.truth import compare_heads, measure_avatar, surface_distances

GREY = torch.full((3, 8, 8), 0.5)


def true_head(head, shape=0.0, expression=0.0, texture=GREY) -> TrueHead:
    parameters = head.template(1)
    parameters = replace(parameters, shape=parameters.shape + shape, expression=parameters.expression + expression)
    return TrueHead(parameters, texture)


def test_distance_to_one_triangle_by_hand():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    points = torch.tensor([[0.2, 0.2, 0.5], [-3.0, 0, 4], [1.0, 1.0, 0.0], [0.25, 0.25, 0]])
    expected = [0.5, 5.0, 0.5**0.5, 0.0]
    assert distance_to_surface(points, vertices, torch.tensor([[0, 1, 2]])).tolist() == pytest.approx(expected)


def test_distances_match_a_dense_sampling_of_the_surface(head):
    faces = head.topology.faces
    points = 0.3 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    steps = torch.linspace(0, 1, 9)
    grid = torch.tensor([[a, b, 1 - a - b] for a in steps for b in steps if a + b <= 1.0001])
    surface = torch.einsum("sc,fcd->fsd", grid, head.sphere[faces]).reshape(-1, 3)
    naive = torch.cdist(points, surface).min(dim=1).values
    exact = distance_to_surface(points, head.sphere, faces)
    assert (exact <= naive + 1e-6).all() and (naive - exact).max() < 5e-4


def test_alignment_rotates_but_neither_scales_nor_reflects(head):
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.3, 0.2], [0.3, 0, -0.1], [-0.2, 0.1, 0]]))
    body = head.sphere * torch.tensor([1.0, 1.3, 0.8])
    body[:, 0] += body[:, 1].square()
    mask = torch.ones(len(body))
    moved = body @ turn + torch.tensor([0.1, -0.2, 0.3])
    torch.testing.assert_close(align_rigidly(moved, body, mask), body, atol=1e-6, rtol=0)
    assert (align_rigidly(1.2 * moved, body, mask) - body).abs().max() > 0.01
    mirrored = body * torch.tensor([-1.0, 1, 1])
    assert (align_rigidly(mirrored, body, mask) - body).abs().max() > 0.01


def test_a_larger_sphere_is_at_its_radius_distance(head):
    score = compare_heads(head.template(1), GREY, true_head(head, shape=1.0), head)
    assert score.geometry_mm == pytest.approx(12.0, rel=0.01)  # 10% of 0.12 m
    assert score.geometry_mm_vertices == pytest.approx(12.0, rel=0.01)
    assert score.geometry_mm_p95 == pytest.approx(12.0, rel=0.01)
    assert set(score.regions_mm) == {"skin", "scalp"}
    assert (score.expression_error, score.colour_error) == (0, 0)


def dented(head) -> TrueHead:
    """A head whose lower half is pushed in by up to 12 mm, so that distances differ from place to place."""
    truth = true_head(head)
    depth = 0.1 * (-head.sphere[:, 1:2] / 0.12).clamp(min=0)
    return replace(truth, parameters=replace(truth.parameters, offsets=-(depth * head.sphere)[None]))


def refined(head, region):
    """The same head with each triangle of a region divided into four, and the same offsets on it."""
    fine, topology = copy.copy(head), head.topology
    inside = topology.regions[region][topology.faces].all(dim=1)
    a, b, c = topology.faces[inside].T
    start, count = len(head.sphere), int(inside.sum())
    ends = torch.stack((torch.cat((a, b, c)), torch.cat((b, c, a))))
    ab, bc, ca = (start + torch.arange(count) + k * count for k in range(3))
    quarters = [torch.stack(part, -1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]

    def grow(values):
        return torch.cat((values, values[ends].float().mean(dim=0).to(values.dtype)))

    regions = {name: torch.cat((mask, mask[ends].all(dim=0))) for name, mask in topology.regions.items()}
    faces = torch.cat((topology.faces[~inside], *quarters))
    fine.sphere = grow(head.sphere)
    fine.topology = HeadTopology(faces, grow(topology.uvs), faces, regions)
    return fine, grow


def test_a_finer_mesh_of_one_region_changes_nothing(head):
    """Dividing triangles moves no surface; a mean over vertices follows where they are dense."""
    truth = dented(head)
    fine, grow = refined(head, "scalp")
    offsets = grow(truth.parameters.offsets[0])[None]
    finer = replace(truth, parameters=replace(truth.parameters, offsets=offsets))
    before = compare_heads(head.template(1), GREY, truth, head)
    plain = replace(finer.parameters, offsets=torch.zeros_like(offsets))
    after = compare_heads(plain, GREY, finer, fine)
    assert after.geometry_mm == pytest.approx(before.geometry_mm, rel=0.01)
    assert after.geometry_mm_p95 == pytest.approx(before.geometry_mm_p95, rel=0.01)
    assert after.regions_mm["scalp"] == pytest.approx(before.regions_mm["scalp"], rel=0.01)
    assert after.geometry_mm_vertices != pytest.approx(before.geometry_mm_vertices, rel=0.1)


def test_the_alignment_does_not_follow_a_finer_mesh(head):
    """The aligned heads are at the same place, so distances from either direction agree face by face."""
    truth = dented(head)
    fine, grow = refined(head, "scalp")
    plain, offsets = head.sphere, truth.parameters.offsets[0]
    coarse, _ = surface_distances(plain, plain + offsets, head.topology.faces)
    finer, _ = surface_distances(grow(plain), grow(plain + offsets), fine.topology.faces)
    kept = int((~head.topology.regions["scalp"][head.topology.faces].all(dim=1)).sum())
    whole = ~head.topology.regions["scalp"][head.topology.faces].all(dim=1)
    torch.testing.assert_close(finer[:, :kept], coarse[:, whole], atol=5e-5, rtol=0)


def test_faces_count_by_their_share_of_their_own_surface(head):
    """A larger surface counts no more than a smaller one; half of a sphere has half of the weight."""
    _, areas = surface_distances(head.sphere, 1.1 * head.sphere, head.topology.faces)
    torch.testing.assert_close(areas[0], areas[1])
    torch.testing.assert_close(areas.sum(dim=1), torch.ones(2))
    lower = head.topology.regions["skin"][head.topology.faces].all(dim=1)
    assert float(areas[0, lower].sum()) == pytest.approx(0.5, abs=0.04)  # less the band between the halves


def test_the_truth_itself_is_at_no_distance(head):
    truth = dented(head)
    score = compare_heads(truth.parameters, GREY, truth, head)
    assert max(score.geometry_mm, score.geometry_mm_p95, *score.regions_mm.values()) < 1e-3


def test_known_bounds_do_not_change_distances(head):
    points = 1.3 * head.sphere + torch.tensor([0.02, 0.0, 0.0])
    bound = (points - head.sphere).norm(dim=1)
    exact = distance_to_surface(points, head.sphere, head.topology.faces)
    within = distance_to_surface(points, head.sphere, head.topology.faces, within=bound)
    torch.testing.assert_close(within, exact, atol=1e-7, rtol=0)
    vertices = distance_to_surface(head.sphere, head.sphere, head.topology.faces, within=torch.zeros(len(bound)))
    assert vertices.max() < 1e-7


def test_weighted_quantile_of_equal_weights_is_numpys():
    values = torch.rand(101, generator=torch.Generator().manual_seed(0))
    found = [weighted_quantile(values, torch.full((101,), 3.0), share) for share in (0.0, 0.25, 0.95, 1.0)]
    expected = np.quantile(values.numpy(), (0.0, 0.25, 0.95, 1.0), method="inverted_cdf")
    assert found == pytest.approx(expected.tolist())


def test_expressions_do_not_change_the_geometry_error(head):
    score = compare_heads(head.template(1), GREY, true_head(head, expression=0.5), head)
    assert score.geometry_mm == pytest.approx(0, abs=1e-3)
    assert score.expression_error == pytest.approx(5.0)  # half of 0.01 m


def test_colour_error_is_the_mean_difference(head):
    texture = torch.stack([torch.full((8, 8), value) for value in (0.5, 0.8, 0.2)])
    assert compare_heads(head.template(1), texture, true_head(head), head).colour_error == pytest.approx(0.2)


def test_colour_error_samples_where_the_surface_is(head):
    upper = torch.full((3, 64, 64), 0.5)
    upper[:, :32] = 1.0  # row 0 is v = 1: the upper half of the sphere, half of its area
    assert compare_heads(head.template(1), upper, true_head(head), head).colour_error == pytest.approx(0.25, abs=0.01)


def test_a_failed_avatar_counts_as_the_template_in_grey(head, make_row, monkeypatch, tmp_path):
    monkeypatch.setattr(truth, "true_head", lambda prompt, tags, head: true_head(head, shape=1.0))
    row = make_row(status="diverged")
    facts = measure_avatar(row, tmp_path / "none", head, "f")
    assert facts["score"]["geometry_mm"] == pytest.approx(12.0, rel=0.01)
    monkeypatch.setattr(truth, "true_head", lambda *_: pytest.fail("measured again"))
    assert measure_avatar(row, tmp_path / "none", head, "f") == facts == read_json(tmp_path / "none" / "truth.json")


def test_the_truth_itself_has_no_colour_error(head, avatar, make_row, monkeypatch, tmp_path):
    """Files hold textures as 8 bits, so the ground truth is compared as 8 bits, too."""
    painted = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(truth, "true_head", lambda prompt, tags, head: true_head(head, texture=painted))
    save_avatar(tmp_path, replace(avatar, baked_texture=painted))
    assert measure_avatar(make_row(), tmp_path, head, "f")["score"]["colour_error"] == 0.0


def test_unmeasured_avatars_are_an_error_and_others_left_out(head, make_row, monkeypatch, tmp_path):
    monkeypatch.setattr(truth, "true_head", lambda prompt, tags, head: true_head(head, shape=1.0))
    ours, theirs = (make_row(method=name, status="diverged", folder=name) for name in ("full", "theirs"))
    measure_avatar(ours, tmp_path / "full", head, "f")
    with pytest.raises(InputError, match=r"theirs/truth.json: missing"):
        records([ours, theirs], tmp_path)
    assert measure_avatar(theirs, tmp_path / "theirs", None, "f")["score"] is None
    assert records([ours, theirs], tmp_path).method.tolist() == ["full"]


def records(rows, root):
    """The table of distances of avatars without judges."""
    found = [load_avatar_files(row, root, ()) for row in rows]
    return truth_records(
        [AvatarScores(each.row, each.folder, [], [], None, each.truth, subset="all") for each in found]
    )


def test_a_prompt_outside_the_head_world_has_no_score(head, make_row, monkeypatch, tmp_path):
    monkeypatch.setattr(truth, "true_head", lambda *_: None)
    assert measure_avatar(make_row(), tmp_path, head, "f") == {"fingerprint": "f", "score": None}
