"""Confidence intervals, tests and corrections for many tests.

Rates have Wilson intervals: at n = 12, or near 0 and 1, a percentile bootstrap is far too narrow. Means have a
percentile bootstrap over prompts. Differences between two methods on the same prompts have a paired permutation test:
it lists all sign patterns of up to EXACT prompts that differ, and draws seeded random ones beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999
SEED = 2307_04859
EXACT = 20
"""Most prompts that differ of which the paired test lists all sign patterns."""
FLOOR = 1 / (RESAMPLES + 1)
"""Least p-value of random sign patterns. The p-value is then at most this; no list of sign patterns gives it."""
SAME = 1e-12
"""Sums of differences are tied, and a difference is 0, within this fraction of the sum of their magnitudes."""


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

    The null hypothesis is that each difference is as likely as its negative: p is the fraction of the sign patterns
    whose sum is at least as far from 0. Differences of 0 change no sum and are left out. With more than EXACT others,
    p is (r + 1) / (N + 1) for the r of N = RESAMPLES random patterns (Phipson and Smyth 2010), and never below FLOOR.

    Args:
        differences: between two methods, one for each prompt.

    Returns:
        NaN where there are no differences; 1 where all are 0, or only one is not.

    Example:
        >>> paired_p(np.array([1.0, 2.0, 3.0, 0.0]))  # 2 of the 8 sign patterns are as extreme
        0.25
    """
    if len(differences) == 0:
        return float("nan")
    changed = differences[differs(differences)]
    if len(changed) == 0:
        return 1.0
    reach = abs(changed.sum()) - SAME * np.abs(changed).sum()
    if len(changed) <= EXACT:
        return float((np.abs(_sums_of_patterns(changed)) >= reach).mean())
    signs = np.random.default_rng(SEED).integers(0, 2, (RESAMPLES, len(changed)), dtype=np.int8) * 2 - 1
    return float(((np.abs(signs @ changed) >= reach).sum() + 1) / (RESAMPLES + 1))


def _sums_of_patterns(differences: Float[np.ndarray, " n"]) -> Float[np.ndarray, " patterns"]:
    """Return the sums under all sign patterns that leave the first sign; the others are their negatives."""
    sums = differences[:1]
    for difference in differences[1:]:
        sums = np.concatenate((sums + difference, sums - difference))
    return sums


def differs(differences: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Return whether each difference is more than the rounding of their sum.

    Example:
        >>> differs(np.array([0.5, 0.0, 1e-17])).tolist()
        [True, False, False]
    """
    return np.abs(differences) > SAME * np.abs(differences).sum()


def least_p(differences: Float[np.ndarray, " n"]) -> float:
    """Return the least p-value that :func:`paired_p` could give these differences, whatever their signs.

    It is 2 / 2^k where k prompts differ, since only two sign patterns are as extreme as equal signs; FLOOR at least,
    where patterns are drawn. It does not depend on the outcome: a test whose least p-value is not below the level
    could not have failed.

    Returns:
        1 where no prompt differs, or only one does.

    Example:
        >>> least_p(np.array([0.5, -1.0, 0.0, 2.0, 0.1, 0.1]))  # five prompts differ
        0.0625
    """
    count = int(differs(differences).sum())
    return min(1.0, 2.0 ** (1 - count)) if count <= EXACT else FLOOR


def benjamini_hochberg(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return q-values that bound the expected fraction of false discoveries (Benjamini and Hochberg 1995).

    Args:
        p: p-values of a family of tests; NaN stays NaN and does not count.

    Example:
        >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(3).tolist()
        [0.03, 0.04, 0.04]
    """
    known, q = np.isfinite(p), np.full(len(p), np.nan)
    q[known] = stats.false_discovery_control(p[known]) if known.any() else ()
    return q


def holm(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return corrected p-values that bound the probability of any false rejection (Holm 1979).

    Args:
        p: p-values of a family of tests; NaN stays NaN and does not count.

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)[: np.isfinite(p).sum()]  # NaN sorts last
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected


def rank_agreement(first: Float[np.ndarray, "*r n"], second: Float[np.ndarray, "*r n"]) -> Float[np.ndarray, "*r"]:
    """Return Kendall's tau-b between two judges' scores of the same methods.

    Args:
        first, second: scores of each method, one row for each resample if any; equal to 12 decimals is tied.

    Returns:
        NaN where one of them is constant, or there are fewer than two methods.

    Example:
        >>> float(rank_agreement(np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.3, 0.4])))
        1.0
    """
    one, other = np.triu_indices(first.shape[-1], 1)
    a, b = (np.sign(np.round(scores[..., one] - scores[..., other], 12)) for scores in (first, second))
    untied = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    agreeing = np.asarray((a * b).sum(axis=-1))
    return np.divide(agreeing, untied, out=np.full(agreeing.shape, np.nan), where=untied > 0)
