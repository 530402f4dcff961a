"""Confidence intervals and tests.

Rates have Wilson intervals: at n = 12, or near 0 and 1, a percentile bootstrap is far too narrow. Means have a
percentile bootstrap over prompts. Differences between two methods on the same prompts have a paired permutation test:
exact where all sign patterns can be listed, with seeded random sign flips otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999  # scipy lists all 2^n sign patterns where 2^n is not more than this (n <= 13)
SEED = 2307_04859


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def wilson(hits: int | float, n: int) -> Interval:
    """Return a rate with its Wilson score interval (Wilson 1927).

    Written out because scipy's takes whole numbers of hits only.

    Args:
        hits: number of hits; fractional where an outcome is itself a mean, such as that of a prompt's seeds.
        n: number of outcomes.

    Returns:
        NaN where `n` is 0.

    Example:
        >>> rate = wilson(6, 12)
        >>> f"{rate.value:.3f} ({rate.low:.3f}, {rate.high:.3f})"
        '0.500 (0.254, 0.746)'
    """
    if n == 0:
        return Interval(np.nan, np.nan, np.nan)
    rate, z2_over_n = hits / n, stats.norm.ppf((1 + CONFIDENCE) / 2) ** 2 / n
    middle = (rate + z2_over_n / 2) / (1 + z2_over_n)
    half = np.sqrt(z2_over_n * (rate * (1 - rate) + z2_over_n / 4)) / (1 + z2_over_n)
    return Interval(rate, float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def bootstrap_mean(values: Float[np.ndarray, " n"]) -> Interval:
    """Return a mean with its percentile bootstrap interval (seeded).

    Args:
        values: one for each prompt.

    Returns:
        NaN where there are no values; an interval without width where all are equal.

    Example:
        >>> bootstrap_mean(np.array([2.0, 2.0]))
        Interval(value=2.0, low=2.0, high=2.0)
    """
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
    """Return the two-sided p-value of a paired permutation test.

    The null hypothesis is that each difference is as likely as its negative.

    Args:
        differences: between two methods, one for each prompt.

    Returns:
        NaN where there are no differences; 1 where all are 0, or there is only one.

    Example:
        >>> paired_p(np.array([1.0, 2.0, 3.0]))  # 2 of the 8 sign patterns are as extreme
        0.25
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
    """Return Kendall's tau-b between two judges' scores of the same methods; NaN where one of them is constant.

    Example:
        >>> rank_agreement(np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.3, 0.4]))
        1.0
    """
    if len(first) < 2:
        return float("nan")
    result = cast(Any, stats.kendalltau(first, second))  # scipy's annotations know no fields of it
    return float(result.statistic)
