"""How good the embedded models are: ``avatargen/weights/REPORT.md`` and its pictures.

Everything is measured on the benchmark's study prompts, whose combinations of attributes no image of the training
sets shows, among the captions of its own pools.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
import torch
from PIL import Image

from avatargen.config.places import ROOT
from avatargen.config.prompts import read_list
from avatargen.config.settings import PriorSettings
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.attributes import Attributes
from avatargen.headworld.phrases import caption, parse
from avatargen.io.content_hash import weights_id
from avatargen.priors.base import Prior, load_prior
from avatargen.render.base import Renderer
from avatargen.training.measures import (
    AGAIN,
    BETWEEN,
    GUIDED_FROM,
    Judge,
    Pictures,
    attribute_accuracy,
    decoded,
    recall,
    render_heads,
    sample_heads,
)
from avatargen.training.train_vae import psnr, reconstruct

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LIST = ROOT / "prompts" / "embedded-study.tsv"
RENDERS = 32
"""Renders, and samples, of each of the 36 prompts: 1,152, so that a rate is known to within a hundredth or so."""
NOISE = 0.2
"""Deviation of the noise in latents that judges have to see past."""
JUDGED = (
    "A true head has what its prompt leaves unsaid at the template's value, and is what avatars are compared with; "
    "others of its caption are of other individuals. Cameras, light and backgrounds are random. Samples are told "
    f"each of 16 directions in turn, and get noise again {AGAIN} times, from {BETWEEN[0]:g} of the schedule to "
    f"{BETWEEN[1]:g} (Restart sampling, arXiv 2306.14878)."
)
"""What a reader of the judges' table has to know."""
Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Shown:
    """A row of pictures for the judges.

    Attributes:
        clay: textureless, so that the pool is of shapes.
        front, beside: azimuth within FRONT, and beyond, if that was drawn too.
    """

    name: str
    clay: bool
    front: Pictures
    beside: Pictures | None = None


def write_report(
    head: AnnyHead, renderer: Renderer, assets: Path, work: Path, guidance: float, judges: tuple[str, ...]
) -> str:
    """Measure the VAE, the judges and the prior's samples; write tables and pictures beside the weights."""
    heads = [_known(item.prompt) for item in read_list(LIST)]
    views, truths = (
        {
            (clay, front): render_heads(head, renderer, heads, RENDERS, clay, front, 44 + 2 * clay + front, true)
            for clay in (False, True)
            for front in (True, False)
        }
        for true in (False, True)
    )
    prior = load_prior(PriorSettings(path=str(assets / "prior")))
    samples, beside = (
        sample_heads(prior, [caption(one) for one in heads], RENDERS, guidance, front) for front in (True, False)
    )
    drawn = f"samples of the prior at guidance {guidance:g}, above {GUIDED_FROM:g} of the schedule"
    loaded = {name: Judge(assets / name) for name in judges}
    front = views[False, True]
    shown = [
        Shown("true heads in colour", False, truths[False, True], truths[False, False]),
        Shown("true heads in clay", True, truths[True, True], truths[True, False]),
        Shown("others of the same captions, in colour", False, front, views[False, False]),
        Shown("the same, encoded and decoded", False, decoded(prior, front, 0.0)),
        Shown(f"the same, with noise of {NOISE} in the latents", False, decoded(prior, front, NOISE)),
        Shown("others of the same captions, in clay", True, views[True, True], views[True, False]),
        Shown(drawn, False, samples, beside),
    ]
    parts = [
        "# The embedded models on combinations that no image of their training sets shows",
        "`python -m avatargen.headworld report` writes this page. Heads are those of `prompts/embedded-study.tsv`, "
        f"{RENDERS} renders or samples of each; pools are the benchmark's.",
        "## Weights",
        "Frozen: scores of other weights are of another protocol.",
        _table(("folder", "hash", "MB"), weights_rows(assets, ("prior", *judges))),
        "## Prior",
        _table(("figure", "value"), _prior_rows(assets, prior, front)),
        "![renders above, their reconstructions below](reconstructions.png)",
        "## Judges: R@1",
        JUDGED,
        _table(("judge", "pictures", "pool", "within 60°", "side and back"), _judge_rows(loaded, heads, shown)),
        "## Attribute by attribute",
        "How often the judge picks the right one of captions that differ in this attribute alone; azimuth within 60°.",
        *(_attribute_table(name, judge, heads, views, samples) for name, judge in loaded.items()),
        "## Pictures",
        f"Renders, and {drawn}: those within 60°.",
        "![renders](heads.jpg)\n![samples](samples.jpg)\n![curves](curves.png)",
    ]
    sheet(front, [caption(one) for one in heads], assets / "heads.jpg")
    sheet(samples, [caption(one) for one in heads], assets / "samples.jpg")
    _reconstructions(assets, front.images[:: RENDERS * 3][:12])
    _curves(work, assets / "curves.png")
    text = "\n\n".join(parts) + "\n"
    (assets / "REPORT.md").write_text(text, encoding="utf-8")
    return text


def weights_rows(assets: Path, names: tuple[str, ...]) -> Rows:
    """Folder, hash and size of models."""

    def size(name: str) -> int:
        return sum(path.stat().st_size for path in (assets / name).rglob("*") if path.is_file())

    return [(f"`{name}/`", f"`{weights_id(str(assets / name))[:12]}`", f"{size(name) / 1e6:.1f}") for name in names]


def _known(prompt: str) -> Attributes:
    head = parse(prompt)
    assert head is not None, prompt
    return head


def _pool(kind: str) -> list[str]:
    """The captions of the study's negatives or geometry pool."""
    name = {"negatives": f"{LIST.stem}.negatives.txt", "geometry": f"{LIST.stem}-geometry.txt"}[kind]
    return [line for line in (LIST.parent / name).read_text().splitlines() if not line.startswith("#")]


def _prior_rows(assets: Path, prior: Prior, renders: Pictures) -> Rows:
    where = "GPU" if prior.device.type == "cuda" else f"{torch.get_num_threads()} thread(s)"
    return [
        ("VAE reconstruction, PSNR", f"{psnr(_vae(assets), renders.images):.1f} dB"),
        (f"an evaluation of the UNet, batch of 8, {where}", f"{evaluation_ms(prior):.1f} ms"),
    ]


def evaluation_ms(prior: Prior, batch: int = 8, repeats: int = 5) -> float:
    """Milliseconds that the UNet takes for one sample of a batch."""
    x = torch.zeros(batch, prior.latent_channels, 32, 32, device=prior.device)
    t, text = torch.full((batch,), 500, device=prior.device), prior.embed([""] * batch)

    def clock() -> float:
        if prior.device.type == "cuda":
            torch.cuda.synchronize()  # a GPU has only been asked so far
        return time.perf_counter()

    prior.predict(x, t, text)
    start = clock()
    for _ in range(repeats):
        prior.predict(x, t, text)
    return (clock() - start) / (batch * repeats) * 1000


def _judge_rows(judges: dict[str, Judge], heads: list[Attributes], shown: list[Shown]) -> Rows:
    """R@1 of each judge for each kind of pictures."""
    rows = []
    for name, judge in judges.items():
        for row in shown:
            own = [caption(one, not row.clay) for one in heads]
            pool = list(dict.fromkeys([*own, *_pool("geometry" if row.clay else "negatives")]))
            found = (recall(judge, pictures, own, pool) if pictures else None for pictures in (row.front, row.beside))
            cells = ("–" if rate is None else f"{rate:.3f}" for rate in found)
            rows.append((name, row.name, f"{len(pool)}", *cells))
    return rows


def _attribute_table(
    name: str, judge: Judge, heads: list[Attributes], views: dict[tuple[bool, bool], Pictures], samples: Pictures
) -> str:
    colour, made = (attribute_accuracy(judge, pictures, heads) for pictures in (views[False, True], samples))
    clay = attribute_accuracy(judge, views[True, True], heads, colours=False)
    rows = [
        (
            key, f"{chance:.2f}", f"{value:.2f}", f"{clay[key][0]:.2f}" if key in clay else "–", f"{made[key][0]:.2f}"
        )
        for key, (value, chance) in colour.items()
    ]  # fmt: skip
    return _table((name, "chance", "colour renders", "clay renders", "samples"), rows)


def _table(header: tuple[str, ...], rows: Rows) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _vae(assets: Path) -> torch.nn.Module:
    from diffusers import AutoencoderTiny

    return AutoencoderTiny.from_pretrained(assets / "prior", subfolder="vae", dtype=torch.float32)


def _reconstructions(assets: Path, images: np.ndarray) -> None:
    rows = [np.concatenate(list(part), axis=1) for part in (images, reconstruct(_vae(assets), images))]
    Image.fromarray(np.concatenate(rows)).save(assets / "reconstructions.png")


def sheet(pictures: Pictures, captions: list[str], path: Path, columns: int = 8, rows: int = 8) -> None:
    """A picture of `columns` x `rows` heads with their captions below."""
    chosen = np.linspace(0, len(pictures.images) - 1, columns * rows).astype(int)
    figure, axes = plt.subplots(rows, columns, figsize=(1.6 * columns, 2.0 * rows))
    for axis, k in zip(axes.flat, chosen, strict=True):
        axis.imshow(pictures.images[k])
        axis.set_title(fill(captions[pictures.own[k]], 34), fontsize=5, va="top", y=-0.03, pad=0)
        axis.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.04, hspace=0.34, wspace=0.06)
    figure.savefig(path, dpi=110, pil_kwargs={"quality": 85})
    plt.close(figure)


def _curves(work: Path, path: Path) -> None:
    """The losses of all trainings that left a curve."""
    files = sorted(work.glob("*-curve.jsonl"))
    if not files:
        return
    figure, axes = plt.subplots(1, len(files), figsize=(2.6 * len(files), 2.4), squeeze=False)
    for axis, file in zip(axes.flat, files, strict=True):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        axis.plot([row["step"] for row in rows], [row["loss"] for row in rows])
        axis.set(title=file.name.removesuffix("-curve.jsonl"), xlabel="step", yscale="log")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
