"""Intervals and tests; one binary or real outcome for each prompt and seed.

Rates get Wilson intervals: at n = 12, or near 0 and 1, a percentile bootstrap has no width to speak of.
Means get a percentile bootstrap over prompts. Differences between two methods on the same prompts get a
paired permutation test: exact where all sign patterns can be listed, otherwise seeded random sign flips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999  # scipy lists all 2^n sign patterns where 2^n is not more than this (n <= 13)
SEED = 2307_04859


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95% interval."""

    value: float
    low: float
    high: float


def wilson(hits: int | float, n: int) -> Interval:
    """A rate with its Wilson score interval (Wilson 1927); NaN where n is 0.

    Args:
        hits: of `n`; a fraction where what is counted is itself a mean, such as that of a prompt's seeds.
    """
    if n == 0:
        return Interval(np.nan, np.nan, np.nan)
    rate, z2_over_n = hits / n, stats.norm.ppf((1 + CONFIDENCE) / 2) ** 2 / n
    middle = (rate + z2_over_n / 2) / (1 + z2_over_n)
    half = np.sqrt(z2_over_n * (rate * (1 - rate) + z2_over_n / 4)) / (1 + z2_over_n)
    return Interval(rate, float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def bootstrap_mean(values: Float[np.ndarray, " n"]) -> Interval:
    """A mean with its percentile bootstrap interval over prompts (seeded); no width where n is 1."""
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean = float(values.mean())
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean)
    result = stats.bootstrap(
        (values,), np.mean, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="percentile", rng=SEED
    )
    low, high = result.confidence_interval
    return Interval(mean, float(low), float(high))


def paired_p(differences: Float[np.ndarray, " n"]) -> float:
    """Two-sided p of the null hypothesis that each prompt's difference is as likely as its negative.

    NaN where n is 0; 1 where no prompt differs, or there is only one.
    """
    if len(differences) == 0:
        return float("nan")
    if len(differences) == 1 or not differences.any():
        return 1.0
    result = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=RESAMPLES,
        vectorized=True,
        rng=SEED,
    )
    return float(result.pvalue)


def rank_agreement(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    """Kendall's tau-b between two judges' scores of the same methods; NaN where one of them is constant."""
    if len(first) < 2:
        return float("nan")
    return float(stats.kendalltau(first, second).statistic)
