"""From what diagnostics found to tables: ``measures_records``, ``measures`` and ``measure_errors``.

What a diagnostic shows is ranked against the texture pool of its prompt, with the code of the texture track, and gives
the measures of SCORED for each judge.

Every avatar that was asked for has a line for every measure that the diagnostic found on any avatar. An avatar that
failed counts as everywhere: no hit, a CLIP score of 0, a margin of -1; its other measures are not defined. Of an
avatar on which the diagnostic raised an error nothing is known: all its values are empty, and ``measure_errors`` says
why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from avatargen.config.errors import Problems
from avatargen.io.manifest import Row
from eval.captions import CaptionEmbeddings
from eval.columns import PROMPT, column, groups, means
from eval.diagnostics.files import Found, read_embeddings, read_found
from eval.load import judges_of
from eval.pools import Pool
from eval.records import FAILED_MARGIN
from eval.retrieval import retrieve
from eval.statistics import Interval, bootstrap_mean, wilson
from eval.subsets import Subsets, each_subset

NAMES = RECORDS, MEASURES, ERRORS = "measures_records", "measures", "measure_errors"
"""Names of the tables."""
TRACK = "texture"
"""The track whose pools rank what diagnostics show."""
RATE = "r_at_1"
SCORED = {RATE: 0.0, "margin": FAILED_MARGIN, "clip_score": 0.0}
"""Measures of what judges are shown, with the values of an avatar that failed."""

Key = tuple[str, str, str]
"""Condition, measure, and judge, which is empty for a measure that needs none."""


class Record(NamedTuple):
    """A line of ``measures_records.csv``: one measure of one avatar; `value` is NaN where it is not defined."""

    method: str
    list: str
    item: str
    seed: int
    subset: str
    diagnostic: str
    condition: str
    measure: str
    judge: str
    value: float


class Mean(NamedTuple):
    """A line of ``measures.csv``: the mean over prompts, whose seeds are averaged first.

    Attributes:
        n: prompts with a value.
        n_missing: avatars without one.
        value, low, high: mean and 95 % interval: Wilson's for R@1, else a percentile bootstrap.
    """

    method: str
    subset: str
    diagnostic: str
    condition: str
    measure: str
    judge: str
    n: int
    n_missing: int
    value: float
    low: float
    high: float


class MeasureError(NamedTuple):
    """A line of ``measure_errors.csv``: a diagnostic that raised an error on an avatar."""

    method: str
    list: str
    item: str
    seed: int
    prompt: str
    diagnostic: str
    message: str


@dataclass(frozen=True)
class _Measured:
    """What is known of one avatar under one diagnostic."""

    row: Row
    judges: Sequence[str]
    error: str
    values: Mapping[Key, float]


def collect_measures(
    rows: Sequence[Row],
    diagnostics: Sequence[str],
    pools: Mapping[str, Pool],
    captions: Mapping[str, CaptionEmbeddings],
    root: Path,
    guides: Mapping[str, Sequence[str]],
    flat: Collection[str] = (),
) -> dict[str, pd.DataFrame]:
    """Return the tables, by name.

    Args:
        rows: of all manifests, in the order of the experiment's methods.
        diagnostics: names.
        pools, captions, root, guides: as of :func:`eval.collect.collect`.
        flat: methods whose avatars have no surface; nothing measures them.

    Raises:
        InputError: an avatar was not measured; all problems.
    """
    problems, subsets = Problems(), Subsets.of(rows)
    records, errors = [], []
    for name in diagnostics:
        found = []
        for row in (row for row in rows if row.method not in flat):
            judges = {judge: captions[judge] for judge in judges_of(row, captions, guides)}
            one = problems.of(partial(_read, name, row, judges, pools[TRACK], root))
            found += [one] if one else []
        records += _records(name, found, subsets)
        errors += [MeasureError(*_about(one.row), one.row.prompt, name, one.error) for one in found if one.error]
    problems.check()
    table = pd.DataFrame(records, columns=list(Record._fields))
    listed = pd.DataFrame(errors, columns=list(MeasureError._fields))
    return {RECORDS: table, MEASURES: average(table), ERRORS: listed}


def average(records: pd.DataFrame) -> pd.DataFrame:
    """Return means over prompts with their intervals, see :class:`Mean`.

    Args:
        records: columns as in :class:`Record`.

    Example:
        >>> lines = [("full", "few", item, seed, "all", "shape", "", "size_mm", "", value)
        ...          for item, seed, value in [("a", 0, 1.0), ("a", 1, 3.0), ("b", 0, 5.0), ("b", 1, float("nan"))]]
        >>> average(pd.DataFrame(lines, columns=list(Record._fields)))[["n", "n_missing", "value"]].values.tolist()
        [[2.0, 1.0, 3.5]]
    """
    rows = []
    for (subset, diagnostic, condition, measure, judge), part in groups(
        each_subset(records), "subset", "diagnostic", "condition", "measure", "judge"
    ):
        for (method,), group in groups(part, "method"):
            values = means(group, "value", by=PROMPT).dropna().to_numpy(np.float64)
            interval = _interval(measure, values)
            missing = int(column(group, "value").isna().sum())
            about = (method, subset, diagnostic, condition, measure, judge, len(values), missing)
            rows.append(Mean(*about, interval.value, interval.low, interval.high))
    return pd.DataFrame(rows, columns=list(Mean._fields))


def _interval(measure: str, values: np.ndarray) -> Interval:
    return wilson(float(values.sum()), len(values)) if measure == RATE else bootstrap_mean(values)


def _read(name: str, row: Row, judges: Mapping[str, CaptionEmbeddings], pool: Pool, root: Path) -> _Measured:
    """Return what is known of an avatar; raise InputError if the diagnostic has not measured it."""
    if row.status != "ok":
        return _Measured(row, list(judges), "", {})
    folder = root / row.folder
    found = read_found(folder, name)
    values: dict[Key, float] = {(condition, measure, ""): value for condition, measure, value in found.measures}
    for judge, captions in judges.items() if found.shown else ():
        conditions = _by_condition(found, read_embeddings(folder, name, judge))
        for condition, images in conditions.items():
            scores = _scores(images, captions.pools[TRACK], pool, row)
            values |= {(condition, measure, judge): value for measure, value in scores.items()}
    return _Measured(row, list(judges), found.error, values)


def _by_condition(found: Found, embeddings: Float[np.ndarray, "N D"]) -> dict[str, Float[np.ndarray, "V D"]]:
    """Return the embeddings of each condition's views."""
    ends = np.cumsum([views for _, views in found.shown])
    parts = np.split(embeddings, ends[:-1])
    return {condition: part for (condition, _), part in zip(found.shown, parts, strict=True)}


def _scores(
    images: Float[np.ndarray, "V D"], captions: Float[np.ndarray, "N D"], pool: Pool, row: Row
) -> dict[str, float]:
    """Return the measures of SCORED; embeddings that are not finite count as a failure."""
    if not np.isfinite(images).all():
        return dict(SCORED)
    seen = retrieve(images, captions, pool.own[row.unit], pool.rivals[row.unit])
    return {RATE: float(seen.rank == 1), "margin": seen.margin, "clip_score": seen.clip_score}


def _records(name: str, found: Sequence[_Measured], subsets: Subsets) -> Iterator[Record]:
    """Yield a line for every avatar and every measure that a diagnostic found on any avatar."""
    keys = dict.fromkeys(key for one in found for key in one.values)
    for one in found:
        subset = " ".join(subsets.names(one.row))
        for condition, measure, judge in keys:
            if not judge or judge in one.judges:
                lost = SCORED[measure] if judge and one.row.status != "ok" else np.nan
                value = one.values.get((condition, measure, judge), lost)
                yield Record(*_about(one.row), subset, name, condition, measure, judge, value)


def _about(row: Row) -> tuple[str, str, str, int]:
    return (row.method, *row.unit)
