"""Plot an experiment's tables, as SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from eval.columns import column, groups, numbers, where
from eval.plot_style import (
    FAINT,
    INK,
    MARKERS,
    STYLE,
    TITLES,
    colour_of,
    dodge,
    judge_legend,
    line_style,
    lines_of,
    mark_chance,
    name_lines,
    panels,
    positions,
    save_figure,
    tracks_of,
    unique,
    with_lines,
)
from eval.subsets import by_subset, each_subset
from eval.tables import INVERTED, heading, read_table

PLOTS = {
    "clip_r": "R@1: fraction of avatars whose own caption ranks first in its pool; thin dark lines lead to its "
    "values under noise of ±1/255. Rings are the exported texture.",
    "ranks": "R@k: fraction of avatars whose own caption is among the first k of its pool, mean over judges.",
    "confusions": "Avatars in per cent whose own caption does not rank first, and that the first judge took for a head "
    "with another value of an attribute.",
    "convergence": "CLIP score of the front of the head under each judge, and losses, over the steps of generation: "
    "mean and quartiles over avatars.",
    "truth": "Distance to the ground-truth head of each prompt. Dots are avatars, bars are means; lower is better.",
    "cost": "Time and peak memory of generating one avatar.",
}
"""Caption of each plot in the report."""
MANY = 6
"""With more methods than this, quartile bands are left out."""
NARROWEST = 4
"""Least width of a panel, in columns: what its title takes."""


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
    methods = unique(costs, "method")  # in the order of the experiment, which decides their colours
    drawings: dict[str, Callable[[], Figure]] = {
        "clip_r": lambda: plot_clip_r(read_table(tables, "clip_r"), methods),
        "ranks": lambda: plot_ranks(read_table(tables, "records"), methods),
    }
    if _lasting(curves):
        drawings["convergence"] = lambda: plot_convergence(curves, methods)
    if len(confused):
        drawings["confusions"] = lambda: plot_confusions(confused, methods)
    if len(truths):
        drawings["truth"] = lambda: plot_truth(truths, methods)
    if numbers(column(costs, "seconds_mean"), errors="coerce").notna().any():
        drawings["cost"] = lambda: plot_cost(costs)
    return drawings


def plot_clip_r(table: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Plot R@1 with Wilson intervals: a panel for each track, a line for each method, a marker for each judge.

    Args:
        table: see :func:`eval.summaries.clip_r`.
        methods: of the experiment, in order, here and in the other plots. With several subsets, there is a line for
            each subset and method.
    """
    table, tracks, judges = with_lines(table), tracks_of(table), unique(table, "judge")
    lines = lines_of(table, methods)
    figure, axes = panels(len(tracks), len(lines), 1 + 0.5 * (len(judges) - 1))
    for axis, track in zip(axes, tracks, strict=True):
        part = where(table, track=track)
        for number, judge in enumerate(judges):
            rows = where(part, judge=judge)
            y = positions(column(rows, "line"), lines) + dodge(number, len(judges))
            colours = [colour_of(name, methods) for name in rows["method"]]
            axis.hlines(y, rows["r_at_1_low"], rows["r_at_1_high"], colors=colours, lw=3.2, alpha=0.32)
            noise = rows[["r_at_1", "r_at_1_noise_low", "r_at_1_noise_high"]]
            axis.hlines(y, noise.min(axis=1), noise.max(axis=1), colors=INK, lw=1, zorder=4)
            axis.scatter(rows["r_at_1"], y, s=58, c=colours, marker=MARKERS[number % len(MARKERS)], zorder=3)
            axis.scatter(rows["r_at_1_baked"], y, s=58, facecolors="none", edgecolors=colours, zorder=2.5)
        axis.set(title=TITLES[track], xlim=(-0.03, 1.03), xticks=(0, 0.5, 1), xlabel="R@1, 95 % Wilson interval")
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        mark_chance(axis, column(part, "chance").mean())
        name_lines(axis, lines)
    judge_legend(axes[0], judges, has_baked=bool(table["r_at_1_baked"].notna().any()))
    return figure


def plot_ranks(records: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Plot R@k for every k, mean over judges: a panel for each track and subset, a line for each method."""
    tracks, subsets = tracks_of(records), list(by_subset(each_subset(records)))
    figure = Figure(figsize=(9.6, max(3.5 * len(subsets), 0.26 * len(methods) + 0.6)))
    grid = figure.subplots(len(subsets), len(tracks), sharey=True, squeeze=False)
    for axes, (subset, some) in zip(grid, subsets, strict=True):
        for axis, track in zip(axes, tracks, strict=True):
            if not (part := where(some, track=track)).empty:  # all methods of a subset may lack a surface
                _plot_rank_curves(axis, part, methods)
            axis.set(title=TITLES[track], xlabel="k")
        axes[0].set_ylabel("R@k" if len(subsets) == 1 else f"R@k, subset {subset}")
    drawn = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in grid.flat]
    handles = {label: line for pairs in drawn for line, label in pairs}
    order = [name for name in ("chance", *methods) if name in handles]
    figure.legend([handles[name] for name in order], order, loc="outside lower center", ncols=min(5, len(order)))
    return figure


def _plot_rank_curves(axis: Axes, part: pd.DataFrame, methods: Sequence[str]) -> None:
    sizes = column(part, "pool_size").to_numpy()
    k = np.arange(1, int(sizes.max()) + 1)
    axis.plot(k, np.minimum(k / sizes[:, None], 1).mean(axis=0), color=FAINT, ls=(0, (4, 3)), lw=1.2, label="chance")
    for method in dict.fromkeys(column(part, "method")):
        share = (where(part, method=method)["rank"].to_numpy()[:, None] <= k).mean(axis=0)
        axis.step(k, share, where="post", **line_style(method, methods), lw=2, label=method)
    axis.set(ylim=(0, 1.03), xlim=(1, max(len(k), 2)))
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    axis.yaxis.set_major_formatter(PercentFormatter(1))


def plot_truth(truths: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Plot distances to the ground-truth heads: a dot for each avatar, a bar for the mean."""
    table = with_lines(each_subset(truths))
    lines = lines_of(table, methods)
    shown = {
        "geometry_mm": "Geometry, mm",
        "expression_error": "Expression, mm",
        "colour_error": "Colour, mean absolute RGB",
    }
    figure, axes = panels(len(shown), len(lines))
    for axis, (name, title) in zip(axes, shown.items(), strict=True):
        for (line, method), part in groups(table, "line", "method"):
            values, row = column(part, name).to_numpy(dtype=float), lines.index(line)
            jitter = 0.22 * (np.arange(len(values)) % 5 - 2) / 2
            colour = colour_of(method, methods)
            axis.scatter(values, row + jitter, s=18, color=colour, alpha=0.45, linewidths=0)
            axis.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color=colour, lw=3, solid_capstyle="round")
        axis.set(title=title)
        axis.set_xlim(left=min(0.0, axis.get_xlim()[0]) if column(truths, name).min() > 0 else None)
        name_lines(axis, lines)
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
            line = line_style(method, methods)
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


def plot_confusions(table: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Plot confusions under the first judge as shaded cells in per cent.

    A panel for each track, a line for each method, a column for each attribute that is confused in the track.
    """
    shares = [name for name in table.columns[table.columns.get_loc("missed") :] if name != INVERTED]
    table, tracks = with_lines(table), tracks_of(table)
    lines = lines_of(table, methods)
    first = table[table["judge"] == table["judge"].iloc[0]].set_index("line")
    parts = [first.loc[first["track"] == track, shares].reindex(lines) for track in tracks]
    parts = [part.loc[:, (part > 0).any() | (part.columns == "missed")] for part in parts]
    figure = Figure(figsize=(9.6, 2.1 + 0.3 * max(len(lines), 2)))
    widths = [max(part.shape[1], NARROWEST) for part in parts]
    axes = figure.subplots(1, len(tracks), sharey=True, width_ratios=widths, squeeze=False)[0]
    for axis, track, part in zip(axes, tracks, parts, strict=True):
        _shade_cells(axis, part)
        axis.set_title(TITLES[track])
        name_lines(axis, lines)
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
    methods = unique(costs, "method")
    shown = {"seconds_mean": ("Seconds per avatar", 1), "peak_memory_mb_max": ("Peak memory, GiB", 1024)}
    figure, axes = panels(len(shown), len(methods))
    for axis, (name, (title, unit)) in zip(axes, shown.items(), strict=True):
        values = numbers(column(costs, name), errors="coerce").to_numpy(dtype=float) / unit
        colours = [colour_of(method, methods) for method in methods]
        bars = axis.barh(np.arange(len(methods)), np.nan_to_num(values), height=0.55, color=colours)
        labels = [f"{value:.1f}" if np.isfinite(value) else "unknown" for value in values]
        axis.bar_label(bars, labels, padding=4, color=INK)
        axis.margins(x=0.14)
        axis.set(title=title)
        name_lines(axis, methods)
    return figure
