"""Differences to the baseline, families of tests and what a number of prompts can show, by hand."""

import numpy as np
import pandas as pd
import pytest

from eval.families import q_values
from eval.paired import METRICS, paired
from eval.power import PROMPTS, power, shown_effect
from eval.statistics import FLOOR, paired_p

NO_TRUTHS = pd.DataFrame(columns=["method"])


def records_of(ranks: dict[str, list[int]], margins: dict[str, list[float]] | None = None, seeds: int = 1):
    """Records by method of ranks for each prompt, or for each prompt and seed."""
    lines = [
        {
            **{"method": method, "list": "l", "item": f"p{place // seeds}", "seed": place % seeds},
            **{"judge": "one", "track": "texture", "rank": rank, "clip_score": 1 / rank},
            "margin": margins[method][place] if margins else 2.0 - rank,
        }
        for method, values in ranks.items()
        for place, rank in enumerate(values)
    ]
    return pd.DataFrame(lines)


def by_metric(records, method="other"):
    table = paired(records, NO_TRUTHS, "full")
    return table[table["method"] == method].set_index("metric")


def test_paired_differences_by_hand():
    table = by_metric(records_of({"full": [1, 1, 1, 2], "other": [1, 3, 4, 2]}))
    assert list(table.index) == list(METRICS) and set(table["baseline"]) == {"full"}
    rank = table.loc["mean_rank"]
    assert (rank["n"], rank["n_differ"], rank["difference"]) == (4, 2, (0 + 2 + 3 + 0) / 4)
    assert rank["sd"] == pytest.approx(np.std([0, 2, 3, 0], ddof=1))
    assert (rank["p"], rank["least_p"]) == (0.5, 0.5)
    differences = table["difference"]
    assert differences["r_at_1"] == -0.5 and differences["mrr"] == pytest.approx((1 / 3 - 1 + 1 / 4 - 1) / 4)
    assert differences["margin"] == pytest.approx((-2 - 3) / 4)


def test_a_prompt_without_rivals_has_no_margin():
    margins = {"full": [0.2, float("nan")], "other": [0.1, float("nan")]}
    table = by_metric(records_of({"full": [1, 1], "other": [1, 1]}, margins))
    assert (table.loc["margin", "n"], table.loc["margin", "difference"]) == (1, pytest.approx(-0.1))


def test_seeds_are_averaged_before_prompts_are_compared():
    table = by_metric(records_of({"full": [1, 3], "other": [1, 1]}, seeds=2))
    assert (table.loc["r_at_1", "n"], table.loc["r_at_1", "difference"]) == (1, 0.5)


def test_only_seeds_that_both_methods_have_are_compared():
    table = by_metric(records_of({"full": [1, 3], "other": [1]}, seeds=2))
    assert (table.loc["r_at_1", "n"], table.loc["r_at_1", "difference"]) == (1, 0.0)


def test_distances_are_paired_under_the_judge_truth():
    lines = [
        {"method": m, "list": "l", "item": i, "seed": 0, "geometry_mm": d, "expression_error": 1.0, "colour_error": d}
        for m, distances in {"full": (1.0, 2.0), "other": (3.0, 3.0)}.items()
        for i, d in zip("ab", distances, strict=True)
    ]
    table = paired(records_of({"full": [1, 1], "other": [1, 1]}), pd.DataFrame(lines), "full")
    found = table[table["judge"] == "truth"].set_index("metric")
    assert found["difference"].to_dict() == {"geometry_mm": 1.5, "expression_error": 0.0, "colour_error": 1.5}
    assert found["track"].to_dict()["colour_error"] == "texture" and found.loc["expression_error", "n_differ"] == 0


def test_more_prompts_than_can_be_listed_have_a_floor():
    records = records_of({"full": [1] * 21, "other": [2] * 21})
    table = by_metric(records)
    assert table["p_at_floor"].all() and set(table["p"]) == {FLOOR}
    assert not by_metric(records[records["item"] != "p0"])["p_at_floor"].any()


def test_controls_are_corrected_apart_from_methods():
    """A ceiling that is known to differ must not make the q-values of methods smaller."""
    ranks = {"full": [1] * 8, "other": [2, 2, 2, 2, 2, 1, 1, 1], "oracle": [9] * 8, "template": [9] * 8}
    table = paired(records_of(ranks), NO_TRUTHS, "full")
    families = table.groupby("method")["family"].unique().map(list).to_dict()
    assert families == {"oracle": ["controls"], "other": ["methods"], "template": ["controls"]}
    alone = paired(records_of({name: ranks[name] for name in ("full", "other")}), NO_TRUTHS, "full")
    assert table.loc[table["method"] == "other", "q"].tolist() == alone["q"].tolist() == [0.0625] * 5


def test_each_family_has_its_correction():
    table = pd.DataFrame({"p": [0.01, 0.03, 0.02, 0.01, 0.04], "family": [*["headline"] * 3, "claims", "claims"]})
    assert q_values(table).tolist() == pytest.approx([0.03, 0.04, 0.04, 0.02, 0.04])


def test_effects_match_published_tables():
    """A two-sided paired t-test at 0.05 with power 0.8 needs 199, 34 and 15 pairs for d = 0.2, 0.5 and 0.8 (Cohen)."""
    for n, effect in ((199, 0.2), (34, 0.5), (15, 0.8)):
        assert shown_effect(n) <= effect < shown_effect(n - 1)


@pytest.mark.parametrize(("n", "draws"), [(12, 2000), (24, 800)])
def test_the_permutation_test_has_the_stated_power(n, draws):
    """Simulated; within four standard errors and the t-test's small advantage."""
    normal = np.random.default_rng(5).normal(shown_effect(n), 1, (draws, n))
    found = np.mean([paired_p(differences) < 0.05 for differences in normal])
    assert found == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / draws) + 0.01)


def test_power_is_of_the_median_method_that_differs():
    ranks = {"full": [1, 1, 1], "a": [1, 2, 3], "b": [1, 3, 5], "c": [1, 4, 7], "same": [1, 1, 1], "oracle": [1, 1, 99]}
    table = power(paired(records_of(ranks), NO_TRUTHS, "full")).set_index("metric")
    row = table.loc["mean_rank"]
    assert (row["judge"], row["track"], row["n_methods"], row["sd"]) == ("one", "texture", 3, pytest.approx(2.0))
    assert [row[f"least_{n}"] for n in PROMPTS] == pytest.approx([2 * shown_effect(n) for n in PROMPTS])
