"""Agreement of judges, and judges whose ceiling is inverted, by hand."""

import numpy as np
import pandas as pd
import pytest

from eval.agreement import inverted_judges, judge_agreement, mark_inverted

A, B = "one", "two"


def records_of(ranks: dict[str, dict[str, list[int]]], track="texture"):
    """Records of ranks by judge, method and prompt; 0 is an avatar that was not asked for."""
    lines = [
        {"method": method, "list": "l", "item": item, "seed": 0, "judge": judge, "track": track, "rank": rank}
        for judge, methods in ranks.items()
        for method, values in methods.items()
        for item, rank in zip("abcdef", values, strict=False)
        if rank
    ]
    return pd.DataFrame(lines).assign(clip_score=lambda t: -t["rank"].astype(float), margin=0.0)


def rows_of(records, metric="clip_score"):
    table = judge_agreement(records)
    return table[table["metric"] == metric].set_index("methods")


def test_agreement_is_shown_with_and_without_controls():
    """The judges order three methods oppositely, and agree on floor and ceiling: 7 of 10 pairs agree, 3 do not."""
    one = {"template": [9, 9], "a": [5, 5], "b": [4, 4], "c": [3, 3], "oracle": [1, 1]}
    two = {**one, "a": [3, 3], "c": [5, 5]}
    table = rows_of(records_of({A: one, B: two}))
    assert table["kendall_tau"].tolist() == pytest.approx([(7 - 3) / 10, -1.0])
    assert table["n_methods"].tolist() == [5, 3] and table["n"].tolist() == [2, 2]


def test_agreement_is_over_avatars_that_all_methods_have():
    """Without prompt c, which only `full` and one judge's `b` have, the judges agree."""
    one = {"full": [1, 1, 9], "a": [2, 2, 0], "b": [3, 3, 1]}
    two = {"full": [1, 1, 9], "a": [2, 2, 0], "b": [3, 3, 0]}
    row = rows_of(records_of({A: one, B: two})).loc["all"]
    assert (row["n"], row["kendall_tau"]) == (2, 1.0)


def test_methods_of_one_judge_do_not_count():
    one = {"full": [1, 1], "a": [2, 2], "guided": [3, 3]}
    row = rows_of(records_of({A: one, B: {name: one[name] for name in ("full", "a")}})).loc["all"]
    assert (row["n_methods"], row["kendall_tau"]) == (2, 1.0)


def test_intervals_are_over_prompts():
    """Judge two agrees on three prompts and disagrees on one: resamples of that one alone give -1."""
    one = {"full": [1, 1, 1, 1], "a": [2, 2, 2, 2]}
    two = {"full": [1, 1, 1, 9], "a": [2, 2, 2, 1]}
    row = rows_of(records_of({A: one, B: one})).loc["all"]
    assert (row["kendall_tau_low"], row["kendall_tau_high"]) == (1.0, 1.0)
    row = rows_of(records_of({A: one, B: two})).loc["all"]
    assert (row["kendall_tau"], row["kendall_tau_low"], row["kendall_tau_high"]) == (-1.0, -1.0, 1.0)
    alone = rows_of(records_of({A: {"full": [1], "a": [2]}, B: {"full": [1], "a": [2]}})).loc["all"]
    assert alone["kendall_tau"] == 1.0 and np.isnan(alone["kendall_tau_low"])


def test_hits_without_an_order_have_no_agreement():
    table = rows_of(records_of({A: {"full": [1, 1], "a": [1, 1]}, B: {"full": [1, 1], "a": [2, 2]}}), "r_at_1")
    assert table["kendall_tau"].isna().all()
    assert judge_agreement(records_of({A: {"full": [1], "a": [2]}})).empty


def test_a_judge_that_finds_fewer_true_heads_is_inverted():
    sound, inverted = {"full": [1, 2, 2], "oracle": [1, 1, 2]}, {"full": [1, 1, 2], "oracle": [1, 2, 2]}
    records = pd.concat([records_of({A: sound, B: inverted}), records_of({A: sound, B: sound}, "geometry")])
    assert inverted_judges(records) == {(B, "texture")}
    assert inverted_judges(records_of({A: {"full": [1, 2], "oracle": [1, 2]}})) == set()  # a tie is no inversion
    assert inverted_judges(records_of({A: {"full": [1, 2]}})) == set()


def test_the_ceiling_is_compared_on_the_same_prompts():
    """`full` finds 3 of 4; of the prompts that `oracle` has, it finds 1 of 2 as that does."""
    assert inverted_judges(records_of({A: {"full": [1, 2, 1, 1], "oracle": [2, 1]}})) == set()
    assert inverted_judges(records_of({A: {"full": [1, 1, 2, 2], "oracle": [1, 2]}})) == {(A, "texture")}


def test_a_crossed_ceiling_is_compared_under_the_first_prior():
    records = records_of({A: {"full@x": [1, 2], "full@y": [1, 1], "oracle": [1, 2]}})
    assert inverted_judges(records) == set()
    assert inverted_judges(records_of({A: {"full@x": [1, 1], "full@y": [2, 2], "oracle": [1, 2]}})) == {(A, "texture")}


def test_marks_stand_at_each_judge_and_track():
    table = pd.DataFrame({"track": ["texture", "geometry"], "judge": [A, A], "other": [B, B]})
    marked = mark_inverted(table, {(B, "texture"), (A, "geometry")})
    assert marked["ceiling_inverted"].tolist() == [False, True]
    assert marked["other_ceiling_inverted"].tolist() == [True, False]
    assert list(mark_inverted(pd.DataFrame({"method": ["full"]}), {(B, "texture")})) == ["method"]
