"""Fill the tables of the weights' report: sizes, speed, R@1 of the judges, accuracy by attribute."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from avatargen.config.places import shipped
from avatargen.headworld.attributes import Attributes
from avatargen.headworld.phrases import caption
from avatargen.io.content_hash import weights_id
from avatargen.priors.base import Prior
from avatargen.training.measures import Judge, attribute_accuracy, recall
from avatargen.training.pictures import Pictures

LIST = shipped("prompts") / "embedded-study.tsv"
"""The prompts whose heads are measured; the pools lie beside it."""
POOLS = {"colour": f"{LIST.stem}.negatives.txt", "clay": f"{LIST.stem}-geometry.txt"}
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
    rows = []
    for name, judge in judges.items():
        for row in shown:
            own = [caption(one, not row.clay) for one in heads]
            pool = list(dict.fromkeys([*own, *_pool("clay" if row.clay else "colour")]))
            found = (recall(judge, pictures, own, pool) if pictures else None for pictures in (row.front, row.beside))
            cells = ("–" if rate is None else f"{rate:.3f}" for rate in found)
            rows.append((name, row.name, f"{len(pool)}", *cells))
    return rows


def _pool(kind: str) -> list[str]:
    """Return the captions of the study's pool for colour or clay pictures."""
    return [line for line in (LIST.parent / POOLS[kind]).read_text().splitlines() if not line.startswith("#")]


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
