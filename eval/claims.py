"""What the paper says each part of its method is for, held against what was measured.

A claim is that a method is worse than the full one in a metric. It `holds` where the paired difference has that sign at
p < 0.05, is `contrary` where it has the other one, and `not shown` in between. Nothing is tuned to please it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

P = 0.05
HIGHER_IS_BETTER = {"r_at_1": True, "clip_score": True, "mean_rank": False, "geometry_mm": False}
CLAIMS_COLUMNS = ("claim", "method", "judge", "track", "metric", "n", "difference", "p", "verdict")


@dataclass(frozen=True)
class Claim:
    """That a method loses in some metrics of a track against the full method."""

    text: str
    method: str
    track: str
    metrics: tuple[str, ...] = ("mean_rank",)


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
"""Of arXiv 2307.04859, sections 4 and 5, as far as this benchmark measures them."""


def check_claims(paired: pd.DataFrame) -> pd.DataFrame:
    """One row a claim, metric and judge, from the table of :func:`eval.summaries.paired`; none without data."""
    rows = []
    for claim in CLAIMS:
        for metric in claim.metrics:
            same = (paired["method"] == claim.method) & (paired["track"] == claim.track) & (paired["metric"] == metric)
            for line in paired[same & (paired["baseline"] == "full")].to_dict("records"):
                facts = [line[name] for name in ("method", "judge", "track", "metric", "n", "difference", "p")]
                rows.append([claim.text, *facts, verdict(metric, line["difference"], line["p"])])
    return pd.DataFrame(rows, columns=CLAIMS_COLUMNS)


def verdict(metric: str, difference: float, p: float) -> str:
    """What a difference to the full method says of the claim that this method is worse."""
    if not p < P:
        return "not shown"
    return "holds" if (difference < 0) == HIGHER_IS_BETTER[metric] else "contrary"
