"""From records to summary tables: what is averaged over what, with which confidence interval.

Seeds of a prompt are no independent outcomes (of `template` and `oracle` they are the same avatar), so they are
averaged before intervals and tests are computed over prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from avatargen.io.manifest import Row
from eval.columns import PROMPT, column, groups, means, numbers
from eval.findings import FINDINGS
from eval.paired import with_metrics
from eval.protocol import pool_sizes
from eval.records import check_protocols
from eval.statistics import Interval, bootstrap_mean, wilson
from eval.subsets import each_subset

HEADLINE = "margin"
"""The score that tables sort by, best first: the one that rounding moves least, see docs/evaluation.md."""


class ClipR(NamedTuple):
    """A row of ``clip_r.csv``; `_low` and `_high` bound 95 % intervals, `_baked` is the exported texture's.

    Attributes:
        r_at_1_noise_low, r_at_1_noise_high: the lowest and the highest R@1 under the draws of noise.
    """

    method: str
    judge: str
    track: str
    subset: str
    n: int
    n_failed: int
    pool: str
    chance: float
    r_at_1: float
    r_at_1_low: float
    r_at_1_high: float
    r_at_1_noise_low: float
    r_at_1_noise_high: float
    r_at_5: float
    r_at_1_views: float
    mrr: float
    mrr_low: float
    mrr_high: float
    mean_rank: float
    mean_rank_low: float
    mean_rank_high: float
    margin: float
    margin_low: float
    margin_high: float
    clip_score: float
    clip_score_low: float
    clip_score_high: float
    r_at_1_baked: float
    clip_score_baked: float
    pool_name: str
    protocol: str


class Truth(NamedTuple):
    """A row of ``truth.csv``, in mm but for the colour error."""

    method: str
    subset: str
    n: int
    n_failed: int
    geometry_mm_mean: float
    geometry_mm_low: float
    geometry_mm_high: float
    geometry_mm_p95: float
    geometry_mm_vertices: float
    expression_error: float
    colour_error: float


class Cost(NamedTuple):
    """A row of ``cost.csv``; NaN where the cost is not known."""

    method: str
    n: int
    n_failed: int
    n_taken_over: int
    seconds_mean: float
    seconds_median: float
    seconds_total: float
    peak_memory_mb_max: float


BAKED_GAP = (
    "method",
    "judge",
    "track",
    "subset",
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
    """Return one row of CLIP-R scores for each judge, track, subset and method, the best `HEADLINE` first.

    R@1 has a Wilson interval over prompts, means have bootstrap intervals.

    Args:
        records: columns as in :class:`eval.records.Record`.

    Raises:
        ProtocolError: a judge, track and subset have more than one protocol.
    """
    records = each_subset(with_metrics(records))
    check_protocols(records)
    rows = []
    for _, group in groups(records, "judge", "track", "subset"):
        methods = [_clip_r_row(part) for _, part in groups(group, "method")]
        rows += sorted(methods, key=lambda row: np.nan_to_num(getattr(row, HEADLINE), nan=-np.inf), reverse=True)
    return pd.DataFrame(rows, columns=ClipR._fields)


def _clip_r_row(group: pd.DataFrame) -> ClipR:
    first, ranks, baked = group.iloc[0], column(group, "rank"), column(group, "rank_baked").dropna()
    hits = means(group.assign(hit=ranks == 1), "hit", by=PROMPT)
    rate = wilson(float(hits.sum()), len(hits))
    noisy = _noisy_rates(group)
    mrr, rank, margin, score = (
        _mean_over_prompts(group, name) for name in ("mrr", "mean_rank", "margin", "clip_score")
    )
    return ClipR(
        method=first["method"],
        judge=first["judge"],
        track=first["track"],
        subset=first["subset"],
        n=len(group),
        n_failed=_failed(group),
        pool=pool_sizes(column(group, "pool_size")),
        chance=(1 / column(group, "pool_size")).mean(),
        **_bounds("r_at_1", rate),
        r_at_1_noise_low=min(noisy, default=np.nan),
        r_at_1_noise_high=max(noisy, default=np.nan),
        r_at_5=(ranks <= 5).mean(),
        r_at_1_views=column(group, "view_hits").mean(),
        **_bounds("mrr", mrr),
        **_bounds("mean_rank", rank),
        **_bounds("margin", margin),
        **_bounds("clip_score", score),
        r_at_1_baked=(baked == 1).mean() if len(baked) else np.nan,
        clip_score_baked=column(group, "clip_score_baked").mean(),
        pool_name=first["pool"],
        protocol=first["protocol"],
    )


def _noisy_rates(group: pd.DataFrame) -> list[float]:
    """Return R@1 under each draw of noise; seeds of a prompt are averaged first."""
    drawn = pd.DataFrame([str(text).split() for text in group["ranks_noisy"]], index=group.index)
    hits = [group.assign(hit=drawn[draw] == "1") for draw in drawn.columns]
    return [float(means(table, "hit", by=PROMPT).mean()) for table in hits]


def _bounds(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def truth(truths: pd.DataFrame) -> pd.DataFrame:
    """Return the mean distances of each method to the ground-truth heads; failures count as the template."""
    rows = []
    for (subset, method), group in groups(each_subset(truths), "subset", "method"):
        mean = _mean_over_prompts(group, "geometry_mm")
        rest = {name: column(group, name).mean() for name in Truth._fields[7:]}
        rows.append(Truth(method, subset, len(group), _failed(group), mean.value, mean.low, mean.high, **rest))
    return pd.DataFrame(rows, columns=Truth._fields)


def truth_regions(truths: pd.DataFrame) -> pd.DataFrame:
    """Return the mean distance of each method to the ground-truth surface in each region of the head, mm."""
    regions = [name for name in truths.columns if name.startswith("mm_")]
    table = cast(pd.DataFrame, each_subset(truths).groupby(["subset", "method"], sort=False)[regions].mean())
    return _method_first(table.reset_index())


def baked_gap(table: pd.DataFrame) -> pd.DataFrame:
    """Return how much lower the exported texture scores than the neural one, from the table of :func:`clip_r`."""
    gap = table[table["track"] != "geometry"].copy()
    gap["r_at_1_gap"] = gap["r_at_1"] - gap["r_at_1_baked"]
    gap["clip_score_gap"] = gap["clip_score"] - gap["clip_score_baked"]
    return gap.loc[:, list(BAKED_GAP)].reset_index(drop=True)


def diagnosis(records: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each failure signature, and the fraction of avatars with any finding, for each method."""
    records = each_subset(records).assign(found=lambda table: table["findings"] != "")
    methods = records.groupby(["subset", "method"], sort=False)
    table = cast(pd.DataFrame, methods[list(FINDINGS)].mean())
    table.insert(0, "n", methods.size())
    table["with_findings"] = methods["found"].mean()
    return _method_first(table.reset_index())


def _method_first(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose first columns are the method and the subset."""
    return table.loc[:, ["method", "subset", *table.columns.drop(["method", "subset"])]]


def cost(rows: Sequence[Row]) -> pd.DataFrame:
    """Return seconds and peak memory of each method's generation, see :class:`avatargen.io.avatar_file.Avatar`."""
    facts = pd.DataFrame([row.model_dump() for row in rows], columns=list(Row.model_fields))
    lines = []
    for (method,), group in groups(facts, "method"):
        seconds, memory = numbers(column(group, "seconds")), numbers(column(group, "peak_memory_mb"))
        total = seconds.sum(min_count=1)  # unknown, not 0, for meshes of another system
        mean, median = seconds.mean(), seconds.median()
        taken = int((column(group, "taken_from") != "").sum())
        lines.append(Cost(method, len(group), _failed(group), taken, mean, median, total, memory.max()))
    return pd.DataFrame(lines, columns=Cost._fields)


def failures(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the avatars that could not be made, and why."""
    failed = [row for row in rows if row.status != "ok"]
    return pd.DataFrame([[getattr(row, name) for name in FAILURES] for row in failed], columns=FAILURES)


def _failed(group: pd.DataFrame) -> int:
    return int((column(group, "status") != "ok").sum())


def _mean_over_prompts(group: pd.DataFrame, name: str) -> Interval:
    """Return mean and bootstrap interval over prompts that have a value; seeds of a prompt are averaged first."""
    return bootstrap_mean(means(group, name, by=PROMPT).dropna().to_numpy(np.float64))
