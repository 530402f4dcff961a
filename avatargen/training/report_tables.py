"""Fill the tables of the weights' report: sizes, speed, R@1 of the judges, accuracy by attribute."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from avatargen.config.places import shipped
from avatargen.headworld.attributes import Attributes, sample
from avatargen.headworld.phrases import caption
from avatargen.headworld.pools import swaps
from avatargen.io.content_hash import weights_id
from avatargen.priors.base import Prior
from avatargen.training.measures import Judge, attribute_accuracy, recall
from avatargen.training.pictures import Pictures

LIST = shipped("prompts") / "embedded-study.tsv"
"""The prompts whose heads are measured."""
SWAPS, SHAPES = 4, 64
"""Captions with one attribute swapped for each head, in the pool of colour; captions in the pool of clay."""
Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Shown:
    """Pictures that the judges are measured on: one row per judge.

    Attributes:
        name: of the row.
        clay: textureless; the pool then names shape only.
        front: views from the front.
        beside: views from the side and the back, if measured.
    """

    name: str
    clay: bool
    front: Pictures
    beside: Pictures | None = None


def table(header: tuple[str, ...], rows: Rows) -> str:
    """Return a Markdown table.

    Example:
        >>> print(table(("figure", "value"), [("PSNR", "32.7 dB")]))
        | figure | value |
        | --- | --- |
        | PSNR | 32.7 dB |
    """
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def weights_rows(weights: Path, names: tuple[str, ...]) -> Rows:
    """Return folder, hash and size in MB of each model.

    Args:
        weights: the folder of all models.
        names: their folders.
    """

    def size(name: str) -> int:
        return sum(path.stat().st_size for path in (weights / name).rglob("*") if path.is_file())

    return [(f"`{name}/`", f"`{weights_id(str(weights / name))[:12]}`", f"{size(name) / 1e6:.1f}") for name in names]


def prior_rows(prior: Prior, psnr: float) -> Rows:
    """Return the autoencoder's quality and the UNet's speed.

    Args:
        prior: the prior.
        psnr: of reconstructions, dB.
    """
    where = "GPU" if prior.device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return [
        ("autoencoder, PSNR of reconstructions", f"{psnr:.1f} dB"),
        (f"UNet, time per sample, batch of 8, {where}", f"{evaluation_ms(prior):.1f} ms"),
    ]


def evaluation_ms(prior: Prior, batch: int = 8, repeats: int = 5) -> float:
    """Return the milliseconds that the UNet takes per sample of a batch."""
    x = torch.zeros(batch, prior.latent_channels, 32, 32, device=prior.device)
    t, text = torch.full((batch,), 500, device=prior.device), prior.embed([""] * batch)

    def clock() -> float:
        if prior.device.type == "cuda":
            torch.cuda.synchronize()  # a GPU works asynchronously
        return time.perf_counter()

    prior.predict(x, t, text)
    start = clock()
    for _ in range(repeats):
        prior.predict(x, t, text)
    return (clock() - start) / (batch * repeats) * 1000


def judge_rows(judges: dict[str, Judge], heads: list[Attributes], shown: list[Shown]) -> Rows:
    """Return R@1 of each judge for each kind of pictures, and the size of the pool."""
    rows, pools = [], caption_pools(heads)
    for name, judge in judges.items():
        for row in shown:
            own, pool = [caption(one, not row.clay) for one in heads], pools[row.clay]
            found = (recall(judge, pictures, own, pool) if pictures else None for pictures in (row.front, row.beside))
            cells = ("–" if rate is None else f"{rate:.3f}" for rate in found)
            rows.append((name, row.name, f"{len(pool)}", *cells))
    return rows


def caption_pools(heads: list[Attributes]) -> dict[bool, list[str]]:
    """Return the captions that pictures are ranked among: of colour renders (False) and of clay renders (True).

    Args:
        heads: whose own captions come first. Colour adds `SWAPS` for each; clay adds random ones up to `SHAPES`.
    """
    rng = np.random.default_rng(0)
    swapped = [caption(other) for head in heads for other in swaps(head, rng, SWAPS)]
    shapes = dict.fromkeys(caption(head, colours=False) for head in heads)
    while len(shapes) < SHAPES:
        shapes.setdefault(caption(sample(rng), colours=False))
    return {False: list(dict.fromkeys([*map(caption, heads), *swapped])), True: list(shapes)}


def attribute_rows(judge: Judge, heads: list[Attributes], colour: Pictures, clay: Pictures, samples: Pictures) -> Rows:
    """Return chance level and accuracy for each attribute, in colour renders, clay renders and samples."""
    found, made = (attribute_accuracy(judge, pictures, heads) for pictures in (colour, samples))
    shape = attribute_accuracy(judge, clay, heads, colours=False)
    return [
        (
            name,
            f"{chance:.2f}",
            f"{rate:.2f}",
            f"{shape[name][0]:.2f}" if name in shape else "–",
            f"{made[name][0]:.2f}",
        )
        for name, (rate, chance) in found.items()
    ]
