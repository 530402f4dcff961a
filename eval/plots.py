"""Plot an experiment's tables, as SVG and PNG. Colours are safe for the colour-blind (Okabe & Ito 2008)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from avatargen.config.crossing import split_name
from avatargen.io.atomic import replacing
from eval.columns import column, groups, numbers, where
from eval.images import TRACKS
from eval.tables import heading, read_table

PLOTS = {
    "clip_r": "R@1: fraction of avatars whose own caption ranks first in the pool. Rings are the exported texture.",
    "ranks": "R@k: fraction of avatars whose own caption is among the first k of the pool, mean over judges.",
    "confusions": "Avatars in per cent whose own caption does not rank first, and that the first judge took for a head "
    "with another value of an attribute.",
    "convergence": "CLIP score of the front of the head under each judge, and losses, over the steps of generation: "
    "mean and quartiles over avatars.",
    "truth": "Distance to the ground-truth head of each prompt. Dots are avatars, bars are means; lower is better.",
    "cost": "Time and peak memory of generating one avatar.",
}
"""Caption of each plot in the report."""
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D1F", "#555555")
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
"""Line styles: of a method's priors, or of methods beyond the end of the palette, which repeat its colours."""
MANY = 6
"""With more methods than this, quartile bands are left out."""
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
NARROWEST = 4
"""Least width of a panel, in columns: what its title takes."""
TITLES = {"texture": "Texture (colour renders)", "geometry": "Geometry (clay renders)"}


def write_plots(tables: Path, plots: Path) -> list[str]:
    """Draw every plot that the tables have data for, and remove plots of earlier tables.

    Args:
        tables: folder to read from, see :mod:`eval.tabulate`.
        plots: folder to write to.

    Returns:
        The names of the plots.

    Raises:
        FileNotFoundError: the tables were not collected yet.
    """
    drawings = _drawings(tables)
    for name in PLOTS.keys() - drawings.keys():
        for kind in ("svg", "png"):
            (plots / f"{name}.{kind}").unlink(missing_ok=True)
    for name, draw in drawings.items():
        with mpl.rc_context(STYLE):
            save_figure(draw(), plots, name)
    return list(drawings)


def _drawings(tables: Path) -> dict[str, Callable[[], Figure]]:
    """Return a function that draws it for each plot that there is data for."""
    costs, truths = read_table(tables, "cost"), read_table(tables, "truth_records")
    curves, confused = read_table(tables, "convergence"), read_table(tables, "confusions")
    drawings: dict[str, Callable[[], Figure]] = {
        "clip_r": lambda: plot_clip_r(read_table(tables, "clip_r")),
        "ranks": lambda: plot_ranks(read_table(tables, "records")),
    }
    if _lasting(curves):
        drawings["convergence"] = lambda: plot_convergence(curves, _unique(costs, "method"))
    if len(confused):
        drawings["confusions"] = lambda: plot_confusions(confused)
    if len(truths):
        drawings["truth"] = lambda: plot_truth(truths)
    if numbers(column(costs, "seconds_mean"), errors="coerce").notna().any():
        drawings["cost"] = lambda: plot_cost(costs)
    return drawings


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write ``{name}.svg`` (transparent) and ``{name}.png`` (white, 200 dpi), atomically."""
    with replacing(folder / f"{name}.svg") as path:
        figure.savefig(path, transparent=True, metadata={"Date": None})
    with replacing(folder / f"{name}.png") as path:
        figure.savefig(path, dpi=200, facecolor="white")


def plot_clip_r(table: pd.DataFrame) -> Figure:
    """Plot R@1 with Wilson intervals: a panel for each track, a line for each method, a marker for each judge."""
    methods, judges = _unique(table, "method"), _unique(table, "judge")
    figure, axes = _panels(len(TRACKS), len(methods), 1 + 0.5 * (len(judges) - 1))
    for axis, track in zip(axes, TRACKS, strict=True):
        part = where(table, track=track)
        for number, judge in enumerate(judges):
            rows = where(part, judge=judge)
            y = _positions(column(rows, "method"), methods) + _dodge(number, len(judges))
            colours = [_colour(name, methods) for name in rows["method"]]
            axis.hlines(y, rows["r_at_1_low"], rows["r_at_1_high"], colors=colours, lw=3.2, alpha=0.32)
            axis.scatter(rows["r_at_1"], y, s=58, c=colours, marker=MARKERS[number % len(MARKERS)], zorder=3)
            axis.scatter(rows["r_at_1_baked"], y, s=58, facecolors="none", edgecolors=colours, zorder=2.5)
        axis.set(title=TITLES[track], xlim=(-0.03, 1.03), xlabel="R@1, 95 % Wilson interval")
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        _mark_chance(axis, column(part, "chance").mean())
        _name_methods(axis, methods)
    _judge_legend(axes[0], judges, has_baked=bool(table["r_at_1_baked"].notna().any()))
    return figure


def plot_ranks(records: pd.DataFrame) -> Figure:
    """Plot R@k for every k, mean over judges: a panel for each track, a line for each method."""
    methods = _unique(records, "method")
    figure = Figure(figsize=(9.6, max(3.5, 0.26 * len(methods) + 0.6)))
    axes = figure.subplots(1, len(TRACKS), sharey=True)
    for axis, track in zip(axes, TRACKS, strict=True):
        part = where(records, track=track)
        size = int(column(part, "pool_size").max())
        k = np.arange(1, size + 1)
        axis.plot(k, k / size, color=FAINT, ls=(0, (4, 3)), lw=1.2, label="chance")
        for method in methods:
            found = part.loc[part["method"] == method, "rank"].to_numpy()
            share = (found[:, None] <= k).mean(axis=0)
            axis.step(k, share, where="post", **_line(method, methods), lw=2, label=method)
        axis.set(title=TITLES[track], xlabel="k", ylim=(0, 1.03), xlim=(1, max(size, 2)))
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        axis.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].set_ylabel("R@k")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def plot_truth(truths: pd.DataFrame) -> Figure:
    """Plot distances to the ground-truth heads: a dot for each avatar, a bar for the mean."""
    methods = _unique(truths, "method")
    panels = {
        "geometry_mm": "Geometry, mm",
        "expression_error": "Expression, mm",
        "colour_error": "Colour, mean absolute RGB",
    }
    figure, axes = _panels(len(panels), len(methods))
    for axis, (name, title) in zip(axes, panels.items(), strict=True):
        for row, method in enumerate(methods):
            values = truths.loc[truths["method"] == method, name].to_numpy(dtype=float)
            jitter = 0.22 * (np.arange(len(values)) % 5 - 2) / 2
            colour = _colour(method, methods)
            axis.scatter(values, row + jitter, s=18, color=colour, alpha=0.45, linewidths=0)
            axis.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color=colour, lw=3, solid_capstyle="round")
        axis.set(title=title)
        axis.set_xlim(left=min(0.0, axis.get_xlim()[0]) if column(truths, name).min() > 0 else None)
        _name_methods(axis, methods)
    figure.supxlabel("distance to the ground-truth head; lower is better", fontsize=10)
    return figure


def plot_convergence(table: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Plot CLIP scores and losses over the steps: the mean of each method, with quartile bands for up to MANY methods.

    Args:
        table: see :func:`eval.convergence.convergence`.
        methods: of the experiment, in order, which decides their colours.
    """
    measures = sorted(_lasting(table), key=lambda name: (not name.startswith("clip_score"), name))
    figure = Figure(figsize=(9.6, 2.5 * -(-len(measures) // 3)))
    axes = list(figure.subplots(-(-len(measures) // 3), 3, squeeze=False).flat)
    for axis, measure in zip(axes, measures, strict=False):
        for (method,), part in groups(where(table, measure=measure), "method"):
            line = _line(method, methods)
            if len(methods) <= MANY:
                axis.fill_between(part["step"], part["low"], part["high"], color=line["color"], alpha=0.15, lw=0)
            axis.plot(part["step"], part["mean"], **line, lw=1.8, label=method)
        name, _, judge = measure.partition(":")
        axis.set(title=f"CLIP score, {judge}" if judge else name.capitalize().replace("_", " "), xlabel="step")
    for axis in axes[len(measures) :]:
        axis.set_visible(False)
    drawn = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in axes[: len(measures)]]
    handles = {label: line for pairs in drawn for line, label in pairs}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(5, len(handles)), fontsize=9)
    return figure


def _lasting(table: pd.DataFrame) -> list[str]:
    """Return the measures of a table of learning curves that have more than one step."""
    lengths = cast(pd.Series, table.groupby("measure")["step"].nunique())
    return [str(name) for name, length in lengths.items() if length > 1]


def plot_confusions(table: pd.DataFrame) -> Figure:
    """Plot confusions under the first judge as shaded cells in per cent.

    A panel for each track, a line for each method, a column for each attribute that is confused in the track.

    Args:
        table: see :func:`eval.confusions.confusions`.
    """
    methods, shares = _unique(table, "method"), list(table.columns[4:])
    first = table[table["judge"] == table["judge"].iloc[0]].set_index("method")
    parts = [first.loc[first["track"] == track, shares].reindex(methods) for track in TRACKS]
    parts = [part.loc[:, (part > 0).any() | (part.columns == "missed")] for part in parts]
    figure = Figure(figsize=(9.6, 2.1 + 0.3 * max(len(methods), 2)))
    axes = figure.subplots(1, len(TRACKS), sharey=True, width_ratios=[max(part.shape[1], NARROWEST) for part in parts])
    for axis, track, part in zip(axes, TRACKS, parts, strict=True):
        _shade_cells(axis, part)
        axis.set_title(TITLES[track])
        _name_methods(axis, methods)
        axis.grid(visible=False)
        axis.axvline(0.5, color="white", lw=3)
    return figure


def _shade_cells(axis: Axes, part: pd.DataFrame) -> None:
    """Draw fractions as shaded cells, with the positive ones in per cent."""
    values = part.to_numpy(dtype=float)
    axis.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (y, x), share in np.ndenumerate(values):
        if share > 0:
            ink = "white" if share > 0.6 else INK
            axis.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=8.5, color=ink)
    names = [heading(name) for name in part.columns]
    axis.set_xticks(range(len(names)), names, rotation=90)


def plot_cost(costs: pd.DataFrame) -> Figure:
    """Plot mean seconds and largest peak memory of one avatar's generation, where they are known."""
    methods = _unique(costs, "method")
    panels = {"seconds_mean": ("Seconds per avatar", 1), "peak_memory_mb_max": ("Peak memory, GiB", 1024)}
    figure, axes = _panels(len(panels), len(methods))
    for axis, (name, (title, unit)) in zip(axes, panels.items(), strict=True):
        values = numbers(column(costs, name), errors="coerce").to_numpy(dtype=float) / unit
        colours = [_colour(method, methods) for method in methods]
        bars = axis.barh(np.arange(len(methods)), np.nan_to_num(values), height=0.55, color=colours)
        labels = [f"{value:.1f}" if np.isfinite(value) else "unknown" for value in values]
        axis.bar_label(bars, labels, padding=4, color=INK)
        axis.margins(x=0.14)
        axis.set(title=title)
        _name_methods(axis, methods)
    return figure


def _panels(count: int, methods: int, line: float = 1.0) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(9.6, 1.3 + 0.42 * line * max(methods, 2)))
    axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    return figure, list(axes)


def _name_methods(axis: Axes, methods: Sequence[str]) -> None:
    axis.set_yticks(range(len(methods)), methods)
    axis.set_ylim(len(methods) - 0.45, -0.55)  # the first method on top
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)


def _mark_chance(axis: Axes, chance: float) -> None:
    axis.axvline(chance, color=FAINT, ls=(0, (4, 3)), lw=1.2, zorder=1)
    axis.annotate(
        "chance",
        (chance, 0.0),
        (4, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=FAINT,
    )


def _judge_legend(axis: Axes, judges: Sequence[str], has_baked: bool) -> None:
    for number, judge in enumerate(judges):
        axis.scatter([], [], s=50, c=INK, marker=MARKERS[number % len(MARKERS)], label=f"judge: {judge}")
    if has_baked:
        axis.scatter([], [], s=50, facecolors="none", edgecolors=INK, label="exported texture")
    axis.figure.legend(loc="outside lower center", ncols=len(judges) + 1, fontsize=9)


def _unique(table: pd.DataFrame, name: str) -> list[str]:
    return list(dict.fromkeys(column(table, name).astype(str)))


def _colour(run: str, runs: Sequence[str]) -> str:
    """Return a run's colour: that of its method, under all priors."""
    methods = list(dict.fromkeys(split_name(name)[0] for name in runs))
    return PALETTE[methods.index(split_name(run)[0]) % len(PALETTE)]


def _line(run: str, runs: Sequence[str]) -> dict[str, Any]:
    """Return the colour and style of a run's line."""
    priors = list(dict.fromkeys(split_name(name)[1] for name in runs if split_name(name)[1]))
    methods = list(dict.fromkeys(split_name(name)[0] for name in runs))
    method, prior = split_name(run)
    style = priors.index(prior) if prior else methods.index(method) // len(PALETTE)
    return {"color": _colour(run, runs), "ls": DASHES[style % len(DASHES)]}


def _positions(names: pd.Series, methods: Sequence[str]) -> np.ndarray:
    return np.array([methods.index(name) for name in names], dtype=float)


def _dodge(number: int, count: int) -> float:
    return 0.0 if count == 1 else 0.36 * (number / (count - 1) - 0.5)
