"""Failures stay in the count; protocols do not mix; summary tables by hand."""

import numpy as np
import pandas as pd
import pytest

from eval import plots, summaries
from eval.records import Protocol, ProtocolError, check_protocols, make_record, to_frame
from eval.retrieval import Retrieval

CAPTIONS = ("head a", "head b", "head c", "head d")
HIT, MISS = Retrieval(1, 1.0, 0.5), Retrieval(3, 0.25, 0.3)


def protocol(track: str = "texture", **views) -> Protocol:
    return Protocol("clip", track, "tiny", CAPTIONS, {"views": 8, **views})


def frame(make_row, outcomes: dict[str, list[Retrieval | None]]) -> pd.DataFrame:
    return to_frame(
        make_record(make_row(item, method, status="ok" if score else "diverged"), protocol(), "clip", 0, score, score)
        for method, scores in outcomes.items()
        for item, score in zip("abcd", scores, strict=False)
    )


def test_a_failure_is_a_miss_at_the_last_rank(make_row):
    table = summaries.clip_r(frame(make_row, {"full": [HIT, HIT, MISS, None]}))
    row = table.iloc[0]
    assert (row["n"], row["n_failed"], row["pool"], row["chance"]) == (4, 1, 4, 0.25)
    assert (row["r_at_1"], row["r_at_1_baked"], row["r_at_5"]) == (0.5, 0.5, 1.0)
    assert row["mean_rank"] == pytest.approx((1 + 1 + 3 + 4) / 4)
    assert row["clip_score"] == pytest.approx((0.5 + 0.5 + 0.3 + 0) / 4)
    assert row["r_at_1_views"] == pytest.approx((1 + 1 + 0.25 + 0) / 4)
    assert row["r_at_1_low"] < 0.5 < row["r_at_1_high"]


def test_geometry_has_no_baked_scores(make_row):
    record = make_record(make_row(), protocol("geometry"), "clip", 1, None, None)
    assert record.rank == 4 and np.isnan(record.rank_baked)


def test_a_confusion_keeps_the_caption_that_ranks_first(make_row):
    taken = make_record(make_row(), protocol(), "clip", 1, Retrieval(2, 0.25, 0.3, taken_for=3), MISS)
    assert (taken.caption, taken.taken_for, taken.rank_baked) == ("head b", "head d", 3.0)
    failed = make_record(make_row(), protocol(), "clip", 1, None, None)
    assert (failed.caption, failed.taken_for) == ("head b", "")


def test_every_part_of_a_protocol_changes_its_hash():
    others = [
        protocol("geometry"),
        protocol(elevation=11.0),
        Protocol("other", "texture", "tiny", CAPTIONS, {"views": 8}),
        Protocol("clip", "texture", "tiny", CAPTIONS[:3], {"views": 8}),
    ]
    assert protocol().hash == protocol().hash
    assert len({protocol().hash, *(other.hash for other in others)}) == 5


def test_tables_refuse_to_mix_protocols(make_row):
    records = to_frame(
        [
            make_record(make_row("a"), protocol(), "clip", 0, HIT, HIT),
            make_record(make_row("b", "template"), protocol(size=256), "clip", 0, HIT, HIT),
        ]
    )
    with pytest.raises(ProtocolError, match="scores of 2 protocols"):
        summaries.clip_r(records)
    check_protocols(records[:1])


def test_paired_differences_by_hand(make_row):
    records = frame(make_row, {"full": [HIT, HIT, HIT], "template": [MISS, MISS, MISS], "other": [HIT, HIT, None]})
    table = summaries.paired(records, pd.DataFrame(columns=["method"]), "full").set_index(["method", "metric"])
    row = table.loc[("template", "r_at_1")]
    assert (row["difference"], row["low"], row["high"], row["p"]) == (-1.0, -1.0, -1.0, 0.25)
    assert table.loc[("other", "mean_rank"), "difference"] == pytest.approx(1.0)
    assert set(table["baseline"]) == {"full"} and "full" not in table.index.get_level_values(0)


def test_seeds_are_averaged_before_prompts_are_compared(make_row):
    rows = [
        make_record(make_row("a", method, seed=seed), protocol(), "clip", 0, score, score)
        for method, scores in {"full": [HIT, MISS], "other": [HIT, HIT]}.items()
        for seed, score in enumerate(scores)
    ]
    table = summaries.paired(to_frame(rows), pd.DataFrame(columns=["method"]), "full").set_index("metric")
    assert (table.loc["r_at_1", "n"], table.loc["r_at_1", "difference"]) == (1, 0.5)


def test_the_same_avatar_under_two_seeds_is_one_outcome(make_row):
    def table(seeds):
        rows = [make_row(item, seed=seed) for item in "ab" for seed in seeds]
        records = [make_record(row, protocol(), "clip", 0, HIT if row.item == "a" else MISS, HIT) for row in rows]
        return summaries.clip_r(to_frame(records)).iloc[0]

    once, twice = table([0]), table([0, 1])
    assert (once["n"], twice["n"]) == (2, 4)
    assert tuple(once[["r_at_1", "r_at_1_low", "r_at_1_high"]]) == tuple(twice[["r_at_1", "r_at_1_low", "r_at_1_high"]])


def test_only_seeds_that_both_methods_have_are_compared(make_row):
    rows = [
        make_record(make_row("a", method, seed=seed), protocol(), "clip", 0, score, score)
        for method, scores in {"full": [HIT, MISS], "other": [HIT]}.items()
        for seed, score in enumerate(scores)
    ]
    table = summaries.paired(to_frame(rows), pd.DataFrame(columns=["method"]), "full").set_index("metric")
    assert (table.loc["r_at_1", "n"], table.loc["r_at_1", "difference"]) == (1, 0.0)


def test_judges_that_agree_and_disagree():
    table = pd.DataFrame(
        [
            {"method": m, "judge": j, "track": "texture", "r_at_1": s, "clip_score": -s if j == "two" else s}
            for j in ("one", "two")
            for m, s in (("full", 0.9), ("half", 0.5), ("template", 0.1))
        ]
    )
    agreement = summaries.judge_agreement(table).set_index("metric")["kendall_tau"]
    assert agreement["r_at_1"] == pytest.approx(1) and agreement["clip_score"] == pytest.approx(-1)


def test_cost_and_failures(make_row):
    rows = [
        make_row("a", seconds=2.0, peak_memory_mb=100.0),
        make_row("b", seconds=4.0, peak_memory_mb=300.0),
    ]
    rows.append(make_row("c", status="error", message="boom"))
    cost = summaries.cost(rows).iloc[0]
    assert (cost["n"], cost["n_failed"], cost["seconds_mean"], cost["peak_memory_mb_max"]) == (
        3,
        1,
        3.0,
        300.0,
    )
    theirs = summaries.cost([make_row("a", method="theirs")])
    assert theirs[["seconds_mean", "seconds_total", "peak_memory_mb_max"]].isna().all(axis=None)
    both = pd.concat([summaries.cost(rows), theirs])
    shown = [text.get_text() for axis in plots.plot_cost(both).axes for text in axis.texts]
    assert shown == ["3.0", "unknown", f"{300 / 1024:.1f}", "unknown"]
    failed = summaries.failures(rows)
    assert failed[["item", "status", "message"]].values.tolist() == [["c", "error", "boom"]]
