"""Failures stay in the count; protocols do not mix; summary tables by hand."""

import numpy as np
import pandas as pd
import pytest

from eval import plots, summaries
from eval.pools import Pool
from eval.protocol import Protocol
from eval.records import ProtocolError, check_protocols, make_record, to_frame
from eval.retrieval import Retrieval
from eval.subsets import each_subset

CAPTIONS = ("head a", "head b", "head c", "head d")
HIT = Retrieval(1, 1.0, 0.5, margin=0.1, ranks_noisy=(1, 1, 2))
MISS = Retrieval(3, 0.25, 0.3, margin=-0.2, ranks_noisy=(3, 1, 4))


def protocol(track: str = "texture", **views) -> Protocol:
    return Protocol("clip", "content", track, "tiny", (CAPTIONS,), (), {"views": 8, **views})


def record(row, score, baked=None, track="texture", own=0, draws=3, **protocols):
    """A record in a pool of four captions; in the subset `all`, unless `protocols` gives some by subset."""
    pool = Pool("tiny", CAPTIONS, {row.unit: own}, {row.unit: tuple({0, 1, 2, 3} - {own})})
    return make_record(row, "clip", track, pool, protocols or {"all": protocol(track)}, score, baked, draws)


def frame(make_row, outcomes: dict[str, list[Retrieval | None]]) -> pd.DataFrame:
    return to_frame(
        record(make_row(item, method, status="ok" if score else "diverged"), score, score)
        for method, scores in outcomes.items()
        for item, score in zip("abcd", scores, strict=False)
    )


def test_a_failure_is_a_miss_at_the_last_rank(make_row):
    table = summaries.clip_r(frame(make_row, {"full": [HIT, HIT, MISS, None]}))
    row = table.iloc[0]
    assert (row["n"], row["n_failed"], row["pool"], row["chance"]) == (4, 1, "4", 0.25)
    assert (row["r_at_1"], row["r_at_1_baked"], row["r_at_5"]) == (0.5, 0.5, 1.0)
    assert row["mean_rank"] == pytest.approx((1 + 1 + 3 + 4) / 4)
    assert row["clip_score"] == pytest.approx((0.5 + 0.5 + 0.3 + 0) / 4)
    assert row["r_at_1_views"] == pytest.approx((1 + 1 + 0.25 + 0) / 4)
    assert row["r_at_1_low"] < 0.5 < row["r_at_1_high"]
    assert row["mrr"] == pytest.approx((1 + 1 + 1 / 3 + 1 / 4) / 4)
    assert row["margin"] == pytest.approx((0.1 + 0.1 - 0.2 - 1) / 4)  # a failure has -1
    assert (row["r_at_1_noise_low"], row["r_at_1_noise_high"]) == (0, 0.75)  # 2, 3 and 0 hits of 4
    assert row["mrr_low"] < row["mrr"] < row["mrr_high"] and row["margin_low"] <= row["margin"] <= row["margin_high"]


def test_pools_of_different_sizes_have_a_mean_chance(make_row):
    rows = [make_row("a"), make_row("b")]
    pools = [
        Pool("tiny", CAPTIONS, {row.unit: 0}, {row.unit: rivals})
        for row, rivals in zip(rows, ((1,), (1, 2, 3)), strict=True)
    ]
    made = [
        make_record(row, "clip", "texture", pool, {"all": protocol()}, None, draws=2)
        for row, pool in zip(rows, pools, strict=True)
    ]
    assert [(one.rank, one.pool_size, one.ranks_noisy, one.reciprocal_rank) for one in made] == [
        (2, 2, "2 2", 0.5),
        (4, 4, "4 4", 0.25),
    ]
    row = summaries.clip_r(to_frame(made)).iloc[0]
    assert (row["pool"], row["chance"]) == ("2-4", (1 / 2 + 1 / 4) / 2)


def test_methods_are_sorted_by_the_headline(make_row):
    outcomes = {"bad": [MISS, None], "good": [HIT, HIT], "fair": [HIT, MISS]}
    assert summaries.clip_r(frame(make_row, outcomes))["method"].tolist() == ["good", "fair", "bad"]


def test_a_method_stands_again_in_the_subset_of_others(make_row):
    """`full` has four prompts, `bare` two of them, which are all that they are compared on."""
    every, some = protocol(elevation=1.0), protocol(elevation=2.0)  # a stand-in for other items
    rows = [record(make_row(item), HIT, HIT, all=every, few=some) for item in "ab"]
    rows += [record(make_row(item), None, all=every) for item in "cd"]
    rows += [record(make_row(item, "bare"), MISS, MISS, few=some) for item in "ab"]
    table = summaries.clip_r(to_frame(rows)).set_index(["subset", "method"])
    assert table["n"].to_dict() == {("all", "full"): 4, ("few", "full"): 2, ("few", "bare"): 2}
    assert table["r_at_1"].to_dict() == {("all", "full"): 0.5, ("few", "full"): 1, ("few", "bare"): 0}
    assert table["protocol"].tolist() == [every.hash, some.hash, some.hash]


def test_words_that_models_have_never_read_are_listed(make_row):
    assert record(make_row(prompt="a cheerful man with a Mohican"), HIT).unknown_words == "cheerful mohican"
    assert record(make_row(prompt="a smiling man with a pink mohawk"), HIT).unknown_words == ""


def test_geometry_has_no_baked_scores(make_row):
    made = record(make_row(), None, track="geometry")
    assert made.rank == 4 and np.isnan(made.rank_baked)
    assert record(make_row(), None, track="shape_in_colour").rank_baked == 4


def test_a_confusion_keeps_the_caption_that_ranks_first(make_row):
    taken = record(make_row(), Retrieval(2, 0.25, 0.3, taken_for=3), MISS, own=1)
    assert (taken.caption, taken.taken_for, taken.rank_baked) == ("head b", "head d", 3.0)
    failed = record(make_row(), None, own=1)
    assert (failed.caption, failed.taken_for) == ("head b", "") and failed.margin == -1


def test_tables_refuse_to_mix_protocols(make_row):
    records = to_frame(
        [
            record(make_row("a"), HIT, HIT),
            record(make_row("b", "template"), HIT, HIT, all=protocol(size=256)),
        ]
    )
    with pytest.raises(ProtocolError, match="scores of 2 protocols"):
        summaries.clip_r(records)
    check_protocols(each_subset(records[:1]))


def test_the_same_avatar_under_two_seeds_is_one_outcome(make_row):
    def table(seeds):
        rows = [make_row(item, seed=seed) for item in "ab" for seed in seeds]
        records = [record(row, HIT if row.item == "a" else MISS, HIT) for row in rows]
        return summaries.clip_r(to_frame(records)).iloc[0]

    once, twice = table([0]), table([0, 1])
    assert (once["n"], twice["n"]) == (2, 4)
    assert tuple(once[["r_at_1", "r_at_1_low", "r_at_1_high"]]) == tuple(twice[["r_at_1", "r_at_1_low", "r_at_1_high"]])


def test_cost_and_failures(make_row):
    rows = [
        make_row("a", seconds=2.0, peak_memory_mb=100.0),
        make_row("b", seconds=4.0, peak_memory_mb=300.0, taken_from="other"),
    ]
    rows.append(make_row("c", status="error", message="boom"))
    cost = summaries.cost(rows).iloc[0]
    assert cost[["n", "n_failed", "n_taken_over"]].tolist() == [3, 1, 1]
    assert cost[["seconds_mean", "peak_memory_mb_max"]].tolist() == [3.0, 300.0]
    theirs = summaries.cost([make_row("a", method="theirs")])
    assert theirs[["seconds_mean", "seconds_total", "peak_memory_mb_max"]].isna().all(axis=None)
    both = pd.concat([summaries.cost(rows), theirs])
    shown = [text.get_text() for axis in plots.plot_cost(both).axes for text in axis.texts]
    assert shown == ["3.0", "unknown", f"{300 / 1024:.1f}", "unknown"]
    failed = summaries.failures(rows)
    assert failed[["item", "status", "message"]].values.tolist() == [["c", "error", "boom"]]
