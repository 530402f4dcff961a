"""Configuration: what is shipped is right, and what a user gets wrong is said, whole, before any work."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from avatargen.config.errors import InputError
from avatargen.config.experiment import Experiment, NamedMethod
from avatargen.config.loading import load_experiment, load_library, load_methods, parse, resolve
from avatargen.config.places import ROOT
from avatargen.config.settings import MethodSettings, PriorSettings, provenance_table
from avatargen.heads.flame.files import VARIABLE
from avatargen.io.manifest import write_rows
from avatargen.preflight import disk_estimate
from avatargen.preflight.plan import write_plan
from avatargen.preflight.validate import check_space, guiding_judges, validate_all
from avatargen.preflight.weight_checks import clip_problems, prior_problems
from avatargen.runtime import launch
from avatargen.runtime.launch import asked, study_of
from tests.small_flame import write_flame

METHODS = load_methods()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_differs_from_full_in_exactly_what_it_lists(name):
    experiment, library = load_experiment("embedded"), load_library()
    full, other = (resolve(experiment, method, library) for method in ("full", name))
    assert changed_keys(full.method, other.method) == set(keys_of(METHODS[name].overrides))
    assert changed_keys(full.prior, other.prior) == set(keys_of(METHODS[name].prior))


def changed_keys(before, after):
    before, after = keys_of(before.model_dump()), keys_of(after.model_dump())
    return {key for key in before if before[key] != after[key]}


def keys_of(nested, prefix=""):
    """Values by dotted keys."""
    flat = {}
    for key, value in nested.items():
        flat |= keys_of(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def test_changes_of_one_nested_setting_leave_its_neighbours(place):
    write_yaml(place / "workflow/config/mine.yaml", lists=["few"], methods=["full"], prior="own", judges=["own"],
               evaluation={"fov": 20, "views": 4})  # fmt: skip
    assert load_experiment("mine", changes={"evaluation": {"views": 6}}).evaluation.fov == 20
    library = load_library()
    near = {"reason": "near", "prior": {"cameras": {"distance": [1.16, 1.2]}}}
    library = replace(library, methods={"near": parse(NamedMethod, near, "near")})
    cameras = resolve(load_experiment("embedded"), "near", library).prior.cameras
    assert cameras.distance == (1.16, 1.2) and cameras.fov == library.priors["mini"].cameras.fov


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/config").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_shipped_is_valid(path):
    if path.stem not in ("methods", "priors", "judges"):
        experiment = load_experiment(path.stem)
        for method in experiment.methods:
            resolve(experiment, method, load_library())


def test_the_shipped_weights_are_whole():
    library = load_library()
    assert prior_problems("mini", library) == []
    assert [line for name in ("mini", "guide") for line in clip_problems(name, library.judges[name], ROOT)] == []


@pytest.fixture
def place(workplace):
    """A working directory with its own experiment, list, prior and judge, all of them right."""
    prior, judge = workplace / "prior", workplace / "judge"
    for part in ("unet", "vae", "text_encoder"):
        (prior / part).mkdir(parents=True)
        (prior / part / "model.safetensors").write_bytes(b"x")
    (prior / "model_index.json").write_text(json.dumps({"unet": [], "vae": [], "text_encoder": []}))
    judge.mkdir()
    (judge / "open_clip_config.json").write_text("{}")
    (judge / "open_clip_model.safetensors").write_bytes(b"x")
    config = workplace / "workflow/config"
    config.mkdir(parents=True)
    write_yaml(config / "priors.yaml", own={"path": str(prior)})
    write_yaml(config / "judges.yaml", own={"model": str(judge)})
    write_yaml(config / "mine.yaml", lists=["few"], methods=["full"], prior="own", judges=["own"], seeds=[0, 1])
    (workplace / "prompts").mkdir()
    (workplace / "prompts/few.txt").write_text("a man\na woman\n")
    return workplace


def write_yaml(path, **values):
    path.write_text(yaml.safe_dump(values))


def problems_of(call, *arguments, **options):
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    return caught.value.problems


def test_a_working_directory_may_bring_its_own(place):
    study = validate_all("mine")
    assert [item.seed for item in study.lists["few"]] == [0, 0, 1, 1]
    assert study.runs["full"].prior_name == "own" and study.files["few"].name == "few.txt"
    study = validate_all("mine", {"chunk_size": 3})
    assert {name: len(items) for name, items in study.chunks("few", "full").items()} == {"0000": 3, "0001": 1}


def test_all_kinds_of_problems_come_in_one_message(place, monkeypatch):
    (place / "prompts/bad.txt").write_text("twice\ntwice\n")
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    changes = {"lists": ["bad", "fwe"], "methods": ["full", "txture_only"], "prior": "mni", "head": "any"}
    text = "\n".join(problems_of(validate_all, "mine", changes | {"judges": ["owl"], "renderer": "wrap"}))
    for part in (
        "bad.txt:2: duplicate prompt 'twice'",
        "unknown list 'fwe'; did you mean 'few'?",
        "unknown method 'txture_only'; did you mean 'texture_only'?",
        "unknown prior 'mni'; did you mean 'mini'?",
        "unknown judge 'owl'; did you mean 'own'?",
        "unknown head 'any'; did you mean 'anny'?",
        "unknown renderer 'wrap'; did you mean 'warp'?",
        "RAY_ADDRESS: got 'nonsense'; expected HOST:PORT",
    ):
        assert part in text


def test_a_wrong_field_or_table_hides_no_problem_of_what_others_name(place):
    changes = {"batchsize": 4, "seeds": ["x"], "reduced": {"methods": ["full"], "prompts": 1, "seeds": [1]}}
    problems = problems_of(validate_all, "mine", changes | {"lists": ["fwe"], "methods": ["ful"]})
    for part, line in zip(("'batchsize'", "seeds.0", "'fwe'", "'ful'"), sorted(problems, key=_order), strict=True):
        assert part in line
    (place / "workflow/config/methods.yaml").write_text("full: {reason: why, overides: {}}")
    problems = problems_of(validate_all, "mine", {"lists": ["fwe"]})
    assert [part in line for part, line in zip(("'overides'", "'fwe'"), problems, strict=True)] == [True, True]


def test_a_wrong_field_is_not_judged_by_its_default(place, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    changes = {"methods": ["clip_guided", "ful"], "clip_guide": "mini", "judges": [{}], "backend": "Serial", "lists": 3}
    problems = problems_of(validate_all, "mine", changes | {"prior": ["x"], "experiment": "other"})
    parts = ("judges.0", "backend", "lists", ": prior", "expected 'mine'", "'ful'")
    assert len(problems) == len(parts) and all(any(part in line for line in problems) for part in parts)


def _order(line):
    return [part in line for part in ("'batchsize'", "seeds.0", "'fwe'", "'ful'")].index(True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batchsize": 4}, "mine: unknown key 'batchsize'; did you mean 'batch_size'?"),
        ({"evaluation": {"veiws": 4}}, "mine: evaluation: unknown key 'veiws'; did you mean 'views'?"),
        ({"batch_size": 0}, "mine: batch_size: Input should be greater than or equal to 1; got '0'"),
        ({"experiment": "../x"}, "experiment: String should match pattern"),
        ({"lists": []}, "lists: Tuple should have at least 1 item"),
        ({"evaluation": {"background": [128, 128, 128]}}, "background.0: Input should be less than or equal to 1"),
    ],
)
def test_wrong_keys_and_values_are_named(values, message):
    given = {"experiment": "mine", "lists": ["few"], "methods": ["full"], **values}
    assert message in problems_of(parse, Experiment, given, "mine")[0]


def test_overrides_are_checked(place):
    (problem,) = problems_of(validate_all, "mine", {"overrides": {"phase1_step": 3}})
    assert "unknown key 'phase1_step'; did you mean 'phase1_steps'?" in problem
    write_yaml(place / "workflow/config/methods.yaml", full={"reason": "why", "overrides": {"viewz": 1}})
    assert "did you mean 'views'?" in problems_of(validate_all, "mine")[0]
    (problem,) = problems_of(parse, MethodSettings, {"phase1_steps": 0, "phase2_steps": 0}, "full")
    assert problem.startswith("full: phase1_steps + phase2_steps is 0")


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "full: {reason: why}\nfull: {reason: two}\n"])
def test_yaml_that_is_none_or_repeats_itself(place, text):
    (place / "workflow/config/methods.yaml").write_text(text)
    assert "methods.yaml" in problems_of(validate_all, "mine")[0]


def test_an_unknown_experiment(place):
    assert "did you mean 'mine'?" in problems_of(validate_all, "mien")[0]
    assert "unknown experiment 'methods'" in problems_of(validate_all, "methods")[0]
    assert "unknown key 'experimnt'; did you mean 'experiment'?" in problems_of(study_of, {"experimnt": 1}, False)[0]


def test_lists_on_the_command_line(place):
    study = study_of({"experiment": "mine", "seeds": "2,3", "methods": "full, template"}, False)
    assert study.experiment.seeds == (2, 3) and [*study.runs] == ["full", "template"]
    assert study_of({"experiment": "mine", "seeds": 4}, False).experiment.seeds == (4,)


def test_the_command_line_is_checked_with_all_else(place):
    asked = {"experiment": "mine", "sees": 1, "lists": "few,fwe", "methods": "ful"}
    problems = problems_of(study_of, asked, False)
    assert [word in line for word, line in zip(("'sees'", "'fwe'", "'ful'"), problems, strict=True)] == [True] * 3
    (problem,) = problems_of(study_of, {"experiment": "mine", "seeds": "x"}, False)  # and not that none is left
    assert "mine.yaml with --config: seeds.0" in problem


def test_what_a_run_replaces_and_what_failed_is_said(place):
    study = study_of({"experiment": "mine", "methods": ["full", "template"]}, False)
    assert launch.former_report(study, "plan.json") is None and launch.remarks(study) == []
    write_plan(study, Path("plan.json"))
    assert launch.former_report(study, "plan.json") is None
    (note,) = launch.former_report(study_of({"experiment": "mine"}, False), "plan.json").splitlines()
    assert "results/mine: tables, plots and report are made anew, without template;" in note
    write_rows("results/mine/few/full/generate/0000.jsonl", [{"status": "ok"}, {"status": "error"}])
    assert launch.remarks(study) == ["1 of 2 avatars failed: results/mine/tables/failures.csv"]
    Path("results/mine/tables").mkdir()
    facts = {"judge": "own:1", "name": "own", "track": "texture", "pool_size": 9, "truncated": ["a man of many words"]}
    protocols = {"a": facts, "b": {**facts, "truncated": []}, "c": {**facts, "name": "gone"}}
    Path("results/mine/tables/protocols.json").write_text(json.dumps(protocols))
    made = {"status": "ok", "prompt": "so many words", "truncated_by": ["prior own"]}
    write_rows("results/mine/few/template/generate/0000.jsonl", [made, made])
    _, line = launch.remarks(study)
    assert line.startswith("Some texts are longer than prior own, judge 'own' can read, as 'so many words';")


def test_missing_weights(place):
    (place / "prior/unet/model.safetensors").unlink()
    (place / "judge/open_clip_model.safetensors").write_bytes(b"")
    judge, prior = problems_of(validate_all, "mine")
    assert "judge: no weights" in judge and "prior/unet: no weights" in prior
    write_yaml(place / "workflow/config/priors.yaml", own={"path": "no/such/folder"})
    assert "no/such/folder: no such folder" in problems_of(validate_all, "mine")[1]
    write_yaml(place / "workflow/config/priors.yaml", own={"path": "prompts"})
    assert "model_index.json: missing" in problems_of(validate_all, "mine")[1]


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ({"model": "ViT-B32"}, "own: model: unknown open_clip model 'ViT-B32'; did you mean 'ViT-B-32'?"),
        ({"model": "clips/judge2"}, "own: model: clips/judge2: no such folder, nor a model of open_clip's"),
        ({"model": "ViT-B-32"}, "own: pretrained: missing"),
        ({"model": "ViT-B/32", "pretrained": "opnai"}, "own: pretrained: unknown file of weights, nor a tag 'opnai'"),
        ({"model": "ViT-B-32", "pretrained": "laion2b-s34b-b79k"}, None),
        ({"model": "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"}, None),
        ({"model": "ViT-B-32", "pretrained": "README.md"}, None),
    ],
)
def test_a_judge_that_open_clip_does_not_know_is_said_before_any_work(place, clip, message):
    write_yaml(place / "workflow/config/judges.yaml", own=clip)
    problems = problems_of(validate_all, "mine") if message else validate_all("mine").notes
    assert [message in problem for problem in problems] == [True] * bool(message)


def test_pools_that_cannot_be_read_are_said_before_any_work(place):
    (place / "prompts/few.negatives.txt").write_bytes(b"a p\xe4le baby\n")
    (place / "prompts/shapes.tsv").write_text("id\tprmpt\ttags\n")
    negatives, *pool = problems_of(validate_all, "mine", {"geometry_pool": "shapes"})
    assert "few.negatives.txt:1: not UTF-8: byte 0xe4" in negatives
    assert "shapes.tsv:1: unknown column 'prmpt'" in pool[0]


@pytest.mark.parametrize("address", ["localhost", "ray://host:10001", "host:port", "host:99999", "a b:1"])
def test_a_ray_address_of_the_wrong_form(place, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    (problem,) = problems_of(validate_all, "mine")
    assert f"RAY_ADDRESS: got '{address}'; expected HOST:PORT" in problem
    assert validate_all("mine", {"backend": "serial"})


def test_the_oracle_leaves_out_prompts_that_have_no_true_head(place):
    strange = "\n".join(f"wizard number {number}" for number in range(5))
    (place / "prompts/few.txt").write_text(f"a man\n{strange}\n")
    study = validate_all("mine", {"methods": ["full", "oracle"]})
    assert len(study.items("few", "full")) == 12 and len(study.items("few", "oracle")) == 2
    (note,) = study.notes
    assert note.startswith("few: 'oracle' leaves out prompts") and "'wizard number 2') and 2 more" in note
    (place / "prompts/few.txt").write_text(strange)
    study = validate_all("mine", {"methods": ["full", "oracle"]})
    assert list(study.runs) == list(study.experiment.methods) == ["full"] and study.notes
    assert "none is left" in problems_of(validate_all, "mine", {"methods": ["oracle"]})[1]


def test_a_reduced_method_needs_no_more_meshes_than_it_is_asked_for(place):
    stanza = {"reason": "theirs", "overrides": {"source": "imported", "meshes": {"folder": str(place)}}}
    write_yaml(place / "workflow/config/methods.yaml", theirs=stanza)
    (first, second) = (item.item for item in validate_all("mine").lists["few"][:2])
    (place / f"{first}.ply").touch()
    asked = {"methods": ["full", "theirs"]}
    (problem,) = problems_of(validate_all, "mine", asked)
    assert f"no mesh for {second}, {first}.1, {second}.1;" in problem
    study = validate_all("mine", asked | {"reduced": {"methods": ["theirs"], "prompts": 1, "seeds": [0]}})
    assert [item.item for item in study.items("few", "theirs")] == [first]


def test_flame_needs_its_files_and_has_no_true_heads(place, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(place / "nowhere"))
    flame = {"head": "flame", "methods": ["full", "oracle"]}
    (problem,) = problems_of(validate_all, "mine", flame)
    assert "nowhere: no such folder; expected there" in problem and "FLAME_masks.pkl" in problem
    write_flame(place / "flame")
    monkeypatch.setenv(VARIABLE, str(place / "flame"))
    study = validate_all("mine", flame)
    assert list(study.runs) == ["full"]
    assert study.notes == ["'oracle' is left out: true heads are of 'anny', not 'flame'"]
    assert list(validate_all("paper").runs) == list(load_experiment("paper").methods)


def test_what_a_prior_changes_of_the_defaults_is_ours():
    rows = {row["name"]: row for row in provenance_table(load_library().priors["mini"])}
    assert rows["t_range"]["provenance"] == rows["guidance"]["provenance"] == "ours"
    plain = {row["name"]: row["provenance"] for row in provenance_table(PriorSettings(path="x"))}
    assert plain["t_range"] == "borrowed" and plain["guidance"] == "paper" and plain["cameras.distance"] == "ours"


def test_a_ray_address_that_nothing_answers_at(place, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free.getsockname()[1]}")
        assert "nothing answers at 127.0.0.1" in problems_of(validate_all, "mine")[0]
        free.listen()
        assert validate_all("mine")


def test_too_little_disk_is_said_before_any_work(place, monkeypatch):
    study = validate_all("mine")
    needed = 4 * disk_estimate.avatar_bytes(study.runs["full"], study.experiment.evaluation)
    monkeypatch.setattr(disk_estimate, "free_bytes", lambda folder: needed)
    (problem,) = problems_of(check_space, study, place / "results/mine")
    assert "too little disk" in problem and "needed" in problem
    for item in study.lists["few"]:
        done = place / "results/mine/few/full/avatars" / item.id / "done.json"
        done.parent.mkdir(parents=True)
        done.touch()
    check_space(study, place / "results/mine")


def test_a_single_name_on_the_command_line_is_a_list_of_one(place):
    study = study_of({"experiment": "mine", "methods": "template", "seeds": 3}, check_disk=True)
    assert list(study.runs) == ["template"] and study.experiment.seeds == (3,)


def test_the_conda_environment_has_the_same_pins():
    pins = {line.strip() for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line}
    stated = yaml.safe_load((ROOT / "workflow/envs/avatargen.yaml").read_text())["dependencies"][-1]["pip"]
    assert len(stated) > 15 and set(stated) <= pins


def test_requirements_carry_no_addresses():
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text and "nvidia-" not in text and "triton" not in text
    assert all("==" in line for line in text.splitlines() if not line.startswith("#"))


def test_a_clip_guide_is_checked_and_is_never_the_only_judge(place):
    own, judges = {"model": str(place / "judge")}, place / "workflow/config/judges.yaml"
    changes = {"methods": ["full", "clip_guided"], "clip_guide": "own"}
    (problem,) = problems_of(validate_all, "mine", changes)
    assert "got only 'own', which guides method 'clip_guided'" in problem
    write_yaml(
        place / "workflow/config/judges.yaml", own={"model": str(place / "judge")}, second={"model": "no/such/folder"}
    )
    (problem,) = problems_of(validate_all, "mine", {**changes, "clip_guide": "second"})
    assert "judges.yaml: second: model: no/such/folder: no such folder" in problem
    (problem,) = problems_of(validate_all, "mine", {**changes, "clip_guide": "owl"})
    assert "clip_guide: unknown judge 'owl'" in problem
    write_yaml(judges, own=own, second={"model": "ViT-B-32", "pretrained": "openai"})
    study = validate_all("mine", {**changes, "judges": ["own", "second"]})
    assert guiding_judges(study) == {"clip_guided": ["own"]}
    assert study.runs["full"].clip is None


def test_names_are_fit_for_files_and_patterns(place):
    write_yaml(place / "workflow/config/methods.yaml", **{"phase+1": {"reason": "a name that is a pattern"}})
    (problem,) = problems_of(validate_all, "mine")
    assert "methods.yaml: 'phase+1': expected a name of letters" in problem


def test_a_method_may_change_the_priors_settings_but_not_its_weights(place):
    stated = {"reason": "why", "prior": {"guidance": 7}}
    write_yaml(place / "workflow/config/methods.yaml", gentle=stated)
    runs = validate_all("mine", {"methods": ["full", "gentle"]}).runs
    assert runs["gentle"].prior == runs["full"].prior.model_copy(update={"guidance": 7})
    write_yaml(place / "workflow/config/methods.yaml", gentle={**stated, "prior": {"path": "else"}})
    assert "methods.yaml: gentle: prior: a method may change" in problems_of(validate_all, "mine")[0]
    write_yaml(place / "workflow/config/methods.yaml", gentle={**stated, "prior": {"guidence": 7}})
    assert "unknown key 'guidence'" in problems_of(validate_all, "mine", {"methods": ["gentle"]})[0]


def test_ranges_that_are_none_are_named_together():
    stated = {"elevation": [30, 0], "fov": [0, 18], "close_fov": [13, 9], "front_bias": 2, "distance": [1, "inf"]}
    problems = problems_of(parse, PriorSettings, {"path": "x", "t_range": [0.5, 0.05], "cameras": stated}, "p")
    assert [problem.split(": ")[1] for problem in problems] == [
        *("t_range", "cameras.front_bias", "cameras.elevation", "cameras.distance.1", "cameras.fov.0"),
        "cameras.close_fov",
    ]
    assert problems[2] == "p: cameras.elevation: expected low <= high; got 30, 0"
    assert "got '2'" in problems[1]
    (problem,) = problems_of(parse, PriorSettings, {"path": "x", "t_range": [0.5, 1.5]}, "p")
    assert problem.startswith("p: t_range.1: Input should be less than or equal to 1")


def test_some_methods_may_run_on_a_part_of_the_lists(place):
    reduced = {"methods": ["template"], "prompts": 1, "seeds": [1]}
    study = validate_all("mine", {"methods": ["full", "template"], "reduced": reduced})
    assert len(study.items("few", "full")) == 4
    ((only,),) = study.chunks("few", "template").values()
    assert (only.prompt, only.seed) == ("a man", 1)
    wrong = {"methods": ["full"], "reduced": {**reduced, "seeds": [7]}}
    problems = problems_of(validate_all, "mine", wrong)
    assert "reduced: methods: got 'template'" in problems[0] and "reduced: seeds: got '7'" in problems[1]


@pytest.mark.parametrize("name", ["embedded", "embedded-study", "extreme", "gate"])
def test_every_shipped_prompt_has_a_true_head(place, name):
    assert not validate_all("mine", {"lists": [name], "methods": ["oracle"]}).notes


def test_what_a_chunk_is_to_hold_depends_on_all_that_its_avatars_do(place):
    own, guide = {"model": str(place / "judge")}, place / "guide"
    guide.mkdir()
    (guide / "open_clip_config.json").write_text("{}")
    (guide / "open_clip_model.safetensors").write_bytes(b"one")
    write_yaml(place / "workflow/config/judges.yaml", own=own, guide={"model": str(guide)})

    def hashes(**changes):
        study = validate_all("mine", {"methods": ["full", "clip_guided"], **changes})
        return {method: asked(study, place)("few", method, "0000") for method in study.runs}

    before = hashes()
    assert hashes() == before
    (guide / "open_clip_model.safetensors").write_bytes(b"two")
    guided = hashes()
    assert guided["full"] == before["full"] and guided["clip_guided"] != before["clip_guided"]
    (place / "prior/unet/model.safetensors").write_bytes(b"y")
    assert not set(hashes().values()) & set(guided.values())
