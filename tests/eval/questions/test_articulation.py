"""The answer about articulation, from measures whose losses are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from avatargen.config.experiment import Experiment
from eval.measures import Record
from eval.poses import POSES
from eval.questions.articulation import QUESTION, answer
from eval.questions.base import Evidence
from tests.eval.questions.runs import runs_of, verdicts

PROMPTS = 8
LOSSES = {"full": 0.05, "oracle": 0.01}
"""Margin that the neck costs; other poses cost none."""
EXPERIMENT = Experiment(experiment="t", lists=("few",), methods=("full", "oracle"), judges=("tiny",))


def lines(method: str, item: int, condition: str, turned: bool):
    loss = LOSSES[method] * (1 + 0.01 * item) if turned else 0.0
    scored = {"margin": 0.2 - loss, "clip_score": 0.7 - loss, "r_at_1": float(not (turned and item == 0))}
    shape = {"stretched_share": 0.02 if method == "full" else 0.03, "stretch_p99": 1.5, "crossing_faces_added": 10.0}
    if condition != "neutral":
        shape["visible_change"] = (0.5 if method == "full" else 2.0) + 0.01 * item
    for judge, found in {"tiny": scored, "": shape if condition != "neutral" else {}}.items():
        for measure, value in found.items():
            yield Record(method, "few", f"p{item}", 0, "all", "articulation", condition, measure, judge, value)


@pytest.fixture
def measures() -> pd.DataFrame:
    conditions = {"neutral": False, "own": False} | {pose.name: pose.group == "neck" for pose in POSES[:-1]}
    rows = [
        line
        for method in LOSSES
        for item in range(PROMPTS)
        for condition, turned in conditions.items()
        for line in lines(method, item, condition, turned)
    ]
    return pd.DataFrame(rows, columns=list(Record._fields))


def evidence(measures: pd.DataFrame, methods=("full", "oracle"), folders=None) -> Evidence:
    nothing = pd.DataFrame()
    return Evidence(EXPERIMENT, runs_of(*methods), folders or {}, nothing, nothing, nothing, nothing, measures)


def test_losses_are_compared_with_the_ground_truths(measures):
    found = answer(evidence(measures))
    assert found.question == QUESTION
    by_text = {one.text: one for one in found.statements}
    neck = by_text["Turning the neck costs an avatar more margin than the ground-truth head"]
    assert neck.difference == pytest.approx(-0.04 * 1.035, rel=1e-6) and neck.n == PROMPTS
    assert verdicts(found)[neck.text] == "holds"
    face = by_text["Movements of the face cost an avatar more margin than the ground-truth head"]
    assert face.n_differ == 0 and verdicts(found)[face.text] == "untestable"
    stretched = by_text["Poses stretch the texture more on an avatar than on the ground-truth head"]
    assert verdicts(found)[stretched.text] == "refuted"
    assert verdicts(found)[found.statements[-1].text] == "holds"  # movements show less in an avatar's colours


def test_failures_are_left_out_of_changes(measures):
    units = [(method, f"p{item}") for method in LOSSES for item in range(PROMPTS)]
    records = pd.DataFrame(units, columns=["method", "item"]).assign(list="few", seed=0)
    records["status"] = ["diverged" if unit == ("full", "p0") else "ok" for unit in units]
    found = answer(replace(evidence(measures), records=records))
    changes = [one.n for one in found.statements if "more margin" in one.text]
    assert changes and set(changes) == {PROMPTS - 1}


def test_the_answer_names_poses_that_lose_and_poses_that_lack(measures):
    text = answer(evidence(measures)).answer
    lost = text.partition("(q < 0.05) in: ")[2].partition(". ")[0].split(", ")
    assert lost == [pose.name for pose in POSES[:-1] if pose.group == "neck"]
    assert f"The head model has no {POSES[-1].name}." in text
    assert "R@1 of 1.00 (1.00 to 1.00)" in text


def test_the_table_has_a_row_for_each_condition(measures):
    (table,) = answer(evidence(measures)).tables
    assert list(table.table["pose"]) == ["neutral", "own", *(pose.name for pose in POSES[:-1])]
    row = table.table.set_index("pose").loc["neck yaw +30°"]
    assert row["R@1, full"] == 1 - 1 / PROMPTS and row["margin change, oracle"] == pytest.approx(-0.01 * 1.035)
    assert np.isnan(table.table.set_index("pose").loc["own", "q"])


@pytest.mark.parametrize("methods", [("full",), ("oracle",), ("template",), ()])
def test_missing_methods_are_not_measured(measures, methods):
    some = measures[measures["method"].isin(methods)]
    found = answer(evidence(some, methods))
    assert "not measured" in found.answer
    assert all("not measured" in one.figure for one in found.statements)
    assert set(verdicts(found).values()) == {"untestable"}


@pytest.mark.parametrize("table", [pd.DataFrame(), pd.DataFrame(columns=list(Record._fields))])
def test_nothing_measured_is_said(table):
    found = answer(evidence(table))
    assert found.answer == "The articulation of avatars was not measured." and not found.plots


def test_strips_stand_above_the_ground_truths(measures, tmp_path):
    folders = {}
    for method in ("full", "oracle"):
        for item in ("p0", "p1"):
            folder = folders[method, "few", item, 0] = tmp_path / method / item
            (folder / "diagnostics").mkdir(parents=True)
            for name, size in {"strip": (64, 8), "poses": (20, 20)}.items():
                Image.new("RGB", size).save(folder / "diagnostics" / f"articulation-{name}.jpg")
    found = answer(evidence(measures, folders=folders))
    figure, _ = found.plots["articulation_sheet"]
    labels = [axis.texts[0].get_text() for axis in figure.axes]
    assert labels == ["p0\nfull", "p0\noracle", "p1\nfull", "p1\noracle"]
    assert [path.parent.parent for path in found.pictures] == [tmp_path / "full/p0", tmp_path / "oracle/p0"]
