"""Compare the paper's claims about the parts of its method with what was measured.

A claim says that a method scores worse than the full one in a metric. Its verdict is

untestable  fewer prompts differ than any outcome needs to reach q < 0.05
holds       the paired difference has that sign, at q < 0.05
refuted     it has the opposite sign, at q < 0.05
not shown   neither

where q is the p-value corrected within the row's family (:mod:`eval.families`).

Claims are judged by metrics that rounding does not move: the margin of the own caption to its best rival, which is what
R@1 compares with 0, and the CLIP score. Ranks change by whole numbers where captions that differ in one word differ in
the last digits of their scores. The margin is the primary metric, since a CLIP score also grows with what all
captions of a pool have in common. It knows no pool, and so is the same in both tracks of colour: no claim about the
texture is judged by it, but by the colours' distance to the ground truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import pandas as pd

from avatargen.config.crossing import split_name
from eval.columns import column, where
from eval.families import LEVEL, q_values
from eval.summaries import HEADLINE

Verdict = Literal["holds", "refuted", "not shown", "untestable"]
PRIMARY = HEADLINE
"""The metric of a claim that the family `headline` holds."""
TEXTURE = (PRIMARY, "colour_error")
PICTURE = (PRIMARY, "clip_score")
SHAPE = (*PICTURE, "geometry_mm")
HIGHER_IS_BETTER = {"margin": True, "clip_score": True, "geometry_mm": False, "colour_error": False}


@dataclass(frozen=True)
class Claim:
    """That a method scores worse than the full one in some metrics of a track."""

    text: str
    method: str
    track: str
    metrics: tuple[str, ...] = TEXTURE


class ClaimRow(NamedTuple):
    """A row of ``claims.csv``: a row of :class:`eval.paired.Paired`, and what it says of a claim."""

    claim: str
    method: str
    judge: str
    track: str
    metric: str
    n: int
    n_differ: int
    difference: float
    p: float
    least_p: float
    p_at_floor: bool
    family: str


CLAIMS = (
    Claim("the shading cue aligns texture and geometry", "no_shading_cue", "texture"),
    Claim("the shading cue aligns texture and geometry", "no_shading_cue", "geometry", SHAPE),
    Claim("the segmentation loss moves the outline", "no_segmentation", "geometry", SHAPE),
    Claim("a texture-only phase comes first", "joint_from_start", "texture"),
    Claim("geometry needs the texture", "geometry_only", "geometry", SHAPE),
    Claim("moving geometry matters", "texture_only", "geometry", SHAPE),
    Claim("moving geometry helps the texture", "texture_only", "texture"),
    Claim("moving geometry shows in colour renders", "texture_only", "shape_in_colour", PICTURE),
    Claim("better texture than CLIP guidance", "clip_guided", "texture"),
    Claim("better geometry than CLIP guidance", "clip_guided", "geometry", SHAPE),
    Claim("better texture than CLIP guidance", "clip_guided_by_mini", "texture"),
    Claim("better geometry than CLIP guidance", "clip_guided_by_mini", "geometry", SHAPE),
)
"""Claims of arXiv 2307.04859, sections 4 and 5, that this benchmark can measure.

Captions of the `texture` track differ in colour and material, so "helps the texture" is not about the outline.
"""


def check_claims(paired: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each claim, metric and judge; none where the method was not run.

    Args:
        paired: differences to the baseline, see :func:`eval.paired.paired`; the first judge is the headline's.
    """
    names = {name: column(paired, name).map(lambda run: split_name(run)[0]) for name in ("method", "baseline")}
    first = next((judge for judge in column(paired, "judge") if judge != "truth"), "")
    rows: list[ClaimRow] = []
    for claim in CLAIMS:
        compared = paired.loc[(names["method"] == claim.method) & (names["baseline"] == "full"), :]
        for metric in claim.metrics:
            for line in where(compared, track=claim.track, metric=metric).to_dict("records"):
                family = "headline" if (metric, line["judge"]) == (PRIMARY, first) else "claims"
                facts = {name: line[name] for name in ClaimRow._fields if name not in ("claim", "family")}
                rows.append(ClaimRow(claim.text, **facts, family=family))
    table = pd.DataFrame(rows, columns=ClaimRow._fields)
    table["q"], table["least_q"] = q_values(table), q_values(table, "least_p")
    facts = [table[name] for name in ("metric", "difference", "q", "least_q")]
    return table.assign(verdict=[verdict(*values) for values in zip(*facts, strict=True)])


def verdict(metric: str, difference: float, q: float, least_q: float) -> Verdict:
    """Return what a difference to the full method says of the claim that this method is worse.

    Args:
        metric: a key of HIGHER_IS_BETTER.
        difference: of the method to the full one.
        q: its corrected p-value.
        least_q: the least that it could be with as many prompts that differ in each row of the family.

    Example:
        >>> verdict("geometry_mm", difference=3.0, q=0.01, least_q=0.0005)  # a longer distance is worse
        'holds'
        >>> verdict("geometry_mm", difference=3.0, q=0.25, least_q=0.25)  # 3 prompts differ
        'untestable'
    """
    return verdict_of((difference < 0) == HIGHER_IS_BETTER[metric], q, least_q)


def verdict_of(expected: bool, q: float, least_q: float) -> Verdict:
    """Return what a tested difference says of a statement.

    Args:
        expected: the difference has the sign that the statement expects.
        q: its corrected p-value; NaN where nothing was measured.
        least_q: the least that it could be, see :func:`verdict`.

    Example:
        >>> verdict_of(False, q=0.01, least_q=0.0005), verdict_of(True, q=float("nan"), least_q=float("nan"))
        ('refuted', 'untestable')
    """
    if not least_q < LEVEL:
        return "untestable"
    if not q < LEVEL:
        return "not shown"
    return "holds" if expected else "refuted"
