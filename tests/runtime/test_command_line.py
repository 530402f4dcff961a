"""What Snakemake's command line changes, and what the start and end of a run report."""

import json
from pathlib import Path

from avatargen.exchange.item_table import item_name
from avatargen.io.manifest import write_rows
from avatargen.preflight.plan import write_plan
from avatargen.preflight.validate import validate_all
from avatargen.runtime import launch
from avatargen.runtime.launch import asked, study_of
from tests.small_weights import CLIP_CONFIG, OTHERS, WEIGHTS
from tests.user_folder import problems_of, write_yaml


def test_command_line_takes_comma_separated_lists(place):
    study = study_of({"experiment": "mine", "seeds": "2,3", "methods": "full, template"}, False)
    assert study.experiment.seeds == (2, 3) and [*study.runs] == ["full", "template"]
    assert study_of({"experiment": "mine", "seeds": 4}, False).experiment.seeds == (4,)


def test_command_line_is_validated_with_everything_else(place):
    asked = {"experiment": "mine", "sees": 1, "lists": "few,fwe", "methods": "ful"}
    problems = problems_of(study_of, asked, False)
    assert [word in line for word, line in zip(("'sees'", "'fwe'", "'ful'"), problems, strict=True)] == [True] * 3
    (problem,) = problems_of(study_of, {"experiment": "mine", "seeds": "x"}, False)  # and not that none is left
    assert "mine.yaml with --config: seeds: got 'x'; expected a whole number, or a range as 0-3" in problem


def test_single_name_on_the_command_line_is_a_list(place):
    study = study_of({"experiment": "mine", "methods": "template", "seeds": 3}, check_disk=True)
    assert list(study.runs) == ["template"] and study.experiment.seeds == (3,)


def test_run_reports_what_it_replaces_and_what_failed(place):
    study = study_of({"experiment": "mine", "methods": ["full", "template"]}, False)
    assert launch.former_report(study, "plan.json") is None and launch.remarks(study) == []
    write_plan(study, Path("plan.json"))
    assert launch.former_report(study, "plan.json") is None
    (note,) = launch.former_report(study_of({"experiment": "mine"}, False), "plan.json").splitlines()
    assert "results/mine: tables, plots and report are replaced, without template;" in note
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


def test_chunk_hash_covers_everything_avatars_depend_on(place):
    own, guide = {"model": str(place / "judge")}, place / "guide"
    guide.mkdir()
    (guide / "open_clip_config.json").write_text(CLIP_CONFIG)
    (guide / "open_clip_model.safetensors").write_bytes(WEIGHTS)
    write_yaml(place / "workflow/config/judges.yaml", own=own, guide={"model": str(guide)})

    def hashes(**changes):
        study = validate_all("mine", {"methods": ["full", "clip_guided"], **changes})
        return {method: asked(study, place)("few", method, "0000") for method in study.runs}

    before = hashes()
    assert hashes() == before
    (guide / "open_clip_model.safetensors").write_bytes(OTHERS)
    guided = hashes()
    assert guided["full"] == before["full"] and guided["clip_guided"] != before["clip_guided"]
    (place / "prior/unet/model.safetensors").write_bytes(OTHERS)
    assert not set(hashes().values()) & set(guided.values())


def test_replaced_mesh_changes_the_chunk_hash(place):
    stanza = {"reason": "theirs", "overrides": {"source": "imported", "meshes": {"folder": str(place / "theirs")}}}
    write_yaml(place / "workflow/config/methods.yaml", theirs=stanza)
    (place / "theirs").mkdir()
    files = [place / "theirs" / f"{item_name(item)}.ply" for item in validate_all("mine").lists["few"]]
    for file in files:
        file.touch()
    study = validate_all("mine", {"methods": ["theirs"]})
    before = asked(study, place)("few", "theirs", "0000")
    assert asked(study, place)("few", "theirs", "0000") == before
    files[0].write_bytes(b"another mesh")
    assert asked(study, place)("few", "theirs", "0000") != before


def test_limit_is_named_and_keeps_what_other_prompts_need(place):
    whole, part = study_of({"experiment": "mine"}, False), study_of({"experiment": "mine", "limit": 1}, False)
    assert [item.prompt for item in part.lists["few"]] == ["a man", "a man"]
    write_plan(whole, Path("plan.json"))
    assert "2 of 4 prompts and seeds of 'few'" in launch.former_report(part, "plan.json")
    stored = place / "results/mine/few/.phase1/of-the-other-prompt"
    stored.mkdir(parents=True)
    launch._remove_stale_phase1(part)
    assert stored.exists()
    launch._remove_stale_phase1(whole)
    assert not stored.exists()
