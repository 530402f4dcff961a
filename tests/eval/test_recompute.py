"""Tables follow from a folder's records and configuration."""

import json
import shutil

import pandas as pd
import pytest

from avatargen.config.errors import InputError
from avatargen.config.places import ROOT
from avatargen.preflight.plan import write_plan
from avatargen.preflight.validate import validate_all
from eval.recompute import disagreements, main

PUBLISHED = ("embedded", "study")
"""Folders of `results/reference` that ship with records."""
NAMES = {"clip_r", "paired", "claims", "truth"}


@pytest.fixture
def published(tables, experiment, tmp_path):
    """A folder like the published one, of the small world's run."""
    folder = tmp_path / "published"
    folder.mkdir()
    for name in (*NAMES, "records", "truth_records"):
        shutil.copy(tables / f"{name}.csv", folder)
    (folder / "experiment.yaml").write_text(json.dumps(experiment.model_dump(mode="json")))
    return folder


def test_tables_agree_with_their_records(published):
    assert disagreements(published) == {name: [] for name in NAMES}
    assert main([str(published)]) == 0


def test_a_changed_record_is_found(published, capsys):
    records = pd.read_csv(published / "records.csv")
    records.loc[0, "rank"] = 2
    records.to_csv(published / "records.csv", index=False)
    found = disagreements(published)
    assert {"r_at_1", "mean_rank"} <= {*found["clip_r"]} and "difference" in found["paired"] and found["truth"] == []
    assert main([str(published)]) == 1 and "truth.csv: agrees with the records" in capsys.readouterr().out


def test_a_changed_cell_is_found(published):
    truth = pd.read_csv(published / "truth.csv")
    truth.loc[0, "colour_error"] *= 1 + 1e-6
    truth.to_csv(published / "truth.csv", index=False)
    assert disagreements(published) == {name: ["colour_error"] if name == "truth" else [] for name in NAMES}


def test_a_missing_row_is_found(published):
    pd.read_csv(published / "clip_r.csv")[1:].to_csv(published / "clip_r.csv", index=False)
    assert disagreements(published)["clip_r"] == ["shape"]


def test_tables_of_a_run_need_no_configuration_beside_them(published, tmp_path):
    """A run keeps its plan beside its tables; a configuration in the folder goes before it."""
    configuration = published / "experiment.yaml"
    study = validate_all("embedded", {"limit": 1, "methods": ["full", "template"]})
    write_plan(study, tmp_path / "plan.json")
    assert not any(disagreements(published).values())
    configuration.unlink()
    assert not any(disagreements(published).values())
    (tmp_path / "plan.json").unlink()
    with pytest.raises(InputError, match=r"experiment.yaml"):
        disagreements(published)


def test_missing_records_are_an_error(published, capsys):
    (published / "records.csv").unlink()
    assert main([str(published)]) == 2 and "records.csv" in capsys.readouterr().err


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_follow_from_published_records(name):
    found = disagreements(ROOT / "results/reference" / name)
    assert found.keys() >= NAMES and not any(found.values()), found
