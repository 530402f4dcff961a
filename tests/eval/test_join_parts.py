"""Parts of a run, each with some of its methods, join to the tables of the whole run."""

import json
import shutil

import pandas as pd
import pytest

from avatargen.config.errors import InputError
from eval.join_parts import PER_METHOD, RECORDS, join_parts, main
from eval.recompute import summarise_records
from eval.tables import read_table


@pytest.fixture
def parts(tables, experiment, tmp_path):
    """Two folders of tables: the last method, and all."""
    chosen = (experiment.methods[-1:], experiment.methods)
    folders = [tmp_path / f"part_{number}" for number in (1, 2)]
    for folder, methods in zip(folders, chosen, strict=True):
        folder.mkdir()
        for name in (*RECORDS, *PER_METHOD):
            table = pd.read_csv(tables / f"{name}.csv", dtype=str, keep_default_na=False)
            table[table["method"].isin(methods)].to_csv(folder / f"{name}.csv", index=False)
    return folders


def test_parts_join_to_the_tables_of_the_whole_run(parts, tables, experiment, tmp_path):
    folder = tmp_path / "joined"
    assert join_parts(experiment, parts, folder) == []
    made = summarise_records(read_table(tables, "records"), read_table(tables, "truth_records"), experiment)
    assert {"clip_r", "paired", "claims", "truth"} <= made.keys()
    for name in (*RECORDS, *PER_METHOD, *made):
        expected, joined = read_table(tables, name), read_table(folder, name)
        pd.testing.assert_frame_equal(joined, expected, check_dtype=len(expected) > 0, obj=name)
    assert {"clip_r.svg", "ranks.svg", "clip_r.md", "records.csv"} <= {file.name for file in folder.iterdir()}


def test_what_no_part_has_is_told(parts, experiment, tmp_path, capsys):
    config = tmp_path / "small.yaml"
    config.write_text(json.dumps(experiment.model_dump(mode="json")))
    assert main([str(config), str(parts[0]), "--to", str(tmp_path / "joined")]) == 0
    assert f"1 parts joined; in no part: {', '.join(experiment.methods[:-1])}" in capsys.readouterr().out


def test_parts_that_do_not_fit_are_refused_all_at_once(parts, experiment, tmp_path, capsys):
    config = tmp_path / "small.yaml"
    fewer = experiment.model_dump(mode="json") | {"methods": list(experiment.methods[:-1])}
    config.write_text(json.dumps(fewer))
    other = tmp_path / "other"
    shutil.copytree(parts[1], other)
    changed = pd.read_csv(other / "records.csv", dtype=str, keep_default_na=False)
    changed.loc[changed["method"] == experiment.methods[0], "rank"] = "2"
    changed.to_csv(other / "records.csv", index=False)
    assert main([str(config), *map(str, (*parts, other)), "--to", str(tmp_path / "joined")]) == 2
    said = capsys.readouterr().err
    assert f"part_1: {experiment.methods[-1]}: no method of" in said
    assert f"other: {experiment.methods[0]}: has other scores in an earlier part" in said
    (parts[0] / "cost.csv").unlink()
    (parts[1] / "records.csv").unlink()
    assert main([str(config), *map(str, parts), "--to", str(tmp_path / "joined")]) == 2
    said = capsys.readouterr().err
    assert "part_1/cost.csv: missing" in said and "part_2/records.csv: missing" in said
    assert not (tmp_path / "joined").exists()


def test_scores_of_another_protocol_are_refused(parts, experiment, tmp_path):
    records = pd.read_csv(parts[0] / "records.csv", dtype=str, keep_default_na=False)
    records.assign(protocol=records["protocol"].str[::-1]).to_csv(parts[0] / "records.csv", index=False)
    whole = pd.read_csv(parts[1] / "records.csv", dtype=str, keep_default_na=False)
    whole[whole["method"] != experiment.methods[-1]].to_csv(parts[1] / "records.csv", index=False)
    costs = pd.read_csv(parts[1] / "cost.csv", dtype=str, keep_default_na=False)
    costs[costs["method"] != experiment.methods[-1]].to_csv(parts[1] / "cost.csv", index=False)
    with pytest.raises(ValueError, match="protocol"):
        join_parts(experiment, parts, tmp_path / "joined")


def test_parts_that_compare_on_other_prompts_are_refused(parts, experiment, tmp_path):
    """Else a method would silently lack the comparisons that its part had no other method for."""
    records = pd.read_csv(parts[1] / "records.csv", dtype=str, keep_default_na=False)
    records.assign(subset="all 1x1").to_csv(parts[1] / "records.csv", index=False)
    with pytest.raises(InputError, match="part_2: compares on 1x1, all; expected all, as"):
        join_parts(experiment, parts, tmp_path / "joined")
