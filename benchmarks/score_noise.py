"""Measure how far rounding moves each score of CLIP-R: the choice of the score that tables are sorted by.

    python benchmarks/score_noise.py results/embedded

It reads the embeddings of a finished run, with and without noise of -1, 0 or +1 of 255, and prints for each score, mean
over judges and tracks:

scatter  standard deviation of a method's mean over the draws of noise, divided by the standard deviation over methods
shift    change of a method's mean by noise, mean over the draws, without its sign, divided by the same
width    standard deviation over the draws, divided by half the width of the 95% interval over prompts
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.io.manifest import Row, read_manifests  # noqa: E402
from avatargen.preflight.plan import read_plan  # noqa: E402
from eval.captions import CaptionEmbeddings  # noqa: E402
from eval.embeddings import Embeddings, load_embeddings  # noqa: E402
from eval.images import KINDS_OF_TRACK  # noqa: E402
from eval.pools import Pool, in_method_order, read_pools  # noqa: E402

SCORES = ("R@1", "R@5", "MRR", "mean rank", "margin", "CLIP score")


def scores_of(embeddings: Embeddings, kind: str, captions: np.ndarray, own: int, rivals: Sequence[int]) -> np.ndarray:
    """Return SCORES of an avatar: without noise, then under each draw."""
    means = np.concatenate((embeddings.kinds[kind].mean(0, keepdims=True), embeddings.noisy[kind]))
    similar = (means @ captions[[own, *rivals]].T).astype(np.float64)
    best, rank = similar[:, 1:].max(1), 1 + (similar[:, 1:] >= similar[:, :1]).sum(1)
    return np.stack((rank == 1, rank <= 5, 1 / rank, rank, similar[:, 0] - best, similar[:, 0]), axis=1)


def movement(scores: np.ndarray) -> np.ndarray:
    """Return scatter, shift and width of each score, see the module.

    Args:
        scores: by method, prompt, draw (the first one without noise) and score.
    """
    means, prompts = scores.mean(1), scores.shape[1]
    scatter = np.sqrt(means[:, 1:].var(1, ddof=1).mean(0))
    shift = np.abs(means[:, 1:].mean(1) - means[:, 0]).mean(0)
    half = 1.96 * (scores[:, :, 0].std(1, ddof=1) / np.sqrt(prompts)).mean(0)
    spread = means[:, 0].std(0, ddof=1)
    return np.stack((scatter / spread, shift / spread, scatter / half))


def table_of(
    rows: Iterable[Row], captions: Mapping[str, CaptionEmbeddings], pools: Mapping[str, Pool], root: Path
) -> pd.DataFrame:
    """Return the movement of each score, mean over judges and tracks; all methods need the same prompts and seeds."""
    found: dict[tuple[str, str], dict[str, list[np.ndarray]]] = {}
    for row in rows:
        for judge, texts in captions.items():
            embeddings = load_embeddings(root / row.folder, judge)
            for track, pool in pools.items():
                own, rivals = pool.own[row.unit], pool.rivals[row.unit]
                scores = scores_of(embeddings, KINDS_OF_TRACK[track][0], texts.pools[track], own, rivals)
                found.setdefault((judge, track), {}).setdefault(row.method, []).append(scores)
    moved = [movement(np.stack([np.stack(avatars) for avatars in methods.values()])) for methods in found.values()]
    mean = np.mean(moved, axis=0).T
    return pd.DataFrame(mean, index=pd.Index(SCORES, name="score"), columns=["scatter", "shift", "width"])


def main() -> None:
    """Print the table of a finished run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a run whose methods have the same prompts, no failures")
    folder = parser.parse_args().results
    study = read_plan(folder / "plan.json")
    rows = read_manifests(sorted(folder.glob("*/*/generate/*.jsonl")))
    rows = in_method_order((row for row in rows if row.method in study.runs), list(study.runs))
    captions = {name: CaptionEmbeddings.load(folder / f"captions/{name}.npz") for name in study.judges}
    root = folder.resolve().parent.parent
    print(table_of(rows, captions, read_pools(rows, study.files), root).round(4).to_markdown())


if __name__ == "__main__":
    main()
