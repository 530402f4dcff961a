"""What diagnostics found, as tables: hand-computed means, failures, errors, and scores as in the texture track."""

import numpy as np
import pandas as pd
import pytest

from avatargen.config.errors import InputError
from eval.diagnostics.files import Found, Products, write_found
from eval.embed_captions import embed_captions
from eval.embeddings import load_embeddings
from eval.measures import ERRORS, MEASURES, RECORDS, Mean, Record, average, collect_measures
from eval.pools import build_pools
from eval.statistics import bootstrap_mean, wilson


@pytest.fixture
def collect(rows, judge, tmp_path):
    """A function that writes what `small` found on each avatar, and collects the tables."""

    def run(found_of, guides=None, judges=(judge,), names=("small",), flat=()):
        for row in rows:
            if row.status == "ok":
                found, embeddings = found_of(row)
                for name in names:
                    write_found(tmp_path / row.folder, name, "f", found, Products(embeddings=embeddings), 0.1)
        pools = build_pools(rows)
        captions = {each.name: embed_captions(each, pools, [row.prompt for row in rows]) for each in judges}
        return collect_measures(rows, names, pools, captions, tmp_path, guides or {}, flat)

    return run


def texture_of(tmp_path, row):
    return load_embeddings(tmp_path / row.folder, "tiny").kinds["texture"]


def test_scores_are_those_of_the_texture_track(collect, run_collect, tmp_path):
    """A condition that shows what the track shows has its scores, failures included."""
    texture = pd.read_csv(run_collect() / "records.csv").query("track == 'texture'").set_index(["method", "item"])
    table = collect(lambda row: (Found(shown=[("same", 8)]), {"tiny": texture_of(tmp_path, row)}))[RECORDS]
    assert set(table["measure"]) == {"r_at_1", "margin", "clip_score"} and set(table["judge"]) == {"tiny"}
    expected = {"r_at_1": texture["rank"] == 1, "margin": texture["margin"], "clip_score": texture["clip_score"]}
    for measure, values in expected.items():
        found = table[table["measure"] == measure].set_index(["method", "item"])["value"]
        assert len(found) == 8
        assert np.allclose(found.loc[values.index], values.astype(float), atol=1e-6)
    assert (table["subset"] == "all").all()


def test_conditions_are_kept_apart(collect, rows, tmp_path):
    """Each has the views that were shown under it, in their order."""

    def found(row):
        own, wrong = texture_of(tmp_path, row), -texture_of(tmp_path, row)
        return Found(shown=[("own", 8), ("opposite", 3)]), {"tiny": np.concatenate([own, wrong[:3]])}

    table = collect(found)[RECORDS].query("method == 'full' and measure == 'r_at_1' and item != 'd'")
    rates = table.groupby("condition", sort=False)["value"].mean()
    assert rates.to_dict() == {"own": 1.0, "opposite": 0.0}


def test_failed_avatars_count_in_scores_alone(collect, tmp_path):
    """The avatar of `full` and prompt d crashed."""

    def found(row):
        return Found([("", "red", 2.0)], [("same", 8)]), {"tiny": texture_of(tmp_path, row)}

    tables = collect(found)
    lost = tables[RECORDS].query("method == 'full' and item == 'd'").set_index("measure")["value"]
    assert lost[["r_at_1", "margin", "clip_score"]].tolist() == [0.0, -1.0, 0.0] and np.isnan(lost["red"])
    means = tables[MEASURES].query("method == 'full'").set_index("measure")
    assert means.loc["red", ["n", "n_missing", "value"]].tolist() == [3, 1, 2.0]
    assert means.loc["r_at_1", ["n", "n_missing", "value"]].tolist() == [4, 0, 0.75]
    rate = wilson(3, 4)
    assert means.loc["r_at_1", ["low", "high"]].tolist() == [rate.low, rate.high]


def test_an_error_leaves_a_hole_that_is_reported(collect, tmp_path):
    """Nothing is known of that avatar: it is neither a hit nor a miss."""

    def found(row):
        if (row.method, row.item) == ("template", "b"):
            return Found(error="ValueError: no <ears>"), {}
        return Found([("", "red", 2.0)], [("same", 8)]), {"tiny": texture_of(tmp_path, row)}

    tables = collect(found)
    assert tables[RECORDS].query("method == 'template' and item == 'b'")["value"].isna().all()
    means = tables[MEASURES].query("method == 'template'").set_index("measure")
    assert (means["n"] == 3).all() and (means["n_missing"] == 1).all()
    (line,) = tables[ERRORS].to_dict("records")
    assert (line["method"], line["item"], line["diagnostic"]) == ("template", "b", "small")
    assert line["message"] == "ValueError: no <ears>"


def test_a_judge_does_not_score_what_it_guided(collect, tmp_path):
    def found(row):
        return Found([("", "red", 2.0)], [("same", 8)]), {"tiny": texture_of(tmp_path, row)}

    table = collect(found, guides={"full": ["tiny"]})[RECORDS]
    assert set(table.query("method == 'full'")["measure"]) == {"red"}
    assert set(table.query("method == 'template'")["judge"]) == {"", "tiny"}


def test_what_has_no_surface_is_left_out(collect):
    """Its prompts still count in the subset of the others."""
    table = collect(lambda row: (Found([("", "red", 2.0)]), {}), flat={"full"})[RECORDS]
    assert set(table["method"]) == {"template"} and set(table["subset"]) == {"all"} and len(table) == 4


def test_broken_embeddings_are_a_failure(collect):
    table = collect(lambda row: (Found(shown=[("same", 2)]), {"tiny": np.full((2, 16), np.nan)}))[RECORDS]
    assert set(table["value"]) == {0.0, -1.0}


def test_what_only_some_avatars_have_is_missing_of_the_others(collect):
    """A mesh of another system has no bones to move."""
    table = collect(lambda row: (Found([("", "bones", 1.0)] if row.method == "full" else []), {}))[RECORDS]
    assert len(table) == 8 and table.query("method == 'template'")["value"].isna().all()


def test_an_avatar_that_was_not_measured_is_an_error(collect, rows, tmp_path):
    collect(lambda row: (Found(), {}))
    (tmp_path / rows[0].folder / "diagnostics/small.json").unlink()
    with pytest.raises(InputError, match=r"small\.json: missing or damaged"):
        collect_measures(rows, ["small"], build_pools(rows), {}, tmp_path, {})


def test_means_are_over_prompts_whose_seeds_are_averaged():
    """Prompts have means 2, 5 and 8; the bootstrap is that of these three."""
    values = {("a", 0): 1.0, ("a", 1): 3.0, ("b", 0): 5.0, ("b", 1): np.nan, ("c", 0): 8.0, ("c", 1): 8.0}
    lines = [Record("full", "few", *unit, "all", "shape", "", "size_mm", "", value) for unit, value in values.items()]
    (row,) = average(pd.DataFrame(lines)).itertuples(index=False)
    expected = bootstrap_mean(np.array([2.0, 5.0, 8.0]))
    assert Mean(*row) == Mean("full", "all", "shape", "", "size_mm", "", 3, 1, 5.0, expected.low, expected.high)


def test_an_avatar_counts_in_each_of_its_subsets():
    one = Record("full", "few", "a", 0, "all 1x1", "shape", "", "size_mm", "", 3.0)
    assert average(pd.DataFrame([one]))["subset"].tolist() == ["all", "1x1"]


def test_tables_without_numbers_have_their_columns(collect):
    tables = collect(lambda row: (Found(error="ValueError"), {}))
    assert list(tables[RECORDS]) == list(Record._fields) and list(tables[MEASURES]) == list(Mean._fields)
    assert len(tables[ERRORS]) == 7
