"""What holds for every question: it answers without evidence, and its experiment names what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatargen.config.loading import experiment_names, load_experiment
from avatargen.config.places import ROOT
from avatargen.config.plugins import NEEDED, QUESTIONS, module_of
from eval.questions.files import ask, write_answer

WRITTEN = [name for name, spec in QUESTIONS.items() if (ROOT / f"{module_of(spec).replace('.', '/')}.py").is_file()]
ASKED = [name for name in experiment_names() if load_experiment(name).question]


@pytest.mark.parametrize("name", WRITTEN)
def test_without_evidence_nothing_is_claimed(make_evidence, tmp_path: Path, name):
    experiment = "cost" if name not in ASKED else name
    bare = make_evidence(experiment, without=load_experiment(experiment).methods, items=())
    found = ask(name, bare)
    table = write_answer(found, tmp_path / "tables", tmp_path / "plots")
    assert found.question.endswith("?") and found.answer
    assert set(table["verdict"]) <= {"untestable"}


@pytest.mark.parametrize("name", ASKED)
def test_experiments_ask_for_the_diagnostics_of_their_question(name):
    experiment = load_experiment(name)
    assert set(NEEDED.get(experiment.question or "", ())) <= set(experiment.diagnose)
    assert experiment.reason.endswith("?") and len(experiment.reason) <= 120
