"""The response surface over schedules: what is cheapest, what is best within error, what is tested."""

from __future__ import annotations

import pytest

from eval.questions.phase_balance import QUESTION, answer
from tests.eval.questions.runs import verdicts

HALF = "full-steps_180-phase1_share_0.39"


def noisy(base, prompt):
    return base + 0.1 * (prompt % 4)


def schedules(found):
    return found.tables[0].table.set_index("method")


def by_steps(method, prompt):
    """Geometry that gets better with the steps up to 180, and no further."""
    return noisy(6.0 if "steps_90" in method else 4.0, prompt)


def seconds(method, prompt):
    steps = 90 if "steps_90" in method else 180 if "steps_180" in method else 360
    return steps / 60


def test_the_cheapest_schedule_that_keeps_the_scores_is_named(make_evidence):
    found = answer(make_evidence("phase_balance", mm=by_steps, seconds=seconds))
    table = schedules(found)
    assert found.question == QUESTION
    cheapest = "full-steps_180-mask_period_110: 180 steps, 39 % of them phase 1, masks every 110 steps"
    assert cheapest in found.answer
    assert table["keeps"].tolist().count("no") == sum("steps_90" in name for name in table.index)
    assert table.loc["full", "steps"] == 360 and table.loc["full", "reach"] == 1


def test_losses_are_tested_prompt_by_prompt(make_evidence):
    found = verdicts(answer(make_evidence("phase_balance", tuple("abcdefghijkl"), mm=by_steps)))
    assert found["a quarter of the steps leaves the geometry further from the truth"] == "holds"
    assert found["half the steps leave the geometry further from the truth"] == "untestable"  # no prompt differs


def test_better_scores_are_kept_scores(make_evidence):
    """A schedule above the interval of the baseline is not worse."""
    better = make_evidence("phase_balance", mm=lambda method, prompt: 3.0 if method == HALF else noisy(4.0, prompt))
    table = schedules(answer(better))
    assert table.loc[HALF, "keeps"] == "yes"


def test_a_small_loss_on_every_prompt_is_a_loss(make_evidence):
    """It lies within the interval over prompts, which differ by more, and below zero prompt by prompt."""
    loses = make_evidence("phase_balance", mm=lambda method, prompt: noisy(4.0, prompt) + 0.02 * (method == HALF))
    table = schedules(answer(loses))
    assert table.loc[HALF, "keeps"] == "no" and table["keeps"].tolist().count("no") == 1


def test_the_best_within_error_is_told(make_evidence):
    """Half the steps come 1 mm closer than every other schedule: `full` is not the best in geometry."""
    found = answer(make_evidence("phase_balance", mm=lambda method, prompt: 3.0 if method == HALF else 4.0))
    assert f"Not in: geometry error, mm (best: {HALF})" in found.answer


def test_no_cheaper_schedule_is_told(make_evidence):
    worse = make_evidence("phase_balance", margin=lambda method, prompt: 0.2 if method == "full" else 0.1)
    assert answer(worse).answer.startswith("No schedule that is cheaper than full")


def test_scaled_rates_are_compared_at_half_the_steps(make_evidence):
    def mm(method, prompt):
        return noisy(4.0 if method in ("full", "full-steps_180-scale_rates_true") else 5.0 + 0.01 * prompt, prompt)

    found = verdicts(answer(make_evidence("phase_balance", mm=mm)))
    assert found["rates scaled to half the steps bring the geometry closer than rates as they are"] == "holds"


def test_schedules_have_their_coordinates(make_evidence):
    table = schedules(answer(make_evidence("phase_balance")))
    assert table.loc["full-steps_180-scale_rates_true", "reach"] == 1
    assert table.loc[HALF, "reach"] == 0.5
    assert table.loc["full-steps_360-phase1_share_0.6", "share_of_phase_1"] == 0.6
    assert table.loc["full-steps_90-mask_period_20", "mask_period"] == 20
    assert len(table) == 17


def test_plots_show_the_surface(make_evidence):
    plots = answer(make_evidence("phase_balance", mm=by_steps, seconds=seconds)).plots
    labels = [line.get_label() for line in plots["by_share"][0].axes[0].containers]
    assert labels == ["20 % phase 1", "39 % phase 1", "60 % phase 1"]
    labels = [line.get_label() for line in plots["by_masks"][0].axes[0].containers]
    assert labels == ["masks every 20", "masks every 40", "masks every 110", "rates scaled"]


def test_missing_methods_are_said_to_be_missing(make_evidence):
    partly = make_evidence("phase_balance", without=[HALF])
    statements = answer(partly).statements
    half = next(one for one in statements if one.text.startswith("half the steps leave the geometry"))
    assert half.figure == "not measured: 180 steps"


def test_without_the_baseline_nothing_is_compared(make_evidence):
    found = answer(make_evidence("phase_balance", without=["full"]))
    assert "not measured" in found.answer and not found.statements


@pytest.mark.parametrize("table", ["truths", "costs", "records"])
def test_an_empty_table_is_no_error(make_evidence, table):
    evidence = make_evidence("phase_balance")
    bare = type(evidence)(**{**vars(evidence), table: getattr(evidence, table).iloc[:0]})
    assert answer(bare).question == QUESTION
