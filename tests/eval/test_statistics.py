"""Intervals and tests, against closed forms."""

import time
from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, kendalltau, permutation_test

from eval import statistics
from eval.statistics import (
    FLOOR,
    benjamini_hochberg,
    bootstrap_mean,
    holm,
    least_p,
    paired_p,
    rank_agreement,
    wilson,
)

Z2 = 1.959963984540054**2


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 12, 0.0, Z2 / (12 + Z2)), (12, 12, 12 / (12 + Z2), 1.0), (0, 0, None, None)],
)
def test_wilson_at_the_ends(hits, n, low, high):
    rate = wilson(hits, n)
    if n == 0:
        assert np.isnan([rate.value, rate.low, rate.high]).all()
    else:
        assert (rate.low, rate.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high))


def test_wilson_matches_scipy_and_takes_fractions():
    for hits, n in ((0, 7), (3, 12), (12, 12)):
        known = binomtest(hits, n).proportion_ci(0.95, method="wilson")
        rate = wilson(hits, n)
        assert (rate.low, rate.high) == pytest.approx((known.low, known.high))
    assert wilson(2, 12).low < wilson(2.5, 12).low < wilson(3, 12).low


def test_wilson_in_the_middle():
    rate = wilson(6, 12)
    half = np.sqrt(Z2 * (0.25 / 12 + Z2 / (4 * 144))) / (1 + Z2 / 12)
    assert (rate.value, rate.low, rate.high) == (0.5, pytest.approx(0.5 - half), pytest.approx(0.5 + half))


@pytest.mark.parametrize(
    ("differences", "p"), [([1.0, 2.0, 3.0], 2 / 8), ([1.0, -1.0, 0.0], 1.0), ([0.0, 0.0], 1.0), ([2.0], 1.0)]
)
def test_paired_test_by_hand(differences, p):
    assert paired_p(np.array(differences)) == pytest.approx(p)


def test_paired_test_lists_every_sign_pattern():
    differences = np.array([0.4, -0.1, 0.3, 0.25, 0.9, -0.05])
    sums = np.array([np.dot(signs, differences) for signs in product((1, -1), repeat=6)])
    naive = 2 * min((sums >= differences.sum() - 1e-12).mean(), (sums <= differences.sum() + 1e-12).mean())
    assert paired_p(differences) == pytest.approx(min(1.0, naive))


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_ties_do_not_depend_on_rounding(scale):
    """0.1 + 0.2 - 0.3 is 5.6e-17: as far from 0 as a sum of 0, and less than every other sum."""
    assert paired_p(scale * np.array([0.1, 0.2, -0.3])) == 1.0
    assert paired_p(scale * np.array([0.1, 0.2, 0.3, 0.3])) == 2 / 16
    assert paired_p(scale * np.array([0.1, 0.2, 0.3, -0.3])) == 12 / 16  # 4 of the sums are 0.1 or -0.1


def test_prompts_that_do_not_differ_leave_p_unchanged():
    differences = np.array([0.3, 0.1, 0.25, -0.05, 0.2])
    padded = np.concatenate((np.zeros(30), differences, [1e-17]))
    assert paired_p(padded) == paired_p(differences) == 4 / 32


@pytest.mark.parametrize("n", [2, 7, 13])
def test_paired_test_matches_scipy(n):
    for seed in range(5):
        differences = np.random.default_rng(seed).normal(0.4, 1, n)
        known = permutation_test(
            (differences, 0 * differences),
            lambda a, b, axis: np.mean(a - b, axis=axis),
            permutation_type="samples",
            n_resamples=np.inf,
            vectorized=True,
        )
        assert paired_p(differences) == pytest.approx(known.pvalue, rel=1e-12)


def test_paired_test_is_exact_and_fast_up_to_20_prompts():
    differences = np.full(20, 0.1)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert paired_p(differences) == 2 / 2**20
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05
    differences[0] *= -1  # one sign against: 2 * (1 + 20) patterns are as extreme
    assert paired_p(differences) == 2 * 21 / 2**20


def test_sampled_p_is_near_the_exact_one(monkeypatch):
    differences = np.random.default_rng(4).normal(0.35, 1, size=18)
    exact = paired_p(differences)
    monkeypatch.setattr(statistics, "EXACT", 10)
    sampled = paired_p(differences)
    assert exact != sampled == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999))


def test_sampled_p_is_never_below_its_floor():
    assert paired_p(np.full(21, 0.1)) == paired_p(np.full(48, 0.1)) == FLOOR == 0.0001


def test_random_sign_flips_repeat():
    differences = np.random.default_rng(1).normal(0.3, 1, size=40)
    assert 0 < paired_p(differences) == paired_p(differences) < 0.2


@pytest.mark.parametrize("size", [1, 2, 5, 6, 9])
def test_no_signs_give_less_than_the_least_p(size):
    magnitudes = np.random.default_rng(size).uniform(0.1, 1, size)
    found = [paired_p(magnitudes * np.array(signs)) for signs in product((1, -1), repeat=size)]
    assert min(found) == least_p(np.append(magnitudes, 0.0)) == min(1.0, 2 / 2**size)


def test_least_p_at_the_ends():
    assert least_p(np.zeros(12)) == least_p(np.array([])) == 1.0
    assert least_p(np.ones(20)) == 2.0**-19 and least_p(np.ones(21)) == FLOOR


BH_1995 = [
    0.0001,
    0.0004,
    0.0019,
    0.0095,
    0.0201,
    0.0278,
    0.0298,
    0.0344,
    0.0459,
    0.324,
    0.4262,
    0.5719,
    0.6528,
    0.759,
    1,
]
"""The p-values of Benjamini and Hochberg 1995, section 4.2: their procedure rejects four at 0.05, Holm's three."""


def test_benjamini_hochberg_by_hand():
    q = benjamini_hochberg(np.array(BH_1995))
    assert q[:4] == pytest.approx([15 * 0.0001, 15 * 0.0004 / 2, 15 * 0.0019 / 3, 15 * 0.0095 / 4])
    assert (q < 0.05).sum() == 4 and q[5] == q[6] == pytest.approx(15 * 0.0298 / 7)  # the 7th bounds the 6th
    assert benjamini_hochberg(np.array([0.04, np.nan, 0.01])).tolist() == pytest.approx(
        [0.04, np.nan, 0.02], nan_ok=True
    )


def test_holm_by_hand():
    corrected = holm(np.array(BH_1995))
    assert corrected[:4] == pytest.approx([15 * 0.0001, 14 * 0.0004, 13 * 0.0019, 12 * 0.0095])
    assert (corrected < 0.05).sum() == 3 and corrected[-1] == 1.0
    assert holm(np.array([0.03, 0.02, np.nan])).tolist() == pytest.approx([0.04, 0.04, np.nan], nan_ok=True)


@pytest.mark.parametrize("correction", [benjamini_hochberg, holm])
def test_corrections_leave_a_lone_test_and_the_largest_p(correction):
    assert correction(np.array([0.03])).tolist() == [0.03]
    assert correction(np.array([0.001, 0.045, 0.002]))[1] == pytest.approx(0.045)
    assert len(correction(np.array([]))) == 0


def test_bootstrap_covers_the_mean_and_repeats():
    values = np.random.default_rng(2).normal(size=30)
    interval = bootstrap_mean(values)
    assert interval.low < values.mean() < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(30), rel=0.1)
    assert interval == bootstrap_mean(values)
    assert bootstrap_mean(np.ones(4)).high == 1.0


def test_agreement_of_judges():
    ascending = np.arange(4.0)
    assert rank_agreement(ascending, ascending) == pytest.approx(1)
    assert rank_agreement(ascending, -ascending) == pytest.approx(-1)
    assert np.isnan(rank_agreement(np.ones(1), np.ones(1))) and np.isnan(rank_agreement(ascending, np.ones(4)))


def test_agreement_matches_scipy_with_ties_for_each_resample():
    first, second = np.random.default_rng(3).integers(0, 5, (2, 6, 9)) / 10
    known = [kendalltau(*pair).statistic for pair in zip(first, second, strict=True)]
    assert rank_agreement(first, second).tolist() == pytest.approx(known)
