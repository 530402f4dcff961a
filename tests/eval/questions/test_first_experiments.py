"""Alignment of features and outlines, from measures made by hand."""

import numpy as np
import pandas as pd
import pytest

from eval.measures import Record
from eval.questions.first_experiments import ASKED, answer, common_features
from eval.questions.verdicts import answers
from tests.eval.questions.conftest import noise

NAME = "first_experiments"
ITEMS = "abcdefgh"


def measures(value, names=("offset_mm", "found", "in_place"), conditions=("nose", "mouth"), methods=None):
    """Lines of measures; `value` is a function of method, prompt's number, condition and measure."""
    methods = methods or ("full", "no_shading_cue", "no_segmentation", "oracle")
    lines = [
        Record(method, "tiny", item, 0, "all", "features", condition, name, "", value(method, number, condition, name))
        for method in methods
        for number, item in enumerate(ITEMS)
        for name in (*names, "outline_iou", "outline_mm")
        for condition in (("",) if name.startswith("outline") else conditions)
    ]
    return pd.DataFrame(lines, columns=list(Record._fields))


def aligned(method, number, condition, name):
    """The cue halves offsets, the segmentation loss halves the distance of outlines."""
    worse = {"no_shading_cue": ("offset_mm",), "no_segmentation": ("outline_mm",)}.get(method, ())
    return (2.0 if name in worse else 1.0) * (2 + 0.1 * noise(number))


def test_verdicts_follow_the_measures(make_evidence):
    found = answers(answer(make_evidence(NAME, measures=measures(aligned))).statements).set_index("statement")
    held = [text for text in found.index if found.loc[text, "verdict"] == "holds"]
    assert held == [
        "the shading cue aligns painted features with the mesh: offset of painted features",
        "the segmentation loss aligns outlines with the prior's foreground: distance to the prior's outline",
    ]


def test_offsets_are_of_features_that_both_show(make_evidence):
    """A method that shows the nose alone, 1 mm off, is compared by noses: 1 mm against 3 mm."""

    def value(method, number, condition, name):
        if method == "no_shading_cue":
            return 1.0 if condition == "nose" else np.nan
        return 3.0 if condition == "nose" else 9.0

    first, second = common_features(make_evidence(NAME, measures=measures(value)), "full", "no_shading_cue")
    assert set(first) == {3.0} and set(second) == {1.0} and len(first) == len(ITEMS)


def test_nothing_measured_is_said(make_evidence):
    found = answer(make_evidence(NAME))
    assert len(found.statements) == sum(len(quantities) for _, _, quantities in ASKED)
    about_features = [line for line in found.statements if "error" not in line.text]
    assert all(line.figure.startswith("not measured") and line.n == 0 for line in about_features)
    assert "not measured" in found.answer and not found.tables and not found.plots


def test_table_has_the_methods_that_were_measured(make_evidence):
    (table,) = (part.table for part in answer(make_evidence(NAME, measures=measures(aligned))).tables)
    assert table["method"].tolist() == ["full", "no_shading_cue", "no_segmentation", "oracle"]
    row = table.set_index("method").loc["no_shading_cue"]
    assert row["offset_mm"] == pytest.approx(4, abs=0.1) and row["in_place"] == pytest.approx(2, abs=0.1)
