"""Measure how much avatars of one method agree across priors, and how much of their difference is the priors' style.

Each prompt and prior has one unit vector: the mean of the views' embeddings under a judge, over the prompt's seeds too.
Only prompts with an avatar of every prior count. With x(i, p) for prompt i and prior p:

agreement    mean of x(i, p) · x(i, q) less mean of x(i, p) · x(j, q), over i ≠ j and p ≠ q: how much more alike avatars
             of one prompt by two priors are than those of two prompts. Chance level 0.
style share  with r(i, p) = x(i, p) less prompt i's mean over priors: mean of r(i, p) · r(j, p) over i ≠ j, divided by
             the mean of r(i, p) · r(i, p). It is the between-prior part of the variance that prompts leave, corrected
             for chance (uncorrected, priors without a style have 1 / prompts). Chance level 0; 1 where priors differ in
             the same way for every prompt.

Intervals are percentile bootstraps over prompts. A prompt that is drawn twice is no pair of two prompts.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from avatargen.config.crossing import split_name
from eval.score import AvatarScores
from eval.statistics import CONFIDENCE, SEED

PRIORS = "priors"
"""Name of the table."""
ALL = "all"
"""Stands for all priors together in the table."""
RESAMPLES = 999
BATCH = 200
"""Resamples that are computed together; bounds memory."""
TINY = 1e-12
"""Squared lengths below this are the rounding of equal vectors."""
FEWEST = 3
"""Least number of prompts with an interval: resamples of fewer mostly repeat one prompt."""
MEASURES = ("same_prompt", "other_prompts", "agreement", "style_share")

Prompt = tuple[str, str]


class Consistency(NamedTuple):
    """A row of ``priors.csv``; `_low` and `_high` bound 95 % intervals.

    Attributes:
        prior: `ALL`, or one prior: its agreement with the others, and the style share of its own residuals.
        n: prompts with an avatar of every prior, which count.
        prompts: prompts that were asked for.
        same_prompt, other_prompts: the two mean cosines whose difference is the agreement.
    """

    method: str
    prior: str
    judge: str
    track: str
    n: int
    prompts: int
    same_prompt: float
    other_prompts: float
    agreement: float
    agreement_low: float
    agreement_high: float
    style_share: float
    style_share_low: float
    style_share_high: float


def consistency(avatars: Sequence[AvatarScores], priors: Sequence[str]) -> pd.DataFrame:
    """Return a row for each method that is crossed with priors, judge, track, and prior or `ALL`.

    Args:
        avatars: all of the experiment; failed ones have no embeddings.
        priors: names, in order. With fewer than two there is nothing to compare.
    """
    asked: dict[str, dict[Prompt, None]] = {}
    found: dict[tuple[str, str, str], dict[tuple[str, Prompt], list[np.ndarray]]] = {}
    for avatar in avatars:
        method, prior = split_name(avatar.row.method)
        prompt = (avatar.row.list, avatar.row.item)
        if prior:
            asked.setdefault(method, {})[prompt] = None
        for score in avatar.scores if prior else ():
            cells = found.setdefault((method, score.record.judge, score.record.track), {})
            mean = avatar.means.get((score.record.judge, score.record.track))
            if mean is not None:
                cells.setdefault((prior, prompt), []).append(mean)
    rows = [
        row
        for (method, judge, track), cells in found.items()
        if len(priors) > 1
        for row in _rows((method, judge, track), cells, list(asked[method]), priors)
    ]
    return pd.DataFrame(rows, columns=Consistency._fields)


def _rows(
    key: tuple[str, str, str],
    cells: Mapping[tuple[str, Prompt], Sequence[np.ndarray]],
    asked: Sequence[Prompt],
    priors: Sequence[str],
) -> list[Consistency]:
    """Return the rows of one method, judge and track; `cells` hold the embeddings of each prior and prompt."""
    method, judge, track = key
    whole = [prompt for prompt in asked if all((prior, prompt) in cells for prior in priors)]
    vectors = [
        [_unit(np.stack(cells[prior, prompt]).astype(np.float64).mean(axis=0)) for prompt in whole] for prior in priors
    ]
    measured = measure(np.array(vectors)) if whole else dict.fromkeys(MEASURES, np.full((len(priors) + 1, 3), np.nan))
    rows = []
    for index, prior in enumerate((ALL, *priors)):
        same, other, agreement, style = (measured[name][index] for name in MEASURES)
        rows.append(
            Consistency(*(method, prior, judge, track, len(whole), len(asked)), same[0], other[0], *agreement, *style)
        )
    return rows


def measure(vectors: Float[np.ndarray, "P n D"]) -> dict[str, Float[np.ndarray, "priors 3"]]:
    """Return each of `MEASURES` with its 95 % bootstrap interval, for all priors together and then for each.

    Args:
        vectors: of unit norm, for each of two or more priors and each prompt.

    Returns:
        Value, lower and upper bound; NaN where there are too few prompts, or no differences to divide.

    Example:
        >>> content = np.eye(2)[None].repeat(2, axis=0)  # two priors draw the same two avatars
        >>> float(measure(content)["agreement"][0, 0])
        1.0
    """
    cells, count = _Cells.of(vectors), vectors.shape[1]
    values = _weighted(cells, np.ones((1, count)))
    result = {name: np.full((len(vectors) + 1, 3), np.nan) for name in MEASURES}
    for name in MEASURES:
        result[name][:, 0] = values[name][0]
    if count >= FEWEST:
        generator = np.random.default_rng(SEED)
        sizes = [min(BATCH, RESAMPLES - start) for start in range(0, RESAMPLES, BATCH)]
        drawn = [
            _weighted(cells, generator.multinomial(count, np.full(count, 1 / count), size=size).astype(float))
            for size in sizes
        ]
        for name in MEASURES:
            result[name][:, 1:] = _bounds(np.concatenate([part[name] for part in drawn]))
    return result


class _Cells(NamedTuple):
    """What resamples are computed from.

    Attributes:
        vectors: of each prompt and prior.
        across: mean cosine of a prompt's vector by each prior with those by the others.
        spread: squared length of each residual.
    """

    vectors: Float[np.ndarray, "n P D"]
    across: Float[np.ndarray, "n P"]
    spread: Float[np.ndarray, "n P"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "P n D"]) -> _Cells:
        found = np.ascontiguousarray(vectors.transpose(1, 0, 2))
        spread = ((found - found.mean(1, keepdims=True)) ** 2).sum(-1)
        return cls(found, _with_others(found), np.where(spread < TINY, 0.0, spread))


def _weighted(cells: _Cells, weights: Float[np.ndarray, "R n"]) -> dict[str, Float[np.ndarray, "R priors"]]:
    """Return `MEASURES` of each resample, in which a prompt counts as often as its weight says.

    Sums over pairs of prompts are products of sums over prompts, less the pairs of a prompt with itself.
    """
    vectors, across, spread = cells
    count, squares = weights.sum(1, keepdims=True), weights**2
    pairs = count**2 - squares.sum(1, keepdims=True)
    sums = (weights @ vectors.reshape(len(vectors), -1)).reshape(-1, *vectors.shape[1:])
    residuals = sums - sums.mean(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        same, other = weights @ across / count, (_with_others(sums) - squares @ across) / pairs
        own, shared = weights @ spread / count, ((residuals**2).sum(-1) - squares @ spread) / pairs
        same, other = (np.column_stack((part.mean(1), part)) for part in (same, other))
        own, shared = (np.column_stack((part.sum(1), part)) for part in (own, shared))
        style = np.where(own > 0, shared / own, np.nan)
    agreement = np.round(same - other, 12) + 0.0  # without the rounding of equal vectors, and its sign
    return dict(zip(MEASURES, (same, other, agreement, style), strict=True))


def _with_others(vectors: Float[np.ndarray, "N P D"]) -> Float[np.ndarray, "N P"]:
    """Return the mean product of each prior's vector with those of the others."""
    return (vectors * (vectors.sum(1, keepdims=True) - vectors)).sum(-1) / (vectors.shape[1] - 1)


def _bounds(values: Float[np.ndarray, "R priors"]) -> Float[np.ndarray, "priors 2"]:
    """Return the percentile bounds of each column, without resamples that hold one prompt alone."""
    tail = 100 * (1 - CONFIDENCE) / 2
    kept = np.where(np.isfinite(values), values, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any number
        return np.nanpercentile(kept, (tail, 100 - tail), axis=0).T


def _unit(vector: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
    return vector / np.linalg.norm(vector)
