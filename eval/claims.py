"""Compare the paper's claims about the parts of its method with what was measured.

A claim says that a method scores worse than the full one in a metric. It `holds` where the paired difference has that
sign at p < 0.05, is `contrary` where it has the opposite sign at p < 0.05, and is `not shown` otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from avatargen.config.crossing import split_name
from eval.columns import column, where

P = 0.05
HIGHER_IS_BETTER = {"r_at_1": True, "clip_score": True, "mean_rank": False, "geometry_mm": False}


@dataclass(frozen=True)
class Claim:
    """That a method scores worse than the full one in some metrics of a track."""

    text: str
    method: str
    track: str
    metrics: tuple[str, ...] = ("mean_rank",)


class ClaimRow(NamedTuple):
    """A row of ``claims.csv``; `difference` is the method's to the full one, with its p-value."""

    claim: str
    method: str
    judge: str
    track: str
    metric: str
    n: int
    difference: float
    p: float
    verdict: str


CLAIMS = (
    Claim("the shading cue aligns texture and geometry", "no_shading_cue", "texture"),
    Claim("the shading cue aligns texture and geometry", "no_shading_cue", "geometry", ("mean_rank", "geometry_mm")),
    Claim("the segmentation loss moves the outline", "no_segmentation", "geometry", ("mean_rank", "geometry_mm")),
    Claim("a texture-only phase comes first", "joint_from_start", "texture"),
    Claim("geometry needs the texture", "geometry_only", "geometry", ("mean_rank", "geometry_mm")),
    Claim("moving geometry matters", "texture_only", "geometry", ("mean_rank", "geometry_mm")),
    Claim("moving geometry helps the texture", "texture_only", "texture"),
    Claim("better texture than CLIP guidance", "clip_guided", "texture"),
    Claim("better geometry than CLIP guidance", "clip_guided", "geometry"),
)
"""Claims of arXiv 2307.04859, sections 4 and 5, that this benchmark can measure."""


def check_claims(paired: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each claim, metric and judge; none where the method was not run.

    Args:
        paired: differences to the baseline, see :func:`eval.summaries.paired`.
    """
    names = {name: column(paired, name).map(lambda run: split_name(run)[0]) for name in ("method", "baseline")}
    rows = []
    for claim in CLAIMS:
        compared = paired.loc[(names["method"] == claim.method) & (names["baseline"] == "full"), :]
        for metric in claim.metrics:
            same = where(compared, track=claim.track, metric=metric)
            for line in same.to_dict("records"):
                facts = {name: line[name] for name in ("method", "judge", "track", "metric", "n", "difference", "p")}
                rows.append(ClaimRow(claim.text, **facts, verdict=verdict(metric, line["difference"], line["p"])))
    return pd.DataFrame(rows, columns=ClaimRow._fields)


def verdict(metric: str, difference: float, p: float) -> str:
    """Return what a difference to the full method says of the claim that this method is worse.

    Example:
        >>> verdict("mean_rank", difference=3.0, p=0.01)  # a higher rank is worse
        'holds'
    """
    if not p < P:
        return "not shown"
    return "holds" if (difference < 0) == HIGHER_IS_BETTER[metric] else "contrary"
