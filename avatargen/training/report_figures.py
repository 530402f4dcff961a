"""Draw the pictures of the weights' report: contact sheets, reconstructions, curves."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
from PIL import Image

from avatargen.training.pictures import Pictures

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def contact_sheet(pictures: Pictures, captions: list[str], path: Path, columns: int = 8, rows: int = 8) -> None:
    """Write `columns` x `rows` of the pictures with their captions below.

    Args:
        pictures: at least one.
        captions: of each head.
        path: a JPEG file.
        columns: of the sheet.
        rows: of the sheet.
    """
    chosen = np.linspace(0, len(pictures.images) - 1, columns * rows).astype(int)
    figure, axes = plt.subplots(rows, columns, figsize=(1.6 * columns, 2.0 * rows))
    for axis, k in zip(axes.flat, chosen, strict=True):
        axis.imshow(pictures.images[k])
        axis.set_title(fill(captions[pictures.own[k]], 34), fontsize=5, va="top", y=-0.03, pad=0)
        axis.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.04, hspace=0.34, wspace=0.06)
    figure.savefig(path, dpi=110, pil_kwargs={"quality": 85})
    plt.close(figure)


def reconstruction_strip(images: np.ndarray, reconstructed: np.ndarray, path: Path) -> None:
    """Write images side by side above their reconstructions; both are uint8 (N, H, W, 3)."""
    rows = [np.concatenate(list(part), axis=1) for part in (images, reconstructed)]
    Image.fromarray(np.concatenate(rows)).save(path)


def curves(work: Path, path: Path) -> None:
    """Plot the losses of all trainings that left a ``*-curve.jsonl`` in `work`; write nothing where none did."""
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
