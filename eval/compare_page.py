"""Write the page of a comparison: a table of differences, and the pictures of both sides for each prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from avatargen.io.atomic import replacing
from eval.columns import column, groups
from eval.compare_runs import LEVEL, Comparison, Difference, Pair
from eval.compare_text import cells, legend
from eval.metrics import METRICS, TRUTH
from eval.page import environment
from eval.runs import Run
from eval.tables import FOOTNOTE
from eval.thumbnails import Thumbnails

MAX_ENTRIES = 60
"""Prompts and seeds with pictures, over all pairs of methods; those that differ most come first."""
SHOWN = ("mean_rank", "margin", "clip_score", "geometry_mm", "expression_error", "colour_error")
"""Metrics of a single avatar; the others are fractions over avatars, or follow from these."""
METRIC = {metric.name: metric for metric in METRICS}


class Line(NamedTuple):
    """One metric of one prompt and seed: both values as text, and which side is better."""

    label: str
    a: str
    b: str
    better: str


@dataclass(frozen=True)
class Picture:
    """One side of an entry; no images where the avatar failed or its files are gone."""

    method: str
    status: str
    images: Thumbnails | None


@dataclass(frozen=True)
class Entry:
    """One prompt and seed of both sides.

    Attributes:
        pair: names of the methods.
        prompt, seed: of both avatars.
        sides: A and B.
        lines: its metrics.
        sort: JSON of what the page sorts by: for each metric how much better B is, over the largest difference.
    """

    pair: str
    prompt: str
    seed: int
    sides: tuple[Picture, Picture]
    lines: Sequence[Line]
    sort: str


class Bar(NamedTuple):
    """A difference's interval on an axis with 0 in the middle, in per cent of its width."""

    low: float
    width: float
    mean: float


def write_page(path: Path, comparison: Comparison) -> None:
    """Write the page atomically.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    text = environment().get_template("compare.html.j2").render(**context(comparison))
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def context(comparison: Comparison) -> dict[str, Any]:
    """Return the variables of the template."""
    each = max(MAX_ENTRIES // len(comparison.pairs), 3)
    found = [entries(pair) for pair in comparison.pairs]
    rows = [row for pair in comparison.pairs for row in pair.differences]
    return {
        "a": comparison.a.name,
        "b": comparison.b.name,
        "pairs": [(pair, _table(pair.differences, comparison.inverted)) for pair in comparison.pairs],
        "entries": [_with_pictures(comparison, *entry) for part in found for entry in part[:each]],
        "left_out": sum(len(part[each:]) for part in found),
        "sorts": list(dict.fromkeys(line.label for part in found for entry in part for line in entry[3])),
        "counts": {
            "prompts": len({prompt for part in found for _, prompt, *_ in part}),
            "better": sum(row.side == "B" for row in rows),
            "worse": sum(row.side == "A" for row in rows),
            "rows": len(rows),
        },
        "level": LEVEL,
        "legend": legend(comparison),
        "footnote": FOOTNOTE if comparison.inverted else "",
        "notes": comparison.notes,
        "judge": _first_judge(comparison.pairs[0]),
    }


def entries(pair: Pair) -> list[tuple[Pair, str, int, list[Line], dict[str, float]]]:
    """Return pair, prompt, seed, lines and order of each entry, those that differ most first.

    How much an entry differs is the mean over metrics of its difference, over the metric's largest.
    """
    shown = pair.values["metric"].isin(SHOWN) & pair.values["judge"].isin((_first_judge(pair), TRUTH))
    values = pair.values.loc[shown, :]
    signs = [1 if METRIC[name].higher_is_better else -1 for name in values["metric"]]
    values = values.assign(better=(column(values, "b") - column(values, "a")) * signs)
    largest = {axis: float(column(rows, "better").abs().max()) for axis, rows in groups(values, "track", "metric")}
    axes = [largest[axis] or 1.0 for axis in zip(values["track"], values["metric"], strict=True)]
    values = values.assign(better=column(values, "better") / axes)
    found = []
    for (prompt, seed), rows in groups(values, "prompt", "seed"):
        lines = {_label(row): (_line(row), float(row["better"])) for row in rows.to_dict("records")}
        order = {label: better for label, (_, better) in lines.items()}
        found.append((pair, str(prompt), int(seed), [line for line, _ in lines.values()], order))
    return sorted(found, key=lambda entry: -sum(map(abs, entry[4].values())) / max(len(entry[4]), 1))


def bar(row: Difference, largest: float) -> Bar:
    """Return where a difference's interval lies.

    Args:
        row: the difference.
        largest: end of the axis.

    Example:
        >>> bar(Difference("mini", "texture", METRICS[0], 12, 6, 0.9, 0.4, -0.5, -0.75, -0.25, 0.03, 0.03), largest=1.0)
        Bar(low=12.5, width=25.0, mean=25.0)
    """
    low, mean, high = (50 * (1 + value / largest) if largest else 50.0 for value in (row.low, row.difference, row.high))
    return Bar(round(low, 2), round(high - low, 2), round(mean, 2))


def _table(differences: Sequence[Difference], inverted: Set[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the rows of a table; a metric has one axis for all judges of a track."""
    largest: dict[tuple[str, str], float] = {}
    for row in differences:
        axis = (row.track, row.metric.name)
        largest[axis] = max(largest.get(axis, 0.0), abs(row.low), abs(row.high))
    axes = (largest[row.track, row.metric.name] for row in differences)
    return [
        {"cells": cells(row, inverted), "bar": bar(row, axis), "row": row}
        for row, axis in zip(differences, axes, strict=True)
    ]


def _with_pictures(
    comparison: Comparison, pair: Pair, prompt: str, seed: int, lines: Sequence[Line], order: dict[str, float]
) -> Entry:
    sides = (_picture(comparison.a, pair.a, prompt, seed), _picture(comparison.b, pair.b, prompt, seed))
    return Entry(pair.name, prompt, seed, sides, lines, json.dumps(order))


def _picture(run: Run, method: str, prompt: str, seed: int) -> Picture:
    row = run.avatars.get((method, prompt, seed))
    if row is None:
        return Picture(method, "files are gone", None)
    if row.get("status", "ok") != "ok":
        return Picture(method, f"{row['status'].replace('_', ' ')}: {row.get('message', '')}", None)
    images = Thumbnails.of(row["folder"])
    return Picture(method, "" if images.still else "not rendered", images if images.still else None)


def _line(row: dict[Any, Any]) -> Line:
    metric = METRIC[row["metric"]]
    digits = 0 if metric.name == "mean_rank" else metric.digits
    better = "" if row["better"] == 0 else "b" if row["better"] > 0 else "a"
    return Line(_label(row), f"{row['a']:.{digits}f}", f"{row['b']:.{digits}f}", better)


def _label(row: dict[Any, Any]) -> str:
    metric = METRIC[row["metric"]]
    if metric.track:
        return metric.label
    return f"{row['track'].replace('_', ' ')}: {metric.label.removeprefix('mean ')}"


def _first_judge(pair: Pair) -> str:
    return str(column(pair.values, "judge").iloc[0])
