"""How methods converge: losses, coverage and CLIP scores on the way, averaged over avatars."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from avatargen.io.history import LOSSES, History
from avatargen.io.manifest import Row
from eval.embeddings import load_embeddings

CONVERGENCE = ("method", "measure", "step", "n", "mean", "low", "high")
CLIP_SCORE = "clip_score"


def convergence(
    rows: Sequence[Row],
    captions: Mapping[str, Mapping[str, Float[np.ndarray, " D"]]],
    root: Path,
    guides: Mapping[str, Container[str]],
) -> pd.DataFrame:
    """One row a method, measure and step: mean and quartiles over its finished avatars.

    Args:
        captions: for each judge, the embedding of each prompt.
        root: what the rows' folders are relative to.
        guides: for each method, the judges that guided it; these do not judge it.

    Measures are the losses of generation and, for each judge, ``clip_score:{judge}``: the cosine of the prompt with
    the front of the head as it was at that step. Methods without steps have no rows.
    """
    lines = []
    for row in rows:
        if row.status != "ok":
            continue
        history = History.load(root / row.folder)
        lines += [
            (row.method, name, step, losses[name])
            for step, losses in history.entries
            for name in LOSSES
            if np.isfinite(losses[name])
        ]
        steps = [step for step, _ in history.snapshots]
        for judge in [name for name in captions if name not in guides.get(row.method, ())]:
            texts = captions[judge]
            progress = load_embeddings(root / row.folder, judge).progress
            scores = (progress @ texts[row.prompt]).tolist() if len(progress) == len(steps) else []
            lines += [(row.method, f"{CLIP_SCORE}:{judge}", *pair) for pair in zip(steps, scores, strict=False)]
    frame = pd.DataFrame(lines, columns=["method", "measure", "step", "value"])
    groups = frame.groupby(["method", "measure", "step"], sort=False)["value"]
    made = groups.agg(n="size", mean="mean", low=lambda v: v.quantile(0.25), high=lambda v: v.quantile(0.75))
    return made.reset_index()[list(CONVERGENCE)] if len(frame) else pd.DataFrame(columns=list(CONVERGENCE))
