"""Saturation: curves, points that are better on all measures, and the test of three measures at once."""

from dataclasses import replace

import pandas as pd
import pytest

from eval.questions.saturation import answer
from tests.eval.questions.conftest import noise, table

EIGHT = tuple("abcdefgh")


@pytest.fixture
def evidence(make_evidence):
    """A factory of evidence about saturation; every number is the same but for those given."""

    def make(saturated=lambda method, prompt: 0.1, items=EIGHT, **numbers):
        found = make_evidence("saturation", items=items, **numbers)
        methods = [name for name in found.runs if name not in numbers.get("without", ())]
        return replace(found, diagnoses=table(methods, items, {"saturated": saturated}))

    return make


def of(method: str, change: float, base: float, spread: float = 0.0):
    """A measure that is `base`, for one method `change` more; prompts differ by `spread`, alike for all methods."""
    return lambda name, prompt: base + spread * noise(prompt) + (change if name == method else 0.0)


def statement(found, name: str):
    return next(one for one in found.statements if one.text.startswith(f"{name} is better"))


def test_a_point_that_is_better_on_all_measures_is_named(evidence):
    best = "rescaled_guidance"
    found = answer(
        evidence(
            saturated=of(best, -0.05, 0.1, 0.01), colour=of(best, -0.02, 0.1, 0.01), margin=of(best, 0.03, 0.05, 0.01)
        )
    )
    assert found.answer.startswith("1 of 22 points have better means than full")
    assert "rescaled_guidance (guidance 12)" in found.answer
    one = statement(found, best)
    assert one.p == one.least_p == 2 / 2**8 and one.sign * one.difference > 0
    assert "saturated share -0.050; colour error -0.0200; texture margin +0.0300" in one.figure


def test_less_saturation_at_the_price_of_colour_is_not_better(evidence):
    """The statement is that of the measure that speaks against it."""
    found = answer(evidence(saturated=of("csd", 0.0, 0.1), colour=of("classifier_score", 0.02, 0.1)))
    assert "No point of 22 has better means than full on all three measures" in found.answer
    one = statement(found, "classifier_score")
    assert "tested: colour error" in one.figure
    assert one.sign * one.difference == pytest.approx(-0.02) and one.p == 3 * 2 / 2**8


def test_the_weakest_of_three_differences_is_tested(evidence):
    """Saturation and colour are better for every prompt, the margin for five of eight: p is the margin's."""
    name = "dreamtime_timesteps"

    def margin(method, prompt):
        return 0.05 + (0.0 if method != name else 0.01 if prompt < 5 else -0.01)

    one = statement(answer(evidence(saturated=of(name, -0.05, 0.1), colour=of(name, -0.01, 0.1), margin=margin)), name)
    assert "tested: texture margin" in one.figure
    assert one.p == pytest.approx(2 * (1 + 8 + 28 + 56) / 2**8)  # five or more of eight signs, on both sides


def test_methods_that_differ_in_guidance_alone_are_one_curve(evidence):
    curves = answer(evidence()).tables[1].table
    assert curves.loc[curves.remedy == "full", "guidance"].tolist() == [3, 12, 25, 100]
    assert curves.loc[curves.remedy == "thresholded_guidance", "guidance"].tolist() == [12, 25, 100]
    assert curves.loc[curves.remedy == "noise_free", "guidance"].tolist() == [7.5]
    assert curves["remedy"].iloc[-1] == "ground truth" and "template" not in set(curves.remedy)


def test_means_are_over_the_prompts_that_all_methods_have(evidence):
    """The other guidance scales have fewer prompts; tests still use all that two methods share."""

    def saturated(method, prompt):
        return 0.01 * prompt - (0.005 if method == "asynchronous" else 0)

    whole = evidence(saturated=saturated, colour=of("asynchronous", -0.01, 0.1), margin=of("asynchronous", 0.01, 0.05))
    fewer = whole.diagnoses[
        (whole.diagnoses["method"] != "full-guidance_3") | whole.diagnoses["item"].isin(list("abcd"))
    ]
    found = answer(replace(whole, diagnoses=fewer))
    rows = found.tables[1].table.set_index(["remedy", "guidance"])
    assert rows.loc[("full", 12), "saturated"] == pytest.approx(0.015)
    assert rows.loc[("full", 3), "saturated"] == pytest.approx(0.015)
    assert statement(found, "asynchronous").n == 8 and "means over 4 avatars" in found.answer
    whole_list = found.tables[0].table.set_index("remedy")
    assert (
        whole_list.loc["full", "saturated"] == pytest.approx(0.035)
        and (whole_list["prompts"].drop("ground truth") == 8).all()
    )
    assert "On all 8 prompts, these have a lower saturated share than full's 0.035" in found.answer
    assert ": asynchronous 0.030 (colour error 0.0900, 4.00 mm)" in found.answer


def test_an_outlier_leaves_the_others_legible(evidence):
    """Its place is named instead."""
    broken = of("negative_prompt", 5.0, 0.1, 0.01)
    plot = answer(evidence(saturated=broken, colour=broken)).plots["curves"][0].axes[0]
    assert plot.get_xlim()[1] < 1 and "negative_prompt: 5.1" in plot.texts[-1].get_text()


def test_a_part_of_the_methods_is_enough(evidence):
    found = answer(evidence(without=("interval_matching", "oracle", "full-guidance_3")))
    assert len(found.statements) == 12 and len(found.tables[1].table) == 22
    assert found.plots["curves"][0].axes


def test_without_the_baseline_nothing_is_compared(evidence, make_evidence):
    assert "not measured" in answer(evidence(without=("full",))).answer
    empty = replace(make_evidence("saturation"), truths=pd.DataFrame(), records=pd.DataFrame(), costs=pd.DataFrame())
    assert answer(empty).statements == ()


def test_the_guidance_interval_is_tested_against_constant_guidance(evidence):
    name = "constant_guidance"
    worse = evidence(saturated=of(name, 0.02, 0.1), colour=of(name, 0.01, 0.1), margin=of(name, -0.01, 0.05))
    (found,) = (one for one in answer(worse).statements if one.text.startswith("full is better than constant_guidance"))
    assert found.p == 2 / 2**8 and found.sign * found.difference > 0
