"""Learning curves: losses, coverage and CLIP scores over the steps of generation, averaged over avatars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from avatargen.io.history import LOSSES
from eval.captions import CaptionEmbeddings
from eval.load import AvatarFiles

CONVERGENCE = ("method", "measure", "step", "n", "mean", "low", "high")
CLIP_SCORE = "clip_score"


class CurvePoint(NamedTuple):
    """One measure of one avatar at one step."""

    method: str
    measure: str
    step: int
    value: float


def curve_points(files: AvatarFiles, captions: Mapping[str, CaptionEmbeddings]) -> list[CurvePoint]:
    """Return the learning curves of one avatar; none for an avatar that failed.

    Measures are the losses of generation and, for each judge, ``clip_score:{judge}``: the cosine of the prompt with
    the front of the head as it was at that step. Methods without steps have no points.

    Args:
        files: of the avatar.
        captions: embeddings of the prompts, by judge.
    """
    method = files.row.method
    points = [
        CurvePoint(method, name, step, losses[name])
        for step, losses in files.history.entries
        for name in LOSSES
        if np.isfinite(losses[name])
    ]
    steps = [step for step, _ in files.history.snapshots]
    for judge, embeddings in files.embeddings.items():
        if embeddings and len(embeddings.progress) == len(steps):
            cosines = (embeddings.progress @ captions[judge].prompts[files.row.prompt]).tolist()
            points += [
                CurvePoint(method, f"{CLIP_SCORE}:{judge}", step, cosine)
                for step, cosine in zip(steps, cosines, strict=True)
            ]
    return points


def convergence(points: Sequence[CurvePoint]) -> pd.DataFrame:
    """Return one row for each method, measure and step: mean and quartiles over its avatars.

    Example:
        >>> points = [CurvePoint("full", "coverage", 10, value) for value in (0.2, 0.4)]
        >>> convergence(points)[["method", "step", "n"]].values.tolist()
        [['full', 10, 2]]
    """
    if not points:
        return pd.DataFrame(columns=list(CONVERGENCE))
    frame = pd.DataFrame(points, columns=list(CurvePoint._fields))
    groups = frame.groupby(["method", "measure", "step"], sort=False)["value"]
    table = groups.agg(n="size", mean="mean", low=lambda v: v.quantile(0.25), high=lambda v: v.quantile(0.75))
    return table.reset_index().loc[:, list(CONVERGENCE)]
