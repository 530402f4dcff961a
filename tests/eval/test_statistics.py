"""Intervals and tests, against closed forms."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from eval.statistics import bootstrap_mean, paired_p, rank_agreement, wilson

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


def test_random_sign_flips_repeat():
    differences = np.random.default_rng(1).normal(0.3, 1, size=40)
    assert 0 < paired_p(differences) == paired_p(differences) < 0.2


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
    assert np.isnan(rank_agreement(np.ones(1), np.ones(1)))
