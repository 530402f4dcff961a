"""A one-off run leaves another run's report alone."""

import re

import pytest

from avatargen.config.experiment import Experiment
from avatargen.preflight.plan import write_plan
from avatargen.preflight.report_folder import LONGEST, folder_name
from avatargen.runtime.launch import former_report, study_of


@pytest.fixture
def reported(place):
    """A function that finishes a run: its plan and its report are there."""

    def run(**changes):
        study = study_of({"experiment": "mine", **changes}, False)
        folder = place / "results" / study.experiment.experiment
        (folder / "report").mkdir(parents=True, exist_ok=True)
        (folder / "report/index.html").write_text("a report")
        write_plan(study, folder / "plan.json")
        return study.experiment.experiment

    return run


def folder_of(**changes):
    return study_of({"experiment": "mine", **changes}, False).experiment.experiment


@pytest.mark.parametrize(
    ("changes", "folder"),
    [
        ({"limit": 1}, "mine-limit_1"),
        ({"seeds": "1"}, "mine-seeds_1"),
        ({"methods": "template"}, "mine-methods_template"),
        ({"limit": 1, "methods": "full,template"}, "mine-limit_1-methods_full_template"),
        ({"overrides": {"views": 3}}, "mine-overrides_views_3"),
        ({"methods": "full,template"}, "mine"),
        ({"seeds": "0-3"}, "mine"),
        ({"limit": 9, "seeds": "0-1"}, "mine-limit_9-seeds_0_1"),
        ({"diagnose": "shape"}, "mine"),
        ({"gpus_per_worker": 1, "backend": "serial", "chunk_size": 1}, "mine"),
        ({"limit": 1, "name": "quick"}, "quick"),
        ({}, "mine"),
    ],
)
def test_a_run_that_shows_less_or_else_gets_a_folder(reported, changes, folder):
    reported()
    assert folder_of(**changes) == folder


def test_without_a_report_the_folder_is_the_experiments(place):
    assert folder_of(limit=1) == "mine"


def test_a_run_that_shows_more_goes_on_in_its_folder(reported):
    reported(limit=1, methods="full")
    assert folder_of() == folder_of(limit=2) == folder_of(limit=1) == "mine"


def test_an_edited_experiment_replaces_its_own_report(place, reported):
    reported()
    text = (place / "workflow/config/mine.yaml").read_text()
    (place / "workflow/config/mine.yaml").write_text(f"{text}limit: 1\n")
    assert folder_of() == "mine"
    assert "named" not in former_report(study_of({"experiment": "mine"}, False), "results/mine/plan.json")


def test_the_same_command_has_the_same_folder_again(reported):
    reported()
    assert reported(limit=1) == folder_of(limit=1) == "mine-limit_1"


def test_the_user_is_told_where_results_go(reported):
    reported()
    notes = study_of({"experiment": "mine", "limit": 1}, False).notes
    assert any("results/mine keeps its report" in note and "results/mine-limit_1 (name=NAME" in note for note in notes)


@pytest.mark.parametrize("plan", ["[]", "{", '{"experiment": 1}', "null"])
def test_a_damaged_plan_stops_no_run(place, reported, plan):
    reported()
    (place / "results/mine/plan.json").write_text(plan)
    assert folder_of(limit=1) == "mine"
    assert former_report(study_of({"experiment": "mine"}, False), "results/mine/plan.json") is None


def test_long_names_are_cut_and_told_apart():
    pattern = Experiment.model_json_schema()["properties"]["experiment"]["pattern"]
    names = {folder_name("embedded", {"methods": [f"method_{n}" for n in range(count)]}) for count in range(4, 9)}
    assert len(names) == 5 and all(re.fullmatch(pattern, name) and len(name) <= LONGEST for name in names)
