"""Colours, lines and panels that the plots of :mod:`eval.plots` share.

Colours are safe for the colour-blind (Okabe & Ito 2008, Tol 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from avatargen.config.crossing import split_name
from avatargen.io.atomic import replacing
from eval.columns import column
from eval.images import TRACKS
from eval.subsets import by_subset

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D1F", "#555555", "#882255", "#999933")
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
"""Line styles: of a method's priors, or of methods beyond the end of the palette, which repeat its colours."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
INK, FAINT = "#22252B", "#8A8F98"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#C9CCD2",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E7E9ED",
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "svg.hashsalt": "avatargen",  # the same plot is the same file
    "figure.constrained_layout.use": True,
}
TITLES = {
    "texture": "Texture (colour renders)",
    "shape_in_colour": "Shape (colour renders)",
    "geometry": "Geometry (clay renders)",
}


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write ``{name}.svg`` (transparent) and ``{name}.png`` (white, 200 dpi), atomically."""
    with replacing(folder / f"{name}.svg") as path:
        figure.savefig(path, transparent=True, metadata={"Date": None})
    with replacing(folder / f"{name}.png") as path:
        figure.savefig(path, dpi=200, facecolor="white")


def panels(count: int, methods: int, line: float = 1.0) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with panels side by side that have a line for each method, `line` times as high as usual."""
    figure = Figure(figsize=(9.6, 1.3 + 0.42 * line * max(methods, 2)))
    axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    return figure, list(axes)


def with_lines(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the name of each row's line: its method, and its subset where there are several."""
    names = table["method"].astype(str)
    several = column(table, "subset").nunique() > 1
    return table.assign(line=names + " · " + table["subset"].astype(str) if several else names)


def lines_of(table: pd.DataFrame, methods: Sequence[str]) -> list[str]:
    """Return the lines from top to bottom: subset by subset, methods in order."""
    rank = {name: position for position, name in enumerate(methods)}
    parts = (part for _, part in by_subset(table))
    return [
        str(line)
        for part in parts
        for line in dict.fromkeys(part.sort_values("method", key=lambda names: names.map(rank), kind="stable")["line"])
    ]


def tracks_of(table: pd.DataFrame) -> list[str]:
    """Return the tracks in a table, in order."""
    return [track for track in TRACKS if track in set(table["track"])]


def name_lines(axis: Axes, lines: Sequence[str]) -> None:
    """Write the names of a panel's lines on its vertical axis."""
    axis.set_yticks(range(len(lines)), lines)
    axis.set_ylim(len(lines) - 0.45, -0.55)  # the first one on top
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)


def mark_chance(axis: Axes, chance: float) -> None:
    """Draw a panel's chance level as a vertical line."""
    axis.axvline(chance, color=FAINT, ls=(0, (4, 3)), lw=1.2, zorder=1)
    axis.annotate(
        "chance",
        (chance, 0.0),
        (4, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=FAINT,
    )


def judge_legend(axis: Axes, judges: Sequence[str], has_baked: bool) -> None:
    """Explain the markers of judges, and the ring of exported textures, below a figure."""
    for number, judge in enumerate(judges):
        axis.scatter([], [], s=50, c=INK, marker=MARKERS[number % len(MARKERS)], label=f"judge: {judge}")
    if has_baked:
        axis.scatter([], [], s=50, facecolors="none", edgecolors=INK, label="exported texture")
    axis.figure.legend(loc="outside lower center", ncols=len(judges) + 1, fontsize=9)


def unique(table: pd.DataFrame, name: str) -> list[str]:
    """Return the values of a column as text, each once."""
    return list(dict.fromkeys(column(table, name).astype(str)))


def colour_of(run: str, runs: Sequence[str]) -> str:
    """Return a run's colour: that of its method, under all priors."""
    methods = list(dict.fromkeys(split_name(name)[0] for name in runs))
    return PALETTE[methods.index(split_name(run)[0]) % len(PALETTE)]


def line_style(run: str, runs: Sequence[str]) -> dict[str, Any]:
    """Return the colour and style of a run's line."""
    priors = list(dict.fromkeys(split_name(name)[1] for name in runs if split_name(name)[1]))
    methods = list(dict.fromkeys(split_name(name)[0] for name in runs))
    method, prior = split_name(run)
    style = priors.index(prior) if prior else methods.index(method) // len(PALETTE)
    return {"color": colour_of(run, runs), "ls": DASHES[style % len(DASHES)]}


def positions(names: pd.Series, methods: Sequence[str]) -> np.ndarray:
    """Return the height of each line in a panel."""
    return np.array([methods.index(name) for name in names], dtype=float)


def dodge(number: int, count: int) -> float:
    """Return how far the marker of one of several judges is moved off its line."""
    return 0.0 if count == 1 else 0.36 * (number / (count - 1) - 0.5)
