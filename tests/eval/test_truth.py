"""Distances to the ground truth, on heads where they are known."""

from dataclasses import replace

import pytest
import torch

from avatargen.config.errors import InputError
from avatargen.headworld.truth import TrueHead
from avatargen.io.atomic import read_json
from avatargen.io.avatar_file import save_avatar
from eval import truth
from eval.load import load_avatar_files
from eval.score import AvatarScores
from eval.surface import align_rigidly, distance_to_surface
from eval.tabulate import truth_records
from eval.truth import compare_heads, measure_avatar

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
    mask = head.topology.regions["skin"] | head.topology.regions["scalp"]
    moved = body @ turn + torch.tensor([0.1, -0.2, 0.3])
    torch.testing.assert_close(align_rigidly(moved, body, mask), body, atol=1e-6, rtol=0)
    assert (align_rigidly(1.2 * moved, body, mask) - body).abs().max() > 0.01
    mirrored = body * torch.tensor([-1.0, 1, 1])
    assert (align_rigidly(mirrored, body, mask) - body).abs().max() > 0.01


def test_a_larger_sphere_is_at_its_radius_distance(head):
    score = compare_heads(head.template(1), GREY, true_head(head, shape=1.0), head)
    assert score.geometry_mm == pytest.approx(12.0, rel=0.01)  # 10% of 0.12 m
    assert score.geometry_mm_p95 == pytest.approx(12.0, rel=0.01)
    assert set(score.regions_mm) == {"skin", "scalp"}
    assert (score.expression_error, score.colour_error) == (0, 0)


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
    return truth_records([AvatarScores(each.row, each.folder, [], [], None, each.truth) for each in found])


def test_a_prompt_outside_the_head_world_has_no_score(head, make_row, monkeypatch, tmp_path):
    monkeypatch.setattr(truth, "true_head", lambda *_: None)
    assert measure_avatar(make_row(), tmp_path, head, "f") == {"fingerprint": "f", "score": None}
