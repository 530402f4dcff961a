"""Seconds and memory of methods, beside what others publish."""

from __future__ import annotations

import pytest

from eval.questions.cost import PUBLISHED, answer
from eval.questions.verdicts import answers

SECONDS = {"full": 10.0, "texture_only": 5.0, "latent_paint": 4.0, "clip_guided": 20.0, "template": 0.0}
SECONDS |= {"coarse_mesh": 9.0, "fine_mesh": 14.0}


def seconds(method, prompt):
    return SECONDS[method] + 0.1 * prompt if method != "template" else 0.0


def test_methods_are_compared_prompt_by_prompt(make_evidence):
    found = answer(make_evidence("cost", seconds=seconds))
    table = answers(found.statements).set_index("statement")
    assert table["verdict"].to_dict() == {
        "full takes longer than texture_only": "holds",
        "full takes longer than latent_paint": "holds",
        "full takes longer than clip_guided": "refuted",
        "full takes longer than coarse_mesh": "holds",
        "full takes longer than fine_mesh": "refuted",
    }
    assert table["difference"].round(6).tolist() == [5.0, 6.0, -10.0, 1.0, -4.0]


def test_costs_are_listed_with_their_ratio(make_evidence):
    table = answer(make_evidence("cost", seconds=seconds)).tables[0].table.set_index("method")
    assert table.loc["full", "seconds"] == pytest.approx(10.35) and table.loc["full", "times_baseline"] == 1
    assert table.loc["clip_guided", "times_baseline"] == pytest.approx(20.35 / 10.35)
    assert table["peak_memory_mb"].tolist() == [900.0] * 7


def test_published_times_are_marked_and_sourced(make_evidence):
    found = answer(make_evidence("cost", seconds=seconds))
    table = found.tables[1].table
    assert set(table["measured"]) == {"not measured here"}
    assert all("arXiv" in source for source in table["source"]) and len(table) == len(PUBLISHED)
    assert "Published, not measured here" in found.answer
    labels = [label.get_text() for label in found.plots["seconds"][0].axes[0].get_yticklabels()]
    assert labels[:2] == ["full", "texture_only"] and "template" not in labels
    assert labels[-2:] == [f"{one.system} *" for one in PUBLISHED]


def test_unknown_costs_are_no_error(make_evidence):
    found = answer(make_evidence("cost", seconds=lambda method, prompt: float("nan")))
    assert "not measured" in found.answer and found.plots == {}
    assert {one.figure.partition(":")[0] for one in found.statements} == {"not measured"}


def test_missing_methods_are_left_out(make_evidence):
    found = answer(make_evidence("cost", seconds=seconds, without=["clip_guided"]))
    assert "clip_guided" not in found.answer
    figures = {one.text: one.figure for one in found.statements}
    assert figures["full takes longer than clip_guided"] == "not measured: clip_guided"
