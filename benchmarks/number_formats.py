"""Scores of the same latents with the prior's networks in bfloat16 and in float32.

    python benchmarks/number_formats.py results/embedded [--method full]

Steps run in the format that is fastest on their device; judges see what is decoded in float32 whatever that is. For the
finished avatars of a run with a prior of a Stable Diffusion family, this shows scores where the autoencoder follows the
steps' format, and as judges see them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.experiment import EvaluationSettings  # noqa: E402
from avatargen.config.loading import load_experiment, load_library  # noqa: E402
from avatargen.config.places import list_folders  # noqa: E402
from avatargen.config.prompts import find_list  # noqa: E402
from avatargen.io.avatar_file import load_avatar  # noqa: E402
from avatargen.io.manifest import Row, read_manifests  # noqa: E402
from avatargen.priors import stable_diffusion  # noqa: E402
from avatargen.priors.base import load_prior  # noqa: E402
from eval.embed import Judge  # noqa: E402
from eval.images import KINDS_OF_TRACK, Images  # noqa: E402
from eval.pools import Pool, read_pools  # noqa: E402
from eval.retrieval import Retrieval, retrieve  # noqa: E402
from eval.views import RenderTools, decode_views, neural_colour, protocol_cameras  # noqa: E402

FORMATS = (torch.bfloat16, torch.float32)
HEADER = ("decoded in", "judge", "track", "R@1", "mean reciprocal rank", "CLIP score", "margin")


def main() -> None:
    """Print a Markdown table of scores, and how many ranks and scores the format of the steps changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run, named like its experiment")
    parser.add_argument("--method", default="full")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    experiment, library = load_experiment(options.run.name), load_library()
    rows = read_manifests(sorted(options.run.glob(f"*/{options.method}/generate/*.jsonl")))
    rows = [row for row in rows if row.status == "ok"]
    pools = read_pools(rows, {name: find_list(name, list_folders()) for name in experiment.lists})
    judges = [Judge.load(name, library.judges[name], ROOT) for name in experiment.judges]
    tools = RenderTools.load(experiment.head, experiment.renderer, library.priors[experiment.prior], ROOT)
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for exact in (False, True):
        scores = []
        for dtype in FORMATS:
            with patch.object(stable_diffusion, "network_dtype", lambda _device, dtype=dtype: dtype):
                prior = load_prior(tools.prior_settings, ROOT, exact)
            images = shown(options.run, rows, replace(tools, prior=prior), experiment.evaluation)
            scores.append(score(images, rows, judges, pools))
            for (judge, track), found in scores[-1].items():
                name = str(torch.float32 if exact else dtype).removeprefix("torch.")
                steps = f" (steps in {str(dtype).removeprefix('torch.')})" if exact else ""
                print(f"| {name}{steps} | {judge} | {track} | {' | '.join(means(found))} |", flush=True)
        report(scores, exact)


def shown(run: Path, rows: list[Row], tools: RenderTools, settings: EvaluationSettings) -> list[Images]:
    """Return the neural colours of each avatar."""
    made = []
    for row in rows:
        avatar = load_avatar(run / row.list / row.method / "avatars" / row.id)
        decoded = decode_views(avatar, tools, protocol_cameras(avatar, tools, settings), settings.background)
        made.append(neural_colour(decoded, settings.size))
    return made


def score(
    images: list[Images], rows: list[Row], judges: list[Judge], pools: dict[str, Pool]
) -> dict[tuple[str, str], list[Retrieval]]:
    """Return the retrieval of each avatar, by judge and track in colour."""
    found: dict[tuple[str, str], list[Retrieval]] = {}
    for judge in judges:
        seen = [judge.embed_images(views) for views in images]
        for track, pool in pools.items():
            if "texture" in KINDS_OF_TRACK[track]:
                captions = judge.embed_texts(pool.captions)
                found[judge.name, track] = [
                    retrieve(views, captions, pool.own[row.unit], pool.rivals[row.unit])
                    for views, row in zip(seen, rows, strict=True)
                ]
    return found


def means(found: list[Retrieval]) -> list[str]:
    """Return the cells of a row: R@1, mean reciprocal rank, CLIP score and margin."""
    columns = [
        [one.rank == 1 for one in found],
        [1 / one.rank for one in found],
        [one.clip_score for one in found],
        [one.margin for one in found],
    ]
    return [f"{np.mean(values):.6f}" for values in columns]


def report(scores: list[dict[tuple[str, str], list[Retrieval]]], exact: bool) -> None:
    """Print how many ranks, and CLIP scores in full precision, differ between the formats of the steps."""
    one, other = ([each for found in part.values() for each in found] for part in scores)
    pairs = list(zip(one, other, strict=True))
    ranks = sum(a.rank != b.rank for a, b in pairs)
    clip = sum(a.clip_score != b.clip_score for a, b in pairs)
    most = max(abs(a.margin - b.margin) for a, b in pairs)
    path = "float32 for judges" if exact else "the steps' format for judges"
    print(
        f"\n{path}: {ranks} ranks and {clip} CLIP scores of {len(pairs)} differ; "
        f"largest change of a margin {most:.6f}\n",
        flush=True,
    )


if __name__ == "__main__":
    main()
