"""Experiments that cross methods with priors: runs, names, problems, plans, fingerprints."""

import json
from pathlib import Path

import pytest

from avatargen.cli.check import costs
from avatargen.cli.main import build_parser
from avatargen.cli.make import configure
from avatargen.config.crossing import run_name, split_name
from avatargen.config.experiment import Experiment
from avatargen.config.loading import load_experiment, load_library, parse, resolve
from avatargen.config.phase1 import shared_phase1
from avatargen.io.manifest import Row
from avatargen.preflight import disk_estimate
from avatargen.preflight.plan import read_plan, write_plan
from avatargen.preflight.validate import guiding_judges, needed_bytes, validate_all
from avatargen.runtime import fingerprint
from avatargen.runtime.generate_chunk import _row, tasks_of
from avatargen.runtime.launch import asked, study_of, waiting
from tests.small_weights import OTHERS, WEIGHTS
from tests.user_folder import problems_of, write_yaml

CROSSED = {"priors": ["own", "large"], "methods": ["full", "no_offsets", "template"]}


@pytest.fixture
def two(place):
    """The working directory, with a second prior of another size and folder."""
    for file in (place / "prior").rglob("*"):
        target = place / "second" / file.relative_to(place / "prior")
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            target.write_bytes(OTHERS if file.suffix == ".safetensors" else file.read_bytes())
    second = {"path": str(place / "second"), "latent_size": 32, "texture_size": 256, "guidance": 50}
    write_yaml(place / "workflow/config/priors.yaml", own={"path": str(place / "prior")}, large=second)
    return place


def test_methods_that_use_a_prior_run_with_each(two):
    study = validate_all("mine", CROSSED)
    assert list(study.runs) == ["full@own", "full@large", "no_offsets@own", "no_offsets@large", "template"]
    assert all(name == run.method_name for name, run in study.runs.items())
    assert [run.prior_name for run in study.runs.values()] == ["own", "large", "own", "large", "own"]
    assert study.runs["full@large"].prior == study.priors["large"] == study.prior_of("no_offsets@large")
    assert study.prior_of("template") == study.priors["own"]
    assert list(study.experiment.methods) == list(study.reasons) == CROSSED["methods"]


def test_one_prior_keeps_the_names_of_methods(two):
    study = validate_all("mine", {"methods": CROSSED["methods"]})
    assert list(study.runs) == CROSSED["methods"] and list(study.priors) == ["own"]
    assert list(validate_all("mine", {"priors": ["large"]}).runs) == ["full@large"]


def test_names_of_runs_split_in_one_way():
    """No table may name a method or a prior with the sign, see `test_names_are_fit_for_files_and_patterns`."""
    for method, prior in (("full", "sd-1.5_x"), ("a.b", "x"), ("template", "")):
        assert split_name(run_name(method, prior)) == (method, prior)


def test_both_ways_to_name_priors_are_one_error(two):
    write_yaml(two / "workflow/config/both.yaml", lists=["few"], methods=["ful"], prior="own", priors=["own", "large"])
    both, unknown_method = problems_of(validate_all, "both")
    assert both.endswith("both.yaml: prior, priors: got 'own' and ['own', 'large']; expected one of the fields")
    assert "'ful'" in unknown_method


def test_the_command_line_replaces_the_file_s_way(two):
    assert validate_all("mine", {"priors": ["large"]}).experiment.prior_names == ("large",)
    write_yaml(two / "workflow/config/many.yaml", lists=["few"], methods=["full"], priors=["own", "large"])
    assert list(validate_all("many").runs) == ["full@own", "full@large"]
    assert list(validate_all("many", {"prior": "large"}).runs) == ["full"]
    assert study_of({"experiment": "mine", "priors": "own, large"}, False).experiment.priors == ("own", "large")
    assert study_of({"experiment": "many", "priors": "large"}, False).experiment.priors == ("large",)


def test_wrong_priors_are_reported_with_all_other_problems(two):
    (two / "second/unet/model.safetensors").unlink()
    wrong = {"priors": ["own", "own", "larg", "large"], "judges": ["owl"], "methods": ["full", "ful"]}
    problems = problems_of(validate_all, "mine", wrong)
    parts = ("duplicate 'own'", "priors: unknown prior 'larg'; did you mean 'large'?", "large: ", "'owl'", "'ful'")
    assert len(problems) == len(parts)
    assert all(any(part in line for line in problems) for part in parts)
    assert "priors: Value should have at least 1 item" in problems_of(validate_all, "mine", {"priors": []})[0]
    assert "priors: Input should be a valid tuple" in problems_of(validate_all, "mine", {"priors": {}})[0]


def test_what_an_experiment_states_can_be_read_again(two):
    """And hashes of experiments with one prior do not know of several."""
    for changes, known, other in (({}, "prior", "priors"), (CROSSED, "priors", "prior")):
        experiment = load_experiment("mine", changes=changes)
        facts = experiment.model_dump(mode="json")
        assert known in facts and other not in facts
        assert parse(Experiment, json.loads(json.dumps(facts)), "again") == experiment


def test_a_plan_holds_every_run_and_prior(two):
    study = validate_all("mine", CROSSED)
    write_plan(study, Path("plan.json"))
    again = read_plan("plan.json")
    assert (again.runs, again.priors, again.experiment) == (study.runs, study.priors, study.experiment)
    assert list(again.runs) == list(study.runs)
    assert read_plan("plan.json").chunks("few", "full@large") == study.chunks("few", "full@large")


def test_reduced_and_limited_runs_follow_their_method(two):
    reduced = {"methods": ["no_offsets"], "prompts": 1, "seeds": [1]}
    study = validate_all("mine", CROSSED | {"reduced": reduced})
    assert {name: len(study.items("few", name)) for name in study.runs} == {
        **dict.fromkeys(("full@own", "full@large", "template"), 4),
        **dict.fromkeys(("no_offsets@own", "no_offsets@large"), 1),
    }
    assert len(validate_all("mine", CROSSED | {"limit": 1}).items("few", "full@large")) == 2
    wrong = {**reduced, "methods": ["oracle"]}
    assert "reduced: methods: got 'oracle'" in problems_of(validate_all, "mine", CROSSED | {"reduced": wrong})[0]


def test_methods_change_the_settings_of_every_prior(two):
    write_yaml(two / "workflow/config/methods.yaml", gentle={"reason": "why", "prior": {"guidance": 7}})
    runs = validate_all("mine", CROSSED | {"methods": ["full", "gentle"]}).runs
    for prior in CROSSED["priors"]:
        assert runs[f"gentle@{prior}"].prior == runs[f"full@{prior}"].prior.model_copy(update={"guidance": 7})


def test_phase_1_is_shared_under_one_prior_only(two):
    study = validate_all("mine", CROSSED)
    runs, items = study.runs.values(), study.lists["few"]
    shared = {name: shared_phase1(run, runs) for name, run in study.runs.items()}
    assert shared["full@own"] == shared["no_offsets@own"] != shared["full@large"] == shared["no_offsets@large"]
    assert shared["template"] is None
    tasks = {name: tasks_of(run, items, Path("x/avatars"), runs) for name, run in study.runs.items()}
    folders = {name: [task.phase1 for task in some] for name, some in tasks.items()}
    assert folders["full@own"] == folders["no_offsets@own"] and not {*folders["full@own"]} & {*folders["full@large"]}
    alone = validate_all("mine", CROSSED | {"methods": ["full"]}).runs
    assert not any(shared_phase1(run, alone.values()) for run in alone.values())


def test_fingerprints_are_those_of_each_prior(two):
    study = validate_all("mine", CROSSED)
    item, made = study.lists["few"][0], fingerprint.of_avatar
    before = {name: made(run, item) for name, run in study.runs.items()}
    chunks = {name: asked(study)("few", name, "0000") for name in study.runs}
    assert len({*before.values()}) == len(before)
    (two / "second/unet/model.safetensors").write_bytes(WEIGHTS)
    changed = {name for name, run in study.runs.items() if made(run, item) != before[name]}
    assert changed == {"full@large", "no_offsets@large"}
    assert {name for name in study.runs if asked(study)("few", name, "0000") != chunks[name]} == changed
    settings = study.experiment.evaluation
    shown = [(run, study.prior_of(name)) for name, run in study.runs.items()]
    hashes = {fingerprint.of_render("a", "ok", run, settings, prior) for run, prior in shown}
    assert len(hashes) == 2  # the decoder's size; the rest is in the avatar's fingerprint


def test_a_crossed_run_equals_the_method_under_that_prior(two):
    """Apart from its name."""
    crossed = validate_all("mine", CROSSED).runs["full@large"]
    single = validate_all("mine", {"prior": "large"}).runs["full"]
    assert crossed.model_copy(update={"method_name": "full"}) == single


def test_manifests_name_run_and_prior(two):
    study, item = validate_all("mine", CROSSED), validate_all("mine").lists["few"][0]
    rows = {}
    for name, run in study.runs.items():
        (task,) = tasks_of(run, [item], two / name / "avatars")
        rows[name] = _row(run, task, two)
    assert {name: row.method for name, row in rows.items()} == {name: name for name in study.runs}
    assert [row.prior for row in rows.values()] == ["own", "large", "own", "large", ""]
    facts = rows["full@own"].model_dump(mode="json")
    assert Row.model_validate({key: value for key, value in facts.items() if key != "prior"}).prior == ""


def test_guides_count_for_every_run_of_a_method(two):
    own = {"model": str(two / "judge")}
    write_yaml(two / "workflow/config/judges.yaml", own=own, second={"model": "ViT-B-32", "pretrained": "openai"})
    guided = CROSSED | {"methods": ["clip_guided"], "clip_guide": "own"}
    (problem,) = problems_of(validate_all, "mine", guided)
    assert "got only 'own', which guides method 'clip_guided'" in problem
    study = validate_all("mine", guided | {"judges": ["own", "second"]})
    assert guiding_judges(study) == {"clip_guided@own": ["own"], "clip_guided@large": ["own"]}


def test_disk_and_steps_are_the_sum_over_runs(two):
    study = validate_all("mine", CROSSED | {"methods": ["full", "template"]})
    parts = [study.part_of(name) for name in study.priors]
    shared = disk_estimate.report_bytes([], 0)  # there is one report, however many priors
    assert sum(needed_bytes(part, Path("r")) - shared for part in parts) + shared == needed_bytes(study, Path("r"))
    sizes = [disk_estimate.avatar_bytes(run, study.experiment.evaluation) for run in study.runs.values()]
    assert sizes[0] != sizes[1]
    assert sum(sum(waiting(part)) for part in parts) == sum(waiting(study))


def test_check_costs_count_methods_priors_and_rates(two):
    study = validate_all("mine", CROSSED | {"methods": ["full", "template"]})
    found = costs(study, "avatargen run mine")
    assert "2 methods, 2 priors, 1 judge" in found["prompts"] and found["avatars"] == "12 to make, 0 finished"
    assert found["time"] == "unknown until an avatar is finished; `avatargen run mine --limit 1` tells"
    (task, *_) = tasks_of(study.runs["full@own"], study.lists["few"], Path("results/mine/few/full@own/avatars"))
    task.folder.mkdir(parents=True)
    facts = {"status": "ok", "seconds": 500.0, "fingerprint": task.fingerprint}
    (task.folder / "done.json").write_text(json.dumps(facts))
    (task.folder / "avatar.json").write_text("{}")
    found = costs(study, "avatargen run mine")
    assert found["time"].startswith("about ") and found["time"].endswith(
        "beside that of large: unknown until an avatar is finished"
    )


def test_one_avatar_is_made_with_the_first_prior(two):
    write_yaml(two / "workflow/config/many.yaml", lists=["few"], methods=["full"], priors=["large", "own"])
    run, _ = configure(build_parser().parse_args(["make", "a man", "--experiment", "many"]))
    assert (run.method_name, run.prior_name) == ("full", "large")
    assert resolve(load_experiment("many"), "full", load_library(), "own").method_name == "full@own"
