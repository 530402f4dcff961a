"""Span and offsets, from measures and sweeps made by hand."""

import pandas as pd
import pytest

from eval.feature_sweep import Reached
from eval.measures import Record
from eval.questions import expressiveness
from eval.questions.expressiveness import answer
from eval.questions.verdicts import answers
from tests.eval.questions.conftest import noise

NAME = "expressiveness"
ITEMS = "abcdefgh"
SWEEP = [
    Reached("long nose", 0.5, 2.0, 0.1, 0.0),
    Reached("long nose", 1.0, 4.0, 0.2, 0.1),
    Reached("long nose", 2.0, 8.0, 3.0, 0.2),
    Reached("pointed ears", 0.5, 2.0, 1.5, 0.1),
]


@pytest.fixture(autouse=True)
def sweep(monkeypatch):
    monkeypatch.setattr(expressiveness, "_sweep", lambda *_: SWEEP)


def measures() -> pd.DataFrame:
    """Offsets halve what is left of volumes, and change nothing on skin."""

    def error(method, kind):
        return {"full": 2.0, "no_offsets": 2.0 if kind == "skin" else 4.0, "template": 6.0}.get(method, 3.0)

    lines = []
    for method in ("full", "no_offsets", "no_shape", "template"):
        for number, item in enumerate(ITEMS):
            values = {(kind, "error_mm"): error(method, kind) + 0.1 * noise(number) for kind in ("skin", "volumes")}
            values |= {
                ("", "span_mm"): 1.0,
                ("", "error_mm"): 3.0,
                ("skin", "template_mm"): 6.0,
                ("", "at_bounds"): 0.01,
            }
            values |= {("nose-width", "deviation"): 0.1 * number, ("age", "deviation"): 0.0}
            lines += [Record(method, "tiny", item, 0, "all", "shape", *key, "", value) for key, value in values.items()]
    return pd.DataFrame(lines, columns=list(Record._fields))


def test_verdicts_follow_the_measures(make_evidence):
    found = answers(answer(make_evidence(NAME, measures=measures())).statements).set_index("statement")["verdict"]
    assert found["offsets bring extreme heads closer, volumes"] == "holds"
    assert found["offsets bring extreme heads closer, skin"] == "untestable"
    assert found["avatars are nearer to extreme heads than the template, skin"] == "holds"
    assert found["without offsets, the span could come nearer than the method does"] == "holds"
    assert found["fewer than 5 % of the coefficients are at a bound"] == "holds"


def test_span_ends_where_a_twentieth_is_left(make_evidence):
    """Of the nose, 0.2 of 4 mm are left at 1, and 3 of 8 mm at 2; of the ears 1.5 of 2 mm at 0.5."""
    words = answer(make_evidence(NAME, measures=measures())).answer
    assert "long nose up to strength 1, pointed ears at no strength" in words
    assert "With offsets at most 0.20 mm" in words


def test_coefficients_are_listed_by_their_size(make_evidence):
    found = answer(make_evidence(NAME, measures=measures()))
    table = next(part.table for part in found.tables if part.title == "Coefficients").set_index("coefficient")
    assert table.index.tolist() == ["nose-width", "age"]
    assert table.loc["nose-width", "mean_size"] == pytest.approx(0.35)
    assert table.loc["nose-width", "highest"] == pytest.approx(0.7)


def test_nothing_measured_is_said(make_evidence, monkeypatch):
    monkeypatch.setattr(expressiveness, "_sweep", lambda *_: [])
    found = answer(make_evidence(NAME, without=("full", "no_offsets", "no_shape", "template", "oracle")))
    assert "not measured" in found.answer and not found.tables and not found.plots
    assert all(line.figure.startswith("not measured") for line in found.statements)
