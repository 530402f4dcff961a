"""The metrics of an avatar: where records and tables hold each, which direction is better, and how it is shown.

A metric whose column a table lacks is left out, so the list may name more than an experiment has.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

TRUTH = "truth"
"""Stands for the judge of distances to the ground-truth head."""


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: its key in ``results.json``.
        label: its heading for people.
        record: column of ``records.csv``; of ``truth_records.csv`` for a distance.
        summary: column of ``clip_r.csv``; of ``truth.csv`` for a distance.
        higher_is_better: direction.
        digits: decimals that are shown.
        interval: kind of the 95 % interval in the columns ``{name}_low`` and ``{name}_high``; None for none.
        first: the record holds a rank, and the metric asks whether it is 1.
        track: of a distance to the ground-truth head; None for a metric that judges give in every track.
    """

    name: str
    label: str
    record: str
    summary: str
    higher_is_better: bool
    digits: int
    interval: Literal["wilson", "bootstrap"] | None = None
    first: bool = False
    track: str | None = None


METRICS = (
    Metric("mrr", "MRR", "reciprocal_rank", "mrr", True, 3, "bootstrap"),
    Metric("r_at_1", "R@1", "rank", "r_at_1", True, 3, "wilson", first=True),
    Metric("mean_rank", "mean rank", "rank", "mean_rank", False, 2, "bootstrap"),
    Metric("margin", "margin", "margin", "margin", True, 4, "bootstrap"),
    Metric("clip_score", "CLIP score", "clip_score", "clip_score", True, 4, "bootstrap"),
    Metric("r_at_1_baked", "R@1 exported", "rank_baked", "r_at_1_baked", True, 3, first=True),
    Metric("clip_score_baked", "CLIP score exported", "clip_score_baked", "clip_score_baked", True, 4),
    Metric("geometry_mm", "geometry, mm", "geometry_mm", "geometry_mm_mean", False, 2, "bootstrap", track="geometry"),
    Metric("geometry_mm_p95", "95th percentile, mm", "geometry_mm_p95", "geometry_mm_p95", False, 2, track="geometry"),
    Metric("expression_error", "expression, mm", "expression_error", "expression_error", False, 3, track="geometry"),
    Metric("colour_error", "colour error", "colour_error", "colour_error", False, 4, track="texture"),
)
