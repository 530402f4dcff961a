"""Which conditions cost an avatar more than they cost the ground-truth head."""

import pandas as pd
import pytest

from avatargen.config.experiment import Experiment
from avatargen.config.loading import load_experiment, load_library, resolve
from eval.measures import Record
from eval.questions.base import Evidence
from eval.questions.robustness import answer
from eval.questions.verdicts import answers

LOSSES = {"full": {"dark": -0.3, "near": -0.1}, "oracle": {"dark": -0.1, "near": -0.1}}
"""Change of the margin from the reference, beside a little that differs by prompt."""
PROMPTS = 8


@pytest.fixture
def evidence() -> Evidence:
    experiment = load_experiment("robustness")
    runs = {name: resolve(experiment, name, load_library()) for name in experiment.methods}
    lines = []
    for method, losses in LOSSES.items():
        for place in range(PROMPTS):
            start, noise = 0.5 + 0.01 * place, 0.001 * (place + 1) * (1 if method == "full" else 2)
            margins = {"reference": start, **{name: start + loss - noise for name, loss in losses.items()}}
            about = (method, "few", f"p{place}", 0, "all", "robustness")
            for condition, margin in margins.items():
                lines.append(Record(*about, condition, "margin", "mini", margin))
                lines.append(Record(*about, condition, "r_at_1", "mini", float(margin > 0.3)))
                lines.append(Record(*about, condition, "margin", "guide", 0.0))
    nothing = pd.DataFrame()
    return Evidence(experiment, runs, {}, nothing, nothing, nothing, nothing, pd.DataFrame(lines))


def test_a_loss_beyond_the_ground_truths_holds(evidence):
    """In the dark, `full` loses 0.2 more; near, it loses less by what differs by prompt."""
    found = answer(evidence)
    dark, near = found.statements
    assert dark.text.startswith("dark: full") and dark.difference == pytest.approx(-0.2 + 0.0045)
    assert near.difference == pytest.approx(0.0045) and dark.n == near.n == PROMPTS
    assert answers(found.statements)["verdict"].tolist() == ["holds", "refuted"]
    assert found.answer.startswith("Of 2 conditions, 1 cost full more margin than the ground-truth head, and 1 less")
    assert "largest further loss: dark" in found.answer


def test_failures_show_no_robustness(evidence):
    """Four of eight avatars failed: their margin is -1 under every condition, which is no loss avoided."""
    lost = {f"p{place}" for place in range(4)}
    measures = evidence.measures.copy()
    failed = (measures["method"] == "full") & measures["item"].isin(lost)
    measures.loc[failed & (measures["measure"] == "margin"), "value"] = -1.0
    units = [(method, f"p{place}") for method in LOSSES for place in range(PROMPTS)]
    records = pd.DataFrame(units, columns=["method", "item"]).assign(list="few", seed=0)
    records["status"] = ["diverged" if method == "full" and item in lost else "ok" for method, item in units]
    dark, near = answer(_with(evidence, measures=measures, records=records)).statements
    assert dark.n == near.n == PROMPTS - len(lost)
    assert dark.difference == pytest.approx(-0.2 + 0.001 * (5 + 6 + 7 + 8) / 4)


def test_one_prompt_shows_nothing(evidence):
    """Its interval has no width, but no verdict follows from it."""
    alone = evidence.measures[evidence.measures["item"] == "p0"]
    found = answer(_with(evidence, measures=alone))
    assert found.answer.startswith("Of 2 conditions, 0 cost full more margin than the ground-truth head, and 0 less")
    assert "largest" not in found.answer


def test_table_has_rates_and_changes_by_the_first_judge(evidence):
    (part,) = answer(evidence).tables
    table = part.table.set_index("condition")
    assert list(table.index) == ["reference", "dark", "near"]
    assert table.loc["reference", "change full"] == 0 and table.loc["reference", "R@1 full"] == 1
    assert table.loc["dark", "change oracle"] == pytest.approx(-0.1 - 0.009)
    assert "R@1 template" not in table


def test_what_is_missing_is_said(evidence):
    nothing = evidence.measures.iloc[:0]
    assert "not measured" in answer(_with(evidence, measures=nothing)).answer
    assert "not measured" in answer(_with(evidence, measures=pd.DataFrame())).answer
    without = {name: run for name, run in evidence.runs.items() if name != "oracle"}
    found = answer(_with(evidence, runs=without))
    assert "the ground-truth head is not measured" in found.answer
    assert set(answers(found.statements)["verdict"]) == {"untestable"}
    alone = evidence.measures.query("method == 'oracle'")
    assert "not measured" in answer(_with(evidence, measures=alone)).answer


def test_shipped_experiment_asks_for_what_it_needs():
    experiment = load_experiment("robustness")
    assert isinstance(experiment, Experiment) and experiment.question == "robustness"
    assert experiment.diagnose == ("robustness",) and {"full", "oracle"} <= set(experiment.methods)


def _with(evidence, **changes):
    return Evidence(**{**vars(evidence), **changes})
