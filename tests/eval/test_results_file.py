"""``results.json``: strict JSON that follows its schema and says of each number what it means."""

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from eval.measures import MEASURES, Mean
from eval.results_file import SCHEMA_FILE, RunFacts, read_results, results_file, schema_text, write_results
from eval.tables import write_table
from tests.eval.small_runs import write_run


@pytest.fixture
def facts(tables, experiment, rows, tmp_path) -> RunFacts:
    """A real run of two methods, of which one avatar failed; its tables were collected."""
    plan = {
        "experiment": experiment.model_dump(mode="json"),
        "runs": {"full": {"threads": 1}, "template": {"threads": 1}},
        **{"priors": {}, "judges": {"tiny": {"model": "x"}}, "lists": {"tiny": []}, "command": "avatargen run tiny"},
    }
    return RunFacts(plan, rows, tmp_path, tables, "t1", {"code": "abc"}, {"cpu": "x", "cores": 2, "gpu": None})


def written(facts) -> dict:
    path = facts.root / "results.json"
    write_results(path, facts)

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def put_avatar(facts, method, item, **provenance):
    folder = facts.root / next(row.folder for row in facts.rows if (row.method, row.item) == (method, item))
    content = {"provenance": {"versions": {"torch": "2.12.1"}, **provenance}, "config": {"threads": 3}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "avatar.json").write_text(json.dumps(content))


def test_schema_is_current():
    """``python -m eval.results_file`` writes it."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


def test_a_real_file_follows_the_schema(facts):
    schema = json.loads(schema_text())
    content = written(facts)
    jsonschema.validate(content, schema, jsonschema.Draft202012Validator)
    for name in content:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in content.items() if key != name}, schema)
    for wrong in ({"schema": 2}, {"results": [{"metric": "r_at_1"}]}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**content, **wrong}, schema)


def test_each_number_carries_what_it_means(facts):
    content = written(facts)
    found = [
        result
        for result in content["results"]
        if (result["task"], result["method"], result["metric"]) == ("tiny/texture", "full", "r_at_1")
    ]
    (rate,) = found  # three hits and a failure
    assert (rate["value"], rate["n"], rate["n_failed"], rate["judge"]) == (0.75, 4, 1, "tiny")
    assert rate["interval"] == "wilson" and rate["low"] < 0.75 < rate["high"] and rate["higher_is_better"]
    assert rate["protocol"] in content["protocols"]
    assert content["protocols"][rate["protocol"]]["track"] == "texture"


def test_distances_have_the_protocol_of_their_code(facts):
    distances = [result for result in written(facts)["results"] if result["judge"] is None]
    assert {result["protocol"] for result in distances} == {"t1"}
    mean = {result["method"]: result["value"] for result in distances if result["metric"] == "geometry_mm"}
    assert mean == {"full": 1.0, "template": 3.0}


def test_measures_of_diagnostics_have_protocols(facts):
    """A measure that judges give also depends on the protocol of the texture track; a file without has no such key."""
    assert "measures" not in written(facts)
    about = ("full", "all", "small", "dark")
    rows = [Mean(*about, "r_at_1", "tiny", 4, 0, 0.75, 0.3, 0.95), Mean(*about, "size_mm", "", 0, 4, *[math.nan] * 3)]
    write_table(pd.DataFrame(rows), facts.tables, MEASURES)
    assert "measures" not in written(facts), "a table that an earlier run left"
    content = written(replace(facts, diagnostics={"small": "d1"}))
    jsonschema.validate(content, json.loads(schema_text()), jsonschema.Draft202012Validator)
    rate, size = content["measures"]
    assert (rate["value"], rate["interval"], rate["judge"], rate["n"]) == (0.75, "wilson", "tiny", 4)
    assert (size["value"], size["interval"], size["judge"], size["protocol"]) == (None, None, None, "d1")
    assert rate["protocol"] not in ("d1", *content["protocols"]) and len(rate["protocol"]) == 12


def test_values_that_are_not_numbers_are_null(tmp_path):
    run = write_run(tmp_path / "results/a", {"full": [1, 0]}, prompts=("x", "y"))
    content = json.loads((run / "results.json").read_text())
    (margin,) = [result for result in content["results"] if result["metric"] == "margin"]
    assert margin["value"] is None and margin["low"] is None and margin["interval"] is None
    assert content["time"]["methods"][0]["peak_memory_mb"] is None
    assert content["judging"] == {"number_format": "float32", "noise_draws": 4}


def test_optimisation_says_how_avatars_were_made(facts):
    machine = {"cpu": "fast", "cores": 8, "gpu": "big"}
    for item in "ab":
        put_avatar(facts, "full", item, batch_size=6, number_format="bfloat16", hardware=machine)
    put_avatar(facts, "full", "c", batch_size=3, number_format="float32", hardware=machine)
    found = {(entry["method"], entry["batch_size"]): entry for entry in written(facts)["optimisation"]}
    assert sum(entry["n"] for entry in found.values()) == len(facts.rows)
    six = {"method": "full", "n": 2, "batch_size": 6, "number_format": "bfloat16", "threads": 3, "torch": "2.12.1"}
    assert found["full", 6] == {**six, **machine}
    assert found["full", 3]["n"] == 1 and found["template", None]["number_format"] is None


def test_costs_are_those_of_the_avatars(facts):
    time = written(facts)["time"]
    assert (time["seconds_per_avatar"], time["seconds_total"]) == (2.0, 16.0)
    assert {entry["method"]: entry["seconds_total"] for entry in time["methods"]} == {"full": 8.0, "template": 8.0}


def test_hash_of_the_configuration_follows_every_resolved_setting(facts):
    first = results_file(facts).config.hash
    assert results_file(facts).config.hash == first
    for name in ("experiment", "runs", "priors", "judges", "lists"):
        changed = {**facts.plan, name: {**facts.plan[name], "x": {}}}
        assert results_file(RunFacts(**{**vars(facts), "plan": changed})).config.hash != first
    other = {**facts.plan, "command": "snakemake"}
    assert results_file(RunFacts(**{**vars(facts), "plan": other})).config.hash == first


def test_long_lists_are_given_by_their_hash(facts):
    protocols = json.loads((facts.tables / "protocols.json").read_text())
    many = {key: {**value, "items": [*range(20)]} for key, value in protocols.items()}
    (facts.tables / "protocols.json").write_text(json.dumps(many))
    assert all(facts["items"]["count"] == 20 for facts in written(facts)["protocols"].values())


def test_a_file_of_another_version_is_refused(facts):
    path = Path(facts.root / "results.json")
    content = {**written(facts), "schema": 0}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="schema"):
        read_results(path)
