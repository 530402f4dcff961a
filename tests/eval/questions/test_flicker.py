"""The answer about flicker, from measures whose factors are known."""

from __future__ import annotations

import pandas as pd
import pytest

from avatargen.config.experiment import Experiment
from eval.measures import Record
from eval.questions.base import Evidence
from eval.questions.flicker import answer
from tests.eval.questions.runs import runs_of, verdicts

PROMPTS = 8
CHANGES = {"full": (4.0, 0.5), "no_refine": (4.0, 1.0), "oracle": (1.0, 0.4)}
"""Decoded and exported change of each method."""
METHODS = tuple(CHANGES)


def lines(method: str, item: int):
    neural, exported = (value * (1 + 0.01 * item) for value in CHANGES[method])
    found = {
        ("turntable 0°", "change_neural"): neural + 1,
        ("turntable 135°", "change_neural"): neural - 1,
        ("turntable 0°", "change_exported"): exported,
        ("turntable 135°", "change_exported"): exported,
        ("blink", "change_neural"): neural / 10,
        ("blink", "change_exported"): exported / 10,
        ("blink", "still_neural"): 0.2,
        ("blink", "still_exported"): 0.01,
        ("", "frame_exported_s"): 0.1,
    }
    if method != "oracle":
        found["", "frame_neural_s"] = 0.25 + 0.001 * item
    for (condition, measure), value in found.items():
        yield Record(method, "few", f"p{item}", 0, "all", "flicker", condition, measure, "", value)


def evidence(methods=METHODS, baked: float = 0.0) -> Evidence:
    """Evidence in which the exported texture's CLIP score is `baked` above that of decoded views."""
    measures = [line for method in methods for item in range(PROMPTS) for line in lines(method, item)]
    records = [
        {
            "method": method,
            "list": "few",
            "item": f"p{item}",
            "seed": 0,
            "track": "texture",
            "judge": "tiny",
            "status": "ok",
        }
        | {"rank": 1 + (item == 0), "rank_baked": 1 + (item == 0), "margin": 0.1}
        | {"clip_score": 0.5, "clip_score_baked": 0.5 + baked}
        for method in methods
        for item in range(PROMPTS)
    ]
    experiment = Experiment(experiment="t", lists=("few",), methods=METHODS, judges=("tiny",))
    tables = (pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), pd.DataFrame(measures, columns=list(Record._fields)))
    return Evidence(experiment, runs_of(*methods), {}, pd.DataFrame(records), *tables)


def test_remedies_are_compared_on_the_same_avatars():
    found = answer(evidence())
    by_text = {one.text: one for one in found.statements}
    baking = by_text["Baking lowers the flicker on a turntable"]
    assert baking.difference == pytest.approx(-3.5 * 1.035) and "levels" in baking.figure
    given = verdicts(found)
    assert given[baking.text] == given["Baking lowers the flicker in a blink"] == "holds"
    finish = by_text["The finish before baking lowers the flicker of exported frames on a turntable"]
    assert finish.difference == pytest.approx(-0.5 * 1.035) and given[finish.text] == "holds"
    assert given["The finish before baking lowers the flicker of decoded frames on a turntable"] == "untestable"
    assert given["A frame of the exported texture takes less time than a decoded one"] == "holds"


@pytest.mark.parametrize(("baked", "verdict"), [(0.0, "holds"), (0.02, "holds"), (-0.009, "holds"), (-0.05, "refuted")])
def test_scores_may_be_lower_by_what_is_allowed(baked, verdict):
    given = verdicts(answer(evidence(baked=baked)))
    assert given["The CLIP score of the exported texture is not lower than that of decoded views"] == verdict
    assert given["The R@1 of the exported texture is not lower than that of decoded views"] == "not shown"  # 8 prompts


def test_the_answer_has_factor_and_rates():
    text = answer(evidence()).answer
    assert "8.0 times less" in text
    assert "0.254 s (3.9 a second)" in text and "0.100 s (10.0 a second)" in text


def test_the_table_has_both_modes_of_each_method():
    (table,) = answer(evidence()).tables
    rows = table.table.set_index(["method", "frames"])
    assert len(rows) == 2 * len(METHODS)
    assert rows.loc[("full", "decoded"), "change"] == pytest.approx(4.0 * 1.035)
    assert rows["seconds a frame"].isna().tolist() == [False, False, False, False, True, False]


def test_missing_methods_are_not_measured():
    found = answer(evidence(("full",)))
    missing = [one.text for one in found.statements if "not measured" in one.figure]
    assert missing == [one.text for one in found.statements if "finish" in one.text] and len(missing) == 2
    assert "ground-truth" not in found.answer


def test_nothing_measured_is_said():
    empty = [pd.DataFrame()] * 5
    experiment = Experiment(experiment="t", lists=("few",), methods=METHODS, judges=("tiny",))
    found = answer(Evidence(experiment, runs_of("full"), {}, *empty))
    assert found.answer == "The flicker of avatars was not measured." and not found.plots
    assert set(verdicts(found).values()) == {"untestable"}
