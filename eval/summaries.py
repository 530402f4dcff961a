"""From records to summary tables: what is averaged over what, with which confidence interval.

Seeds of a prompt are no independent outcomes (of `template` and `oracle` they are the same avatar), so they are
averaged before intervals and tests are computed over prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from avatargen.config.crossing import split_name
from avatargen.io.manifest import Row
from eval.columns import column, groups, means, numbers, where
from eval.findings import FINDINGS
from eval.images import TRACKS
from eval.records import check_protocols
from eval.statistics import Interval, bootstrap_mean, paired_p, rank_agreement, wilson

UNIT = ["list", "item", "seed"]
PROMPT = ["list", "item"]
TRUTH_TRACKS = {"geometry_mm": "geometry", "expression_error": "geometry", "colour_error": "texture"}
"""The track that each distance to the ground truth belongs to."""


class ClipR(NamedTuple):
    """A row of ``clip_r.csv``; `_low` and `_high` bound 95 % intervals, `_baked` is the exported texture's."""

    method: str
    judge: str
    track: str
    n: int
    n_failed: int
    pool: int
    chance: float
    r_at_1: float
    r_at_1_low: float
    r_at_1_high: float
    r_at_5: float
    r_at_1_views: float
    mean_rank: float
    mean_rank_low: float
    mean_rank_high: float
    clip_score: float
    clip_score_low: float
    clip_score_high: float
    r_at_1_baked: float
    clip_score_baked: float
    pool_name: str
    protocol: str


class Paired(NamedTuple):
    """A row of ``paired.csv``: method minus baseline; `n` counts prompts."""

    method: str
    baseline: str
    judge: str
    track: str
    metric: str
    n: int
    difference: float
    low: float
    high: float
    p: float


class Truth(NamedTuple):
    """A row of ``truth.csv``, in mm but for the colour error."""

    method: str
    n: int
    n_failed: int
    geometry_mm_mean: float
    geometry_mm_low: float
    geometry_mm_high: float
    geometry_mm_p95: float
    expression_error: float
    colour_error: float


class Agreement(NamedTuple):
    """A row of ``judges.csv``."""

    track: str
    metric: str
    judge: str
    other: str
    n_methods: int
    kendall_tau: float


class Cost(NamedTuple):
    """A row of ``cost.csv``; NaN where the cost is not known."""

    method: str
    n: int
    n_failed: int
    seconds_mean: float
    seconds_median: float
    seconds_total: float
    peak_memory_mb_max: float


BAKED_GAP = (
    "method",
    "judge",
    "n",
    "r_at_1",
    "r_at_1_baked",
    "r_at_1_gap",
    "clip_score",
    "clip_score_baked",
    "clip_score_gap",
)
FAILURES = ("method", "list", "item", "seed", "prompt", "status", "message", "folder")


def clip_r(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row of CLIP-R scores for each method, judge and track; methods in the order of the records.

    R@1 has a Wilson interval over prompts, means have bootstrap intervals.

    Args:
        records: columns as in :class:`eval.records.Record`.

    Raises:
        ProtocolError: a judge and track have more than one protocol.
    """
    check_protocols(records)
    rows = [_clip_r_row(group) for _, group in groups(records, "method", "judge", "track")]
    return pd.DataFrame(rows, columns=ClipR._fields)


def _clip_r_row(group: pd.DataFrame) -> ClipR:
    first, ranks, baked = group.iloc[0], column(group, "rank"), column(group, "rank_baked").dropna()
    hits = means(group.assign(hit=ranks == 1), "hit", by=PROMPT)
    rate = wilson(float(hits.sum()), len(hits))
    rank, score = (_mean_over_prompts(group, name) for name in ("rank", "clip_score"))
    return ClipR(
        method=first["method"],
        judge=first["judge"],
        track=first["track"],
        n=len(group),
        n_failed=_failed(group),
        pool=first["pool_size"],
        chance=1 / first["pool_size"],
        **_bounds("r_at_1", rate),
        r_at_5=(ranks <= 5).mean(),
        r_at_1_views=column(group, "view_hits").mean(),
        **_bounds("mean_rank", rank),
        **_bounds("clip_score", score),
        r_at_1_baked=(baked == 1).mean() if len(baked) else np.nan,
        clip_score_baked=column(group, "clip_score_baked").mean(),
        pool_name=first["pool"],
        protocol=first["protocol"],
    )


def _bounds(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def paired(records: pd.DataFrame, truths: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return differences of each method to the baseline on the same prompts and seeds; see `baseline_of`.

    Args:
        records: columns as in :class:`eval.records.Record`.
        truths: distances to the ground truth, see :func:`eval.tabulate.truth_records`; they stand under the judge
            ``truth``.
        baseline: name of a method.
    """
    scores = records.assign(r_at_1=(records["rank"] == 1).astype(float), mean_rank=records["rank"].astype(float))
    rows: list[Paired] = []
    for (judge, track), group in groups(scores, "judge", "track"):
        for metric in ("r_at_1", "mean_rank", "clip_score"):
            rows += _paired_rows(group, metric, judge, track, baseline)
    for metric, track in TRUTH_TRACKS.items() if len(truths) else ():
        rows += _paired_rows(truths, metric, "truth", track, baseline)
    return pd.DataFrame(rows, columns=Paired._fields)


def _paired_rows(group: pd.DataFrame, metric: str, judge: str, track: str, baseline: str) -> Iterator[Paired]:
    table = group.pivot_table(index=UNIT, columns="method", values=metric, aggfunc="mean", sort=False)
    for method in table.columns:
        against = baseline_of(method, baseline, list(table.columns))
        if against is None or against == method:
            continue
        both = (column(table, method) - column(table, against)).dropna()
        differences = cast(pd.Series, both.groupby(level=PROMPT, sort=False).mean()).to_numpy(dtype=np.float64)
        mean, p = bootstrap_mean(differences), paired_p(differences)
        yield Paired(method, against, judge, track, metric, len(differences), mean.value, mean.low, mean.high, p)


def baseline_of(run: str, baseline: str, runs: Sequence[str]) -> str | None:
    """Return the run of the baseline that a run is compared with: under the same prior, where both are crossed.

    A run that uses no prior is compared under the first prior, which shows it.

    Args:
        run: its name, see :mod:`avatargen.config.crossing`.
        baseline: name of a method.
        runs: names of all runs, in the order of the priors.

    Returns:
        None where the baseline has no such run.

    Example:
        >>> runs = ["full@a", "full@b", "bare@b", "template"]
        >>> baseline_of("bare@b", "full", runs), baseline_of("template", "full", runs)
        ('full@b', 'full@a')
    """
    prior = split_name(run)[1]
    same = {split_name(name)[1]: name for name in reversed(runs) if split_name(name)[0] == baseline}
    first = next(reversed(same.values()), None)
    return same.get(prior, same.get("") if prior else first)


def truth(truths: pd.DataFrame) -> pd.DataFrame:
    """Return the mean distances of each method to the ground-truth heads; failures count as the template."""
    rows = []
    for (method,), group in groups(truths, "method"):
        mean = _mean_over_prompts(group, "geometry_mm")
        rest = {name: column(group, name).mean() for name in ("geometry_mm_p95", "expression_error", "colour_error")}
        rows.append(Truth(method, len(group), _failed(group), mean.value, mean.low, mean.high, **rest))
    return pd.DataFrame(rows, columns=Truth._fields)


def truth_regions(truths: pd.DataFrame) -> pd.DataFrame:
    """Return the mean distance of each method to the ground-truth surface in each region of the head, mm."""
    regions = [name for name in truths.columns if name.startswith("mm_")]
    return cast(pd.DataFrame, truths.groupby("method", sort=False)[regions].mean()).reset_index()


def baked_gap(table: pd.DataFrame) -> pd.DataFrame:
    """Return how much lower the exported texture scores than the neural one, from the table of :func:`clip_r`."""
    gap = where(table, track="texture").copy()
    gap["r_at_1_gap"] = gap["r_at_1"] - gap["r_at_1_baked"]
    gap["clip_score_gap"] = gap["clip_score"] - gap["clip_score_baked"]
    return gap.loc[:, list(BAKED_GAP)].reset_index(drop=True)


def judge_agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Return how alike two judges rank the methods (Kendall's tau-b), from the table of :func:`clip_r`."""
    rows = []
    for track in TRACKS:
        for metric in ("r_at_1", "clip_score"):
            part = where(table, track=track)
            wide = part.pivot(index="method", columns="judge", values=metric).dropna()
            for one, other in combinations(wide.columns, 2):
                tau = rank_agreement(*(column(wide, judge).to_numpy(np.float64) for judge in (one, other)))
                rows.append(Agreement(track, metric, one, other, len(wide), tau))
    return pd.DataFrame(rows, columns=Agreement._fields)


def diagnosis(records: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each failure signature, and the fraction of avatars with any finding, for each method."""
    methods = records.groupby("method", sort=False)
    table = cast(pd.DataFrame, methods[list(FINDINGS)].mean())
    table.insert(0, "n", methods.size())
    table["with_findings"] = (records["findings"] != "").groupby(records["method"], sort=False).mean()
    return table.reset_index()


def cost(rows: Sequence[Row]) -> pd.DataFrame:
    """Return seconds and peak memory of each method's generation, see :class:`avatargen.io.avatar_file.Avatar`."""
    facts = pd.DataFrame([row.model_dump() for row in rows], columns=list(Row.model_fields))
    lines = []
    for (method,), group in groups(facts, "method"):
        seconds, memory = numbers(column(group, "seconds")), numbers(column(group, "peak_memory_mb"))
        total = seconds.sum(min_count=1)  # unknown, not 0, for meshes of another system
        mean, median = seconds.mean(), seconds.median()
        lines.append(Cost(method, len(group), _failed(group), mean, median, total, memory.max()))
    return pd.DataFrame(lines, columns=Cost._fields)


def failures(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the avatars that could not be made, and why."""
    failed = [row for row in rows if row.status != "ok"]
    return pd.DataFrame([[getattr(row, name) for name in FAILURES] for row in failed], columns=FAILURES)


def _failed(group: pd.DataFrame) -> int:
    return int((column(group, "status") != "ok").sum())


def _mean_over_prompts(group: pd.DataFrame, name: str) -> Interval:
    """Return mean and bootstrap interval over prompts; seeds of a prompt are averaged first."""
    return bootstrap_mean(means(group, name, by=PROMPT).to_numpy(np.float64))
