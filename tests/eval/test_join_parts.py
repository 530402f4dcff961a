"""Parts of a run, each with some of its methods, join to the tables of the whole run."""

import json
import shutil

import pandas as pd
import pytest

from avatargen.config.errors import InputError
from avatargen.config.loading import load_experiment
from eval.columns import column
from eval.join_parts import PER_METHOD, RECORDS, join_parts, main
from eval.recompute import summarise_records
from eval.tables import read_table, write_table


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
        write_table(pd.DataFrame({"judge": ["small"], "followed_colour": [0.5]}), folder, "judge_controls")
        (folder / "protocols.json").write_text(json.dumps({f"of {folder.name}": {}, "of both": {}}))
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
    assert read_table(folder, "judge_controls").equals(read_table(parts[0], "judge_controls"))
    assert {*json.loads((folder / "protocols.json").read_text())} == {"of part_1", "of part_2", "of both"}


def test_claims_are_judged_by_the_experiments_first_judge(parts, experiment, tmp_path):
    """Also where the first method was guided by that judge, which then does not judge it."""
    judges = (*experiment.judges, "other")
    for part in parts:
        records = pd.read_csv(part / "records.csv", dtype=str, keep_default_na=False)
        guided = records["method"] == experiment.methods[0]
        both = pd.concat([records[~guided], records.assign(judge="other")])
        both.to_csv(part / "records.csv", index=False)
    join_parts(experiment.model_copy(update={"judges": judges}), parts, tmp_path / "joined")
    joined = read_table(tmp_path / "joined", "records")
    assert list(dict.fromkeys(column(joined, "judge"))) == list(judges)
    assert {*column(joined, "method")} == {*experiment.methods}


def test_parts_of_an_experiment_of_several_priors_are_refused(parts, experiment, tmp_path):
    crossed = experiment.model_copy(update={"priors": ("mini",)})
    with pytest.raises(InputError, match="several priors does not join"):
        join_parts(crossed, parts, tmp_path / "joined")


def test_methods_of_grids_are_known(parts, tmp_path, capsys):
    """They are named by the grid, not by the list of methods."""
    assert main(["phase_balance", str(parts[0]), "--to", str(tmp_path / "joined")]) == 2
    assert "no method of 'phase_balance'" in capsys.readouterr().err
    name = "full-steps_90-phase1_share_0.2"
    assert name not in load_experiment("phase_balance").methods
    for table_name in (*RECORDS, *PER_METHOD):
        table = pd.read_csv(parts[0] / f"{table_name}.csv", dtype=str, keep_default_na=False)
        table.assign(method=name).to_csv(parts[0] / f"{table_name}.csv", index=False)
    main(["phase_balance", str(parts[0]), "--to", str(tmp_path / "joined")])
    assert "no method of" not in capsys.readouterr().err


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
    config.write_text(json.dumps(experiment.model_dump(mode="json")))
    for name, changed_column in (("truth_records", "geometry_mm"), ("judge_controls", "followed_colour")):
        shutil.rmtree(other)
        shutil.copytree(parts[1], other)
        changed = pd.read_csv(other / f"{name}.csv", dtype=str, keep_default_na=False)
        changed.assign(**{changed_column: "0.25"}).to_csv(other / f"{name}.csv", index=False)
        assert main([str(config), *map(str, (*parts, other)), "--to", str(tmp_path / "joined")]) == 2
        said = capsys.readouterr().err
        fault = (
            "judge_controls: other than" if name == "judge_controls" else f"{experiment.methods[0]}: has other scores"
        )
        assert f"other: {fault}" in said
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
