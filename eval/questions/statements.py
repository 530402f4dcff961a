"""Make statements of tables: pick values, compare them prompt by prompt, and say what was measured.

Values stand in a series indexed by (list, item, seed). A comparison uses the avatars that both sides have. Seeds of a
prompt are no independent outcomes, so they are averaged before intervals and tests, as in :mod:`eval.paired`. Where
nothing was measured, a series is empty and its statement says "not measured".
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from scipy.stats import binom

from eval.columns import PROMPT, UNIT, column, means, where
from eval.paired import with_metrics
from eval.questions.base import Evidence, Statement
from eval.statistics import Interval, bootstrap_mean, differs, least_p, paired_p, wilson

NOT_MEASURED = "not measured"


class Score(NamedTuple):
    """A headline score: column of tables, name for people, unit, decimals, sign of better, and track of a judge's."""

    column: str
    name: str
    unit: str
    decimals: int
    better: int
    track: str = ""

    def of(self, evidence: Evidence, method: str) -> pd.Series:
        """Return the score of a method's avatars by (list, item, seed)."""
        if self.track:
            return scores(evidence, "margin", method, self.track)
        return distances(evidence, self.column, method)


def values(table: pd.DataFrame, name: str, **chosen: object) -> pd.Series:
    """Return a column by (list, item, seed), of the rows that have the chosen values; the mean of several rows.

    Args:
        table: with the columns `list`, `item` and `seed`.
        name: of a column of numbers.
        chosen: columns and the value that each must have.

    Returns:
        Without the avatars whose value is NaN; empty where the table is empty or has no such column or rows.

    Example:
        >>> table = pd.DataFrame({"list": "a", "item": ["x", "y"], "seed": 0, "method": "full", "mm": [3.0, 4.0]})
        >>> values(table, "mm", method="full").tolist(), len(values(table, "mm", method="oracle"))
        ([3.0, 4.0], 0)
    """
    empty = pd.Series(dtype=float, index=pd.MultiIndex.from_tuples([], names=UNIT))
    if table.empty or not {name, *UNIT, *chosen} <= set(table.columns):
        return empty
    rows = where(table, **chosen).dropna(subset=[name])
    return means(rows, name, by=UNIT).astype(float) if len(rows) else empty


def scores(evidence: Evidence, metric: str, method: str, track: str, judge: str | None = None) -> pd.Series:
    """Return a metric of a judge by (list, item, seed).

    Args:
        evidence: of the experiment.
        metric: a name in :data:`eval.paired.METRICS`.
        method: name of the run.
        track: a name in :data:`eval.images.TRACKS`.
        judge: its name; by default the experiment's first.
    """
    if evidence.records.empty:
        return values(evidence.records, metric)
    judge = judge or evidence.experiment.judges[0]
    return values(with_metrics(evidence.records), metric, method=method, track=track, judge=judge)


def distances(evidence: Evidence, metric: str, method: str) -> pd.Series:
    """Return a distance to the ground truth by (list, item, seed): a column of ``truth_records``."""
    return values(evidence.truths, metric, method=method)


def measured(evidence: Evidence, diagnostic: str, measure: str, method: str, **chosen: object) -> pd.Series:
    """Return a measure of a diagnostic by (list, item, seed); the mean over what `chosen` leaves open.

    Args:
        evidence: of the experiment.
        diagnostic: its name.
        measure: its name.
        method: name of the run.
        chosen: `condition`, and for scored measures `judge`.
    """
    return values(evidence.measures, "value", diagnostic=diagnostic, measure=measure, method=method, **chosen)


def without_failures(evidence: Evidence, method: str, series: pd.Series) -> pd.Series:
    """Return values by (list, item, seed) without those of avatars that failed.

    A failure has the worst score under every condition, so no condition changes it: that is no sign of robustness.
    """
    records = evidence.records
    if records.empty or series.empty:
        return series
    lost = cast(pd.DataFrame, records.loc[(records["method"] == method) & (records["status"] != "ok"), UNIT])
    return series[~series.index.isin(pd.MultiIndex.from_frame(lost))]


def by_prompt(series: pd.Series) -> pd.Series:
    """Return the mean over the seeds of each prompt, by (list, item)."""
    return cast(pd.Series, series.groupby(level=PROMPT, sort=False).mean())


def average(series: pd.Series) -> Interval:
    """Return the mean over prompts with its 95 % bootstrap interval; NaN where nothing was measured."""
    return bootstrap_mean(by_prompt(series).to_numpy(np.float64))


def as_text(found: Interval, unit: str = "", decimals: int = 2) -> str:
    """Return a mean with its interval for people.

    Example:
        >>> as_text(Interval(3.71, 3.4, 4.0), "mm"), as_text(Interval(*[float("nan")] * 3))
        ('3.71 mm (3.40 to 4.00)', 'not measured')
    """
    if np.isnan(found.value):
        return NOT_MEASURED
    low, high = _number(found.low, decimals), _number(found.high, decimals)
    return f"{_with_unit(found.value, unit, decimals)} ({low} to {high})"


def compared(
    text: str,
    first: pd.Series,
    second: pd.Series | float,
    names: tuple[str, str],
    unit: str = "",
    decimals: int = 2,
    sign: int = -1,
    allowed: float = 0.0,
) -> Statement:
    """Return a statement that compares two series on the avatars that both have: first minus second.

    They may be two methods, two conditions of a method, or a method and a number.

    Args:
        text: the statement, such as "offsets bring extreme heads closer to the ground truth".
        first, second: by (list, item, seed), see :func:`values`; `second` may be a number.
        names: of both, for people.
        unit: of the values.
        decimals: of the figure.
        sign: -1 if the statement expects `first` to be smaller, 1 if larger.
        allowed: how far `first` may lie on the wrong side of `second`, for statements such as "not lower by more than
            0.05". The test, the difference and its interval are then about the distance to that bound.

    Example:
        >>> index = pd.MultiIndex.from_tuples([("a", f"prompt {i}", 0) for i in range(6)], names=UNIT)
        >>> near, far = (pd.Series([start + i for i in range(6)], index=index) for start in (1.0, 1.5))
        >>> found = compared("offsets help", near, far, ("with", "without"), "mm", decimals=1)
        >>> found.figure, found.n, found.p
        ('with 3.5 mm, without 4.0 mm (-0.5, -0.5 to -0.5)', 6, 0.03125)
    """
    other = second if isinstance(second, pd.Series) else pd.Series(float(second), index=first.index)
    both = pd.DataFrame({"first": first, "second": other}).dropna()
    if both.empty:
        return Statement(text, _missing(first, other, names), sign=sign)
    both = cast(pd.DataFrame, both.groupby(level=PROMPT, sort=False).mean())
    differences = (column(both, "first") - column(both, "second")).to_numpy(np.float64)
    tested, plain = differences + sign * allowed, bootstrap_mean(differences)
    found = bootstrap_mean(tested)
    sides = ", ".join(
        f"{name} {_with_unit(float(column(both, side).mean()), unit, decimals)}"
        for name, side in zip(names, ("first", "second"), strict=True)
    )
    spread = " to ".join(_number(bound, decimals) for bound in (plain.low, plain.high))
    limit = f"; allowed: {_number(-sign * allowed, decimals)}" if allowed else ""
    return Statement(
        text,
        f"{sides} ({_number(plain.value, decimals)}, {spread}{limit})",
        *(len(tested), int(differs(tested).sum()), found.value, found.low, found.high),
        p=paired_p(tested),
        least_p=least_p(tested),
        sign=sign,
    )


def seldom_lost(text: str, first: pd.Series, second: pd.Series, names: tuple[str, str], allowed: float) -> Statement:
    """Return a statement that `first` is lower than `second` for no more than a share of the prompts.

    For hits: on ten prompts that all agree, sign patterns would show that a rate fell by no more than any bound, though
    one prompt in four may lose its hit. This is the exact binomial test of the prompts that lose against `allowed`.

    Args:
        text: the statement, such as "baking does not lower R@1".
        first, second: rates by (list, item, seed).
        names: of both, for people.
        allowed: share of the prompts.

    Returns:
        Its difference is the allowed share less the one found, with the Wilson interval.

    Example:
        >>> index = pd.MultiIndex.from_tuples([("a", f"prompt {i}", 0) for i in range(60)], names=UNIT)
        >>> hits = pd.Series(1.0, index=index)
        >>> found = seldom_lost("no lower", hits, hits, ("baked", "decoded"), 0.1)
        >>> found.figure, round(found.p, 4)
        ('baked 1.000, decoded 1.000; lower for 0 of 60 prompts, allowed 10 %', 0.0036)
    """
    both = pd.DataFrame({"first": first, "second": second}).dropna()
    if both.empty:
        return Statement(text, _missing(first, second, names), sign=1)
    both = cast(pd.DataFrame, both.groupby(level=PROMPT, sort=False).mean())
    baked, plain = column(both, "first"), column(both, "second")
    n, lost = len(both), int((baked < plain).sum())
    rate = wilson(lost, n)
    tails = binom.cdf(lost, n, allowed), binom.sf(lost - 1, n, allowed)
    return Statement(
        text,
        f"{names[0]} {baked.mean():.3f}, {names[1]} {plain.mean():.3f}; lower for {lost} of {n} prompts, "
        f"allowed {100 * allowed:.0f} %",
        *(n, int((baked != plain).sum()), allowed - rate.value, allowed - rate.high, allowed - rate.low),
        p=min(1.0, 2 * float(min(tails))),
        least_p=min(1.0, 2 * float(min(binom.cdf(0, n, allowed), binom.sf(n - 1, n, allowed)))),
        sign=1,
    )


def _missing(first: pd.Series, second: pd.Series, names: tuple[str, str]) -> str:
    """Return what is not measured of two series that share no avatar."""
    empty = [name for name, series in zip(names, (first, second), strict=True) if series.empty]
    if not empty:
        return f"{NOT_MEASURED}: {names[0]} and {names[1]} share no prompt and seed"
    return f"{NOT_MEASURED}: {' and '.join(dict.fromkeys(empty))}"


def _with_unit(value: float, unit: str, decimals: int) -> str:
    return f"{_number(value, decimals)}{'' if unit in ('', '%') else ' '}{unit}"


def _number(value: float, decimals: int) -> str:
    """Return a number for people; what rounds to zero has no sign."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"
