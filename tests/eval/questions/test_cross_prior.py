"""Priors side by side: statements from tables made by hand, style from embeddings of known directions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from avatargen.config.loading import load_experiment
from eval.questions.cross_prior import answer, embedded
from eval.questions.verdicts import answers
from tests.eval.conftest import write_embeddings
from tests.eval.questions.conftest import TRACKS, noise, runs_of, table

ITEMS = "abcdefgh"
KINDS = ("texture", "baked", "geometry")


@pytest.fixture
def evidence(make_evidence):
    """The method and texture_only under two priors; `full` of the second prior is 1 mm worse."""
    experiment = load_experiment("cross_prior_embedded").model_copy(update={"priors": ("mini", "mini_stage_3")})
    runs = runs_of(load_experiment("cross_prior_embedded"))[1]
    crossed = {f"{name}@{prior}": runs[name] for name in ("full", "texture_only") for prior in experiment.priors}

    def mm(method, number):
        start = {"full@mini": 4.0, "full@mini_stage_3": 5.0}.get(method, 7.0)
        return start + 0.1 * noise(number)

    truths = table(list(crossed), ITEMS, {"geometry_mm": mm, "colour_error": lambda *_: 0.1})
    margins = {"margin": lambda method, number: 0.05, "clip_score": lambda method, number: 0.5}
    records = pd.concat([table(list(crossed), ITEMS, margins, track=t, judge="mini", rank=1) for t in TRACKS])
    base = make_evidence("first_experiments")
    return replace(base, experiment=experiment, runs=crossed, truths=truths, records=records, folders={})


def test_distances_are_compared_under_each_prior(evidence):
    found = answers(answer(evidence).statements).set_index("statement")["verdict"]
    assert found["moving geometry brings heads closer with mini"] == "holds"
    assert found["moving geometry brings heads closer with mini_stage_3"] == "holds"
    assert found["mini makes heads closer to the ground truth than mini_stage_3"] == "holds"
    assert found["mini fits prompts better than mini_stage_3, texture"] == "untestable"  # no prompt differs


def write(evidence, folder, vector):
    """Evidence with embeddings of `full`: a vector of each prior and prompt's number."""
    folders = {}
    for prior in evidence.experiment.priors:
        for number, item in enumerate(ITEMS):
            place = folder / prior / item
            place.mkdir(parents=True)
            unit = vector(prior, number) / np.linalg.norm(vector(prior, number))
            write_embeddings(place, {kind: np.tile(unit, (8, 1)).astype(np.float32) for kind in KINDS}, "{}")
            (place / "embeddings-tiny.npz").rename(place / "embeddings-mini.npz")
            folders[f"full@{prior}", "tiny", item, 0] = place
    return replace(evidence, folders=folders)


def styles(evidence):
    found = next(part.table for part in answer(evidence).tables if part.title == "Style")
    return found[(found["track"] == "texture")].set_index("prior")


def test_priors_that_draw_the_same_have_no_style(evidence, tmp_path):
    """Every prompt has a direction of its own, whatever the prior: agreement 1, variance 1."""
    found = styles(write(evidence, tmp_path, lambda prior, number: np.eye(16)[number]))
    assert found.loc["all", "agreement"] == pytest.approx(1)
    assert np.isnan(found.loc["all", "style_share"])
    assert found.loc["mini", "variance"] == pytest.approx(1)


def test_prior_that_draws_one_head_is_seen(evidence, tmp_path):
    """The second prior draws the same head for every prompt: variance 0, agreement 0."""
    found = styles(write(evidence, tmp_path, lambda prior, number: np.eye(16)[number if prior == "mini" else 8]))
    assert found.loc["mini_stage_3", "variance"] == pytest.approx(0)
    assert found.loc["all", "agreement"] == pytest.approx(0)


def test_prompts_without_an_avatar_of_each_prior_are_left_out(evidence, tmp_path):
    made = write(evidence, tmp_path, lambda prior, number: np.eye(16)[number])
    del made.folders["full@mini_stage_3", "tiny", "c", 0]
    assert embedded(made, "full", made.experiment.priors, "texture").shape == (2, 7, 16)


def test_nothing_measured_is_said(evidence):
    empty = replace(evidence, records=evidence.records[:0], truths=evidence.truths[:0])
    found = answer(empty)
    assert "not measured" in found.answer and not found.tables and not found.plots
    assert all(line.figure.startswith("not measured") for line in found.statements)
