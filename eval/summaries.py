"""From records to tables: what is averaged over what, with which interval."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from avatargen.io.manifest import Row
from eval.diagnosis import FINDINGS
from eval.records import TRACKS, check_protocols
from eval.statistics import Interval, bootstrap_mean, paired_p, rank_agreement, wilson

UNIT = ["list", "item", "seed"]
PROMPT = ["list", "item"]
CLIP_R = (
    "method",
    "judge",
    "track",
    "n",
    "n_failed",
    "pool",
    "chance",
    "r_at_1",
    "r_at_1_low",
    "r_at_1_high",
    "r_at_5",
    "r_at_1_views",
    "mean_rank",
    "mean_rank_low",
    "mean_rank_high",
    "clip_score",
    "clip_score_low",
    "clip_score_high",
    "r_at_1_baked",
    "clip_score_baked",
    "pool_name",
    "protocol",
)
PAIRED = ("method", "baseline", "judge", "track", "metric", "n", "difference", "low", "high", "p")
TRUTH = (
    "method",
    "n",
    "n_failed",
    "geometry_mm_mean",
    "geometry_mm_low",
    "geometry_mm_high",
    "geometry_mm_p95",
    "expression_error",
    "colour_error",
)
TRUTH_TRACKS = {"geometry_mm": "geometry", "expression_error": "geometry", "colour_error": "texture"}
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
JUDGES = ("track", "metric", "judge", "other", "n_methods", "kendall_tau")
COST = ("method", "n", "n_failed", "seconds_mean", "seconds_median", "seconds_total", "peak_memory_mb_max")
FAILURES = ("method", "list", "item", "seed", "prompt", "status", "message", "folder")


def clip_r(records: pd.DataFrame) -> pd.DataFrame:
    """One row a method, judge and track; the methods in the order of the records.

    Seeds of a prompt are no independent outcomes (of `template` and `oracle` they are the same avatar): they are
    averaged first. R@1 then has a Wilson interval over prompts, means have bootstrap intervals.

    Raises:
        ProtocolError: a judge and track with more than one protocol.
    """
    check_protocols(records)
    rows = []
    for (method, judge, track), group in records.groupby(["method", "judge", "track"], sort=False):
        row = {"method": method, "judge": judge, "track": track, **_clip_r_of(group)}
        rows.append([row[name] for name in CLIP_R])
    return pd.DataFrame(rows, columns=CLIP_R)


def _clip_r_of(group: pd.DataFrame) -> dict[str, Any]:
    first, baked = group.iloc[0], group["rank_baked"].dropna()
    hits = (group["rank"] == 1).groupby([group[name] for name in PROMPT], sort=False).mean()
    rate = wilson(float(hits.sum()), len(hits))
    rank, score = (_mean_over_prompts(group, column) for column in ("rank", "clip_score"))
    return {
        "n": len(group),
        "n_failed": int((group["status"] != "ok").sum()),
        "pool": first["pool_size"],
        "chance": 1 / first["pool_size"],
        **_with_bounds("r_at_1", rate),
        "r_at_5": (group["rank"] <= 5).mean(),
        "r_at_1_views": group["view_hits"].mean(),
        **_with_bounds("mean_rank", rank),
        **_with_bounds("clip_score", score),
        "r_at_1_baked": (baked == 1).mean() if len(baked) else np.nan,
        "clip_score_baked": group["clip_score_baked"].mean(),
        "pool_name": first["pool"],
        "protocol": first["protocol"],
    }


def _with_bounds(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def paired(records: pd.DataFrame, truths: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Differences of each method to the baseline on the same prompts and seeds; then seeds are averaged.

    The metrics of the head world's truth stand under the judge ``truth``.
    """
    scores = records.assign(r_at_1=(records["rank"] == 1).astype(float), mean_rank=records["rank"].astype(float))
    parts = []
    for (judge, track), group in scores.groupby(["judge", "track"], sort=False):
        parts += [_paired_rows(group, m, judge, track, baseline) for m in ("r_at_1", "mean_rank", "clip_score")]
    if len(truths):
        parts += [_paired_rows(truths, metric, "truth", track, baseline) for metric, track in TRUTH_TRACKS.items()]
    return pd.DataFrame([row for part in parts for row in part], columns=PAIRED)


def _paired_rows(group: pd.DataFrame, metric: str, judge: str, track: str, baseline: str) -> list[list]:
    table = group.pivot_table(index=UNIT, columns="method", values=metric, aggfunc="mean", sort=False)
    rows = []
    for method in [name for name in table.columns if name != baseline and baseline in table.columns]:
        both = (table[method] - table[baseline]).dropna()
        differences = both.groupby(level=PROMPT, sort=False).mean().to_numpy(dtype=np.float64)
        mean = bootstrap_mean(differences)
        rows.append(
            [method, baseline, judge, track, metric, len(differences), mean.value, mean.low, mean.high,
             paired_p(differences)]
        )  # fmt: skip
    return rows


def truth(truths: pd.DataFrame) -> pd.DataFrame:
    """One row a method: distances to the true heads, over prompts and seeds; failures as the template's."""
    rows = []
    for method, group in truths.groupby("method", sort=False):
        mean = _mean_over_prompts(group, "geometry_mm")
        rest = [group[name].mean() for name in ("geometry_mm_p95", "expression_error", "colour_error")]
        failed = int((group["status"] != "ok").sum())
        rows.append([method, len(group), failed, mean.value, mean.low, mean.high, *rest])
    return pd.DataFrame(rows, columns=TRUTH)


def truth_regions(truths: pd.DataFrame) -> pd.DataFrame:
    """One row a method, one column a region of the head: mean distance to the true surface, mm."""
    regions = [name for name in truths.columns if name.startswith("mm_")]
    return truths.groupby("method", sort=False)[regions].mean().reset_index()


def baked_gap(table: pd.DataFrame) -> pd.DataFrame:
    """What the exported texture loses against the neural one, from the table of :func:`clip_r`."""
    gap = table[table["track"] == "texture"].copy()
    gap["r_at_1_gap"] = gap["r_at_1"] - gap["r_at_1_baked"]
    gap["clip_score_gap"] = gap["clip_score"] - gap["clip_score_baked"]
    return gap[list(BAKED_GAP)].reset_index(drop=True)


def judge_agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Whether two judges rank the methods alike (Kendall's tau-b), from the table of :func:`clip_r`."""
    rows = []
    for track in TRACKS:
        for metric in ("r_at_1", "clip_score"):
            wide = table[table["track"] == track].pivot(index="method", columns="judge", values=metric).dropna()
            for one, other in combinations(wide.columns, 2):
                tau = rank_agreement(wide[one].to_numpy(np.float64), wide[other].to_numpy(np.float64))
                rows.append([track, metric, one, other, len(wide), tau])
    return pd.DataFrame(rows, columns=JUDGES)


def diagnosis(records: pd.DataFrame) -> pd.DataFrame:
    """One row a method: the mean of each failure signature, and the share of its avatars with any finding."""
    made = records.groupby("method", sort=False)[list(FINDINGS)].mean()
    made.insert(0, "n", records.groupby("method", sort=False).size())
    made["with_findings"] = (records["findings"] != "").groupby(records["method"], sort=False).mean()
    return made.reset_index()


def cost(rows: Sequence[Row]) -> pd.DataFrame:
    """One row a method: seconds and peak memory of generation, see :class:`avatargen.io.avatar_file.Avatar`."""
    facts = pd.DataFrame([row.model_dump() for row in rows], columns=list(Row.model_fields))
    lines = []
    for method, group in facts.groupby("method", sort=False):
        seconds = pd.to_numeric(group["seconds"])
        memory = pd.to_numeric(group["peak_memory_mb"])
        failed = int((group["status"] != "ok").sum())
        total = seconds.sum(min_count=1)  # of another system's meshes nothing is known, which is not nothing
        lines.append([method, len(group), failed, seconds.mean(), seconds.median(), total, memory.max()])
    return pd.DataFrame(lines, columns=COST)


def failures(rows: Sequence[Row]) -> pd.DataFrame:
    """The avatars that were asked for and not made, and why."""
    failed = [row for row in rows if row.status != "ok"]
    return pd.DataFrame([[getattr(row, name) for name in FAILURES] for row in failed], columns=FAILURES)


def _mean_over_prompts(group: pd.DataFrame, column: str) -> Interval:
    """Mean and bootstrap interval over prompts; seeds of a prompt are averaged first."""
    return bootstrap_mean(group.groupby(PROMPT, sort=False)[column].mean().to_numpy(np.float64))
