"""How far judges agree, and which of them can be trusted as a scale.

Agreement is Kendall's tau-b between two judges' means of the methods, on the avatars that all of these methods have,
with a percentile bootstrap over prompts. Floors and ceilings are easy to rank, so it is computed without them, too.

A judge's ceiling is inverted in a track where it finds fewer of the ground-truth heads than of the baseline's avatars
of the same prompts: a higher score is then no sign of a better avatar. Every table that shows it carries a mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import combinations
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from jaxtyping import Float

from avatargen.config.crossing import split_name
from eval.columns import PROMPT, UNIT, column, groups, where
from eval.families import is_control
from eval.paired import baseline_of, with_metrics
from eval.statistics import CONFIDENCE, SEED, rank_agreement
from eval.tables import INVERTED, OTHER_INVERTED

METRICS = ("r_at_1", "mrr", "margin", "clip_score")
RESAMPLES = 1999


class Agreement(NamedTuple):
    """A row of ``judges.csv``: two judges on `n` prompts of `n_methods` methods, all or those that are no controls."""

    track: str
    metric: str
    judge: str
    other: str
    methods: str
    n_methods: int
    n: int
    kendall_tau: float
    kendall_tau_low: float
    kendall_tau_high: float


def judge_agreement(records: pd.DataFrame) -> pd.DataFrame:
    """Return how alike two judges rank the methods.

    Args:
        records: columns as in :class:`eval.records.Record`.
    """
    rows: list[Agreement] = []
    scores, judges = with_metrics(records), column(records, "judge").unique()
    for track in column(records, "track").unique():
        for one, other in combinations(judges, 2):
            part = scores.loc[(scores["track"] == track) & scores["judge"].isin([one, other]), :]
            for metric in METRICS:
                rows += _rows(part, track, metric, one, other)
    return pd.DataFrame(rows, columns=Agreement._fields)


def _rows(scores: pd.DataFrame, track: str, metric: str, one: str, other: str) -> Iterator[Agreement]:
    tables = [
        where(scores, judge=judge).pivot_table(index=UNIT, columns="method", values=metric, aggfunc="mean", sort=False)
        for judge in (one, other)
    ]
    both = [method for method in tables[0].columns if method in tables[1].columns]
    for name, methods in (("all", both), ("no controls", [method for method in both if not is_control(method)])):
        values = _common(tables, methods)
        low, high = _interval(*values)
        tau = float(rank_agreement(*(prompts.mean(axis=0) for prompts in values))) if len(values[0]) else np.nan
        yield Agreement(track, metric, one, other, name, len(methods), len(values[0]), tau, low, high)


def _common(tables: Sequence[pd.DataFrame], methods: list[str]) -> list[Float[np.ndarray, "prompts methods"]]:
    """Return each judge's scores by prompt and method, over the avatars that all methods have under both judges."""
    complete = [table.loc[:, methods].dropna() for table in tables]
    units = complete[0].index.intersection(complete[1].index, sort=False)
    prompts = [cast(pd.DataFrame, table.loc[units].groupby(level=PROMPT, sort=False).mean()) for table in complete]
    return [table.to_numpy(np.float64) for table in prompts]


def _interval(
    first: Float[np.ndarray, "prompts methods"], second: Float[np.ndarray, "prompts methods"]
) -> tuple[float, float]:
    """Return the agreement's percentile bootstrap interval over prompts; resamples without an order do not count."""
    count, methods = first.shape
    if count < 2 or methods < 2:
        return np.nan, np.nan
    draws = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count
    found = rank_agreement(draws @ first, draws @ second)
    found = found[np.isfinite(found)]
    if not len(found):
        return np.nan, np.nan
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def inverted_judges(records: pd.DataFrame, baseline: str = "full") -> set[tuple[str, str]]:
    """Return the judges, each with a track, that find fewer of the ground-truth heads than of the baseline's avatars.

    R@1 is compared on the prompts and seeds that both have.

    Args:
        records: columns as in :class:`eval.records.Record`.
        baseline: name of a method.

    Returns:
        None where there is no ``oracle`` or no baseline.
    """
    found = set()
    hits = records.assign(hit=(records["rank"] == 1).astype(float))
    runs = [str(run) for run in column(records, "method").unique()]
    ceilings = [run for run in runs if split_name(run)[0] == "oracle"]
    for (judge, track), group in groups(hits, "judge", "track"):
        table = group.pivot_table(index=UNIT, columns="method", values="hit", aggfunc="mean", sort=False)
        for ceiling in ceilings:
            pair = [ceiling, baseline_of(ceiling, baseline, runs)]
            if not {*pair} <= {*table.columns}:
                continue
            truth, made = table.loc[:, pair].dropna().mean()
            if truth < made:
                found.add((str(judge), str(track)))
    return found


def mark_inverted(table: pd.DataFrame, inverted: Set[tuple[str, str]]) -> pd.DataFrame:
    """Return a table with the column INVERTED, where it shows judges; rows without a track are of the texture track.

    Example:
        >>> table = pd.DataFrame({"judge": ["mini", "guide"], "track": ["texture", "texture"]})
        >>> mark_inverted(table, {("guide", "texture")})["ceiling_inverted"].tolist()
        [False, True]
    """
    if "judge" not in table:
        return table
    tracks = table["track"] if "track" in table else ["texture"] * len(table)
    names = {"judge": INVERTED, "other": OTHER_INVERTED} if "other" in table else {"judge": INVERTED}
    marks = {
        mark: [(judge, track) in inverted for judge, track in zip(table[name], tracks, strict=True)]
        for name, mark in names.items()
    }
    return table.assign(**marks)
