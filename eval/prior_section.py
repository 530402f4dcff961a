"""The report's section on priors: scores and cost of each method under each, the same prompts side by side, style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from avatargen.config.crossing import run_name, split_name
from avatargen.io.manifest import Row
from eval.consistency import ALL, PRIORS
from eval.subsets import widest
from eval.tables import INVERTED, MARK, MISSING, format_cell, read_table
from eval.thumbnails import front_stack

MAX_PROMPTS = 6
"""Prompts of the sheet."""


class GridCell(NamedTuple):
    """One method under one prior: R@1 of both tracks with its interval, in per cent, and cost of an avatar."""

    texture: str
    geometry: str
    seconds: str
    memory: str
    failed: str


class GridLine(NamedTuple):
    """A method, with a cell for each prior."""

    method: str
    cells: list[GridCell]


class Picture(NamedTuple):
    """An avatar from the front; `uri` is None where there is none, and `status` says why."""

    uri: str | None
    status: str


class SheetLine(NamedTuple):
    """A method's avatars of one prompt, one for each prior."""

    method: str
    pictures: list[Picture]


class SheetEntry(NamedTuple):
    """One prompt, with a line for each method."""

    prompt: str
    lines: list[SheetLine]


class StyleLine(NamedTuple):
    """Consistency of a method's avatars under one judge in one track; `each` holds the style share of each prior."""

    method: str
    judge: str
    track: str
    prompts: str
    agreement: str
    style: str
    each: list[str]


@dataclass(frozen=True)
class PriorSection:
    """What the section shows.

    Attributes:
        priors: names, in order.
        judge: whose R@1 the grid shows, the first of the experiment.
        grid: scores and cost.
        sheet: avatars of the same prompts.
        styles: agreement and style share; empty with one prior.
        once: methods that use no prior, and so have one run.
    """

    priors: list[str]
    judge: str
    grid: list[GridLine]
    sheet: list[SheetEntry]
    styles: list[StyleLine]
    once: list[str]


def prior_section(rows: Sequence[Row], priors: Sequence[str], judge: str, root: Path, tables: Path) -> PriorSection:
    """Return the section of an experiment that crosses methods with priors.

    Args:
        rows: of all manifests.
        priors: names, in order.
        judge: whose scores the grid shows.
        root: what the rows' folders are relative to.
        tables: folder of the tables.
    """
    runs = list(dict.fromkeys(row.method for row in rows))
    methods = list(dict.fromkeys(split_name(run)[0] for run in runs if split_name(run)[1]))
    return PriorSection(
        list(priors),
        judge,
        _grid(methods, priors, judge, tables),
        _sheet(rows, methods, priors, root),
        _styles(read_table(tables, PRIORS, joined=False), priors),
        [run for run in runs if not split_name(run)[1]],
    )


def _grid(methods: Sequence[str], priors: Sequence[str], judge: str, tables: Path) -> list[GridLine]:
    table = read_table(tables, "clip_r")
    lines = [*table.to_dict("records")[::-1], *widest(table).to_dict("records")]  # the last one counts
    scores = {(line["method"], line["judge"], line["track"]): line for line in lines}
    costs = {line["method"]: line for line in _lines(tables, "cost")}

    def cell(run: str) -> GridCell:
        texture, geometry = (_rate(_score(scores, run, judge, track)) for track in ("texture", "geometry"))
        cost = costs.get(run, {})
        failed = f"{cost['n_failed']} of {cost['n']}" if cost.get("n_failed") else ""
        seconds, memory = (_amount(cost, *unit) for unit in (("seconds_mean", "s"), ("peak_memory_mb_max", "MB")))
        return GridCell(texture, geometry, seconds, memory, failed)

    return [GridLine(method, [cell(run_name(method, prior)) for prior in priors]) for method in methods]


def _score(
    scores: Mapping[tuple[str, str, str], Mapping[str, Any]], run: str, judge: str, track: str
) -> Mapping[str, Any]:
    """Return a run's scores by a judge, or by another one where that one guided the method."""
    others = (line for (name, _, of), line in scores.items() if (name, of) == (run, track))
    return scores.get((run, judge, track)) or next(others, {})


def _sheet(rows: Sequence[Row], methods: Sequence[str], priors: Sequence[str], root: Path) -> list[SheetEntry]:
    """Return the first prompts, at their first seeds."""
    found = {(row.method, row.unit): row for row in rows}
    crossed = [row for row in rows if split_name(row.method)[1]]
    first = {(row.list, row.item): row for row in reversed(crossed)}
    shown = list(dict.fromkeys((row.list, row.item) for row in crossed))[:MAX_PROMPTS]
    entries = []
    for key in shown:
        unit, prompt = first[key].unit, first[key].prompt
        lines = [
            SheetLine(method, [_picture(found.get((run_name(method, prior), unit)), root) for prior in priors])
            for method in methods
        ]
        asked = [line for line in lines if any(picture.status != "not asked for" for picture in line.pictures)]
        entries.append(SheetEntry(prompt, asked))
    return entries


def _picture(row: Row | None, root: Path) -> Picture:
    if row is None:
        return Picture(None, "not asked for")
    uri = front_stack(root / row.folder) if row.status == "ok" else None
    return Picture(uri, row.status if row.status != "ok" else "not rendered")


def _styles(table: pd.DataFrame, priors: Sequence[str]) -> list[StyleLine]:
    lines = table.to_dict("records")
    keys = list(dict.fromkeys((line["method"], line["judge"], line["track"]) for line in lines))
    found = {(line["method"], line["judge"], line["track"], line["prior"]): line for line in lines}
    return [
        StyleLine(
            method=key[0],
            judge=f"{key[1]}{MARK if whole.get(INVERTED) else ''}",
            track=key[2],
            prompts=f"{whole['n']} of {whole['prompts']}",
            agreement=_interval(whole, "agreement"),
            style=_interval(whole, "style_share"),
            each=[_number(found[(*key, prior)], "style_share") for prior in priors],
        )
        for key in keys
        for whole in [found[(*key, ALL)]]
    ]


def _interval(line: Mapping[str, Any], name: str) -> str:
    value, low, high = (_number(line, part) for part in (name, f"{name}_low", f"{name}_high"))
    return value if MISSING in (low, high) else f"{value} ({low} to {high})"


def _rate(line: Mapping[str, Any]) -> str:
    if not line:
        return MISSING
    value, low, high = (f"{100 * float(line[name]):.0f}" for name in ("r_at_1", "r_at_1_low", "r_at_1_high"))
    return f"{value} % ({low}–{high})"


def _amount(line: Mapping[str, Any], name: str, unit: str) -> str:
    number = _number(line, name)
    return number if number == MISSING else f"{number} {unit}"


def _number(line: Mapping[str, Any], name: str) -> str:
    """Return a number as text; a dash where it is not known: a column without any number is one of text."""
    value = line.get(name)
    return format_cell(name, float(value)) if isinstance(value, int | float) else MISSING


def _lines(tables: Path, name: str) -> list[dict[str, Any]]:
    return read_table(tables, name).to_dict("records")
