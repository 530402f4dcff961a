"""Coefficients and offsets of a sphere and of the closed world's heads."""

import math
from dataclasses import replace

import pytest
import torch

from avatargen.config.experiment import EvaluationSettings
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.truth import true_head
from avatargen.render.warp import WarpRenderer
from eval.diagnostics.shape import Shape, coefficients, displacements
from eval.views import RenderTools
from tests.eval.conftest import RADIUS


def test_deviation_is_a_fraction_of_the_range(head):
    """A size of 0.5 in -1 to 1 is a quarter of the range; 1 is at its bound."""
    assert coefficients(head, torch.tensor([0.5])) == {("", "at_bounds"): 0.0, ("size", "deviation"): 0.25}
    assert coefficients(head, torch.tensor([-1.0])) == {("", "at_bounds"): 1.0, ("size", "deviation"): -0.5}


def test_coefficients_and_offsets_are_measured_apart(head):
    """A sphere 10 % larger by its coefficient: 12 mm; and an offset of 4 mm: a quarter of what both move."""
    offsets = torch.zeros(1, len(head.sphere), 3)
    offsets[..., 0] = 0.004
    parameters = replace(head.template(1), shape=torch.ones(1, 1), offsets=offsets)
    found = displacements(head, parameters)
    assert found["", "by_coefficients_mm"] == pytest.approx(100 * RADIUS, rel=1e-3)
    assert found["", "by_offsets_mm"] == pytest.approx(4)
    assert found["", "offsets_share"] == pytest.approx(0.25, rel=1e-3)
    assert [found[name, "offset_mm"] for name in ("scalp", "skin")] == pytest.approx([4, 4])


def test_template_moves_nothing(head):
    found = displacements(head, head.template(1))
    assert found["", "by_coefficients_mm"] == 0 and math.isnan(found["", "offsets_share"])


def measured(avatar, row, head, prior, settings) -> dict[tuple[str, str], float]:
    tools = RenderTools(head, WarpRenderer(head.topology), prior, settings, "head", "warp")
    found = Shape().measure(avatar, row, tools, EvaluationSettings())
    return {(measure.condition, measure.name): measure.value for measure in found.measures}


def test_ground_truth_head_has_no_error(avatar, make_row, resize_prior, prior_settings):
    """A fat woman with an afro: the template is far from skin and volumes; coefficients do not make the afro."""
    head = AnnyHead.load()
    prompt = "a fat woman with an afro"
    truth = true_head(prompt, (), head)
    assert truth is not None
    made = replace(avatar, **truth.parameters.first())
    found = measured(made, make_row(prompt=prompt), head, resize_prior, prior_settings)
    assert found["skin", "error_mm"] < 0.01 and found["volumes", "error_mm"] < 0.01
    assert found["skin", "template_mm"] > 2 and found["volumes", "template_mm"] > 10
    assert found["", "span_mm"] < found["", "template_mm"] and found["volumes", "span_mm"] > 5


def test_head_without_volumes_lies_within_the_span(avatar, make_row, resize_prior, prior_settings):
    head = AnnyHead.load()
    row = make_row(prompt="a fat woman with a bald head and big ears")
    found = measured(replace(avatar, **head.template(1).first()), row, head, resize_prior, prior_settings)
    assert found["skin", "error_mm"] == found["skin", "template_mm"] > 5
    assert found["skin", "span_mm"] < 0.2 and ("volumes", "error_mm") not in found


def test_head_of_another_model_has_no_reference(avatar, make_row, head, resize_prior, prior_settings):
    names = {name for _, name in measured(avatar, make_row(), head, resize_prior, prior_settings)}
    assert "at_bounds" in names and not names & {"error_mm", "span_mm"}
