"""Choose the three numbers at the top of the report, and say in a sentence what each means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from avatargen.config.settings import MethodSettings
from eval.columns import column, where
from eval.paired import baseline_of
from eval.subsets import widest
from eval.tables import INVERTED, MARK, MISSING, format_cell, read_table

CEILING, FLOOR = "oracle", "template"
"""Sources of the methods that show the ground-truth head, and a head that knows no prompt."""
SHOWN = {
    "texture": ("recognised in colour", "colour renders"),
    "geometry": ("recognised by shape", "textureless clay renders"),
}
"""Tracks of the numbers: label, and what the judge sees."""


class KeyNumber(NamedTuple):
    """A number with its unit, a label of few words, its interval and a sentence."""

    value: str
    label: str
    interval: str
    text: str


class JudgeLine(NamedTuple):
    """A judge: its model, what it is, and R@1 of the ground-truth heads in each track (its ceiling), in per cent."""

    name: str
    model: str
    reason: str
    ceilings: list[str]


def shown_run(baseline: str, runs: Sequence[str]) -> str:
    """Return the run that the page begins with: the baseline's under the first prior, wherever it stands in the order.

    Args:
        baseline: name of the method that others are compared with.
        runs: names of all runs that are shown.

    Returns:
        The first run where the baseline has none, as with views of other systems alone; empty where there is none.

    Example:
        >>> shown_run("full", ["template", "full"]), shown_run("full", ["theirs"]), shown_run("full", [])
        ('full', 'theirs', '')
    """
    return baseline_of("", baseline, runs) or next(iter(runs), "")


def beside_controls(table: pd.DataFrame, baseline: str, methods: Mapping[str, MethodSettings]) -> pd.DataFrame:
    """Return the rows of the baseline, its ceiling and its floor, in one subset of the baseline's avatars.

    It is the one with the most of the three; of several, the largest. Methods that were asked for fewer prompts do not
    count: the baseline's own numbers are those of all its prompts.

    Args:
        table: of methods, with a line for each subset that they count in (column `subset`).
        baseline: name of the run.
        methods: settings of each run, by its name.
    """
    wanted = column(table, "method").isin([baseline, _named(methods, CEILING), _named(methods, FLOOR)])
    own = column(table, "subset").isin(column(where(table, method=baseline), "subset"))
    return widest(table.loc[wanted & own, :])


def key_numbers(baseline: str, methods: Mapping[str, MethodSettings], tables: Path) -> list[KeyNumber]:
    """Return at most three numbers on the baseline: recognised in colour, by shape, and distance or cost.

    Args:
        baseline: name of the run.
        methods: settings of each run, by its name.
        tables: folder of the tables.
    """
    scores, truth = (beside_controls(read_table(tables, name), baseline, methods) for name in ("clip_r", "truth"))
    found = [_recognised(scores, track, baseline, methods) for track in SHOWN]
    last = _distance(truth, baseline, methods) or _cost(read_table(tables, "cost"), baseline)
    return [number for number in (*found, last) if number]


def judge_lines(
    judges: Mapping[str, str],
    reasons: Mapping[str, str],
    baseline: str,
    methods: Mapping[str, MethodSettings],
    tables: Path,
) -> tuple[list[str], list[JudgeLine]]:
    """Return the tracks, and a line for each judge.

    Args:
        judges: model of each judge.
        reasons: one line on each judge.
        baseline: name of the run.
        methods: settings of each run, by its name.
        tables: folder of the tables.
    """
    scores = beside_controls(read_table(tables, "clip_r"), baseline, methods)
    tracks = list(dict.fromkeys(column(scores, "track")))
    lines = []
    for name, model in judges.items():
        rows = where(scores, judge=name)
        ceilings = [_percent(_of(rows, track, _named(methods, CEILING))) for track in tracks]
        marks = [MARK if column(where(rows, track=track), INVERTED).any() else "" for track in tracks]
        cells = [
            f"{ceiling} %{mark}" if ceiling != MISSING else MISSING
            for ceiling, mark in zip(ceilings, marks, strict=True)
        ]
        lines.append(JudgeLine(name, model, reasons.get(name, "").replace("`", ""), cells))
    return tracks, lines


def _recognised(
    scores: pd.DataFrame, track: str, baseline: str, methods: Mapping[str, MethodSettings]
) -> KeyNumber | None:
    """Return R@1 of the baseline by the first judge that judges it."""
    rows = where(scores, track=track, method=baseline).to_dict("records")
    if not rows:
        return None
    line = rows[0]
    label, seen = SHOWN[track]
    ceiling = _percent(_of(where(scores, judge=line["judge"]), track, _named(methods, CEILING)))
    hits = round(float(line["r_at_1"]) * int(line["n"]))
    text = (
        f"Judge {line['judge']}, shown {seen}, ranks the own caption of {hits} of {line['n']} avatars of {baseline} "
        f"first among {line['pool']}. Guessing reaches {_percent(line, 'chance')} %"
        + (f", ground-truth heads {ceiling} %." if ceiling != MISSING else ".")
    )
    return KeyNumber(
        f"{_percent(line)} %", label, f"{_percent(line, 'r_at_1_low')}–{_percent(line, 'r_at_1_high')} %", text
    )


def _distance(truth: pd.DataFrame, baseline: str, methods: Mapping[str, MethodSettings]) -> KeyNumber | None:
    """Return the distance of the baseline to the ground-truth heads."""
    rows = where(truth, method=baseline).to_dict("records")
    if not rows or pd.isna(rows[0]["geometry_mm_mean"]):
        return None
    line = rows[0]
    floor = where(truth, method=_named(methods, FLOOR)).to_dict("records")
    beside = (
        f" The template, which knows no prompt, is {float(floor[0]['geometry_mm_mean']):.1f} mm away." if floor else ""
    )
    text = f"The surfaces of {baseline} lie this far from those of the ground-truth heads, on average.{beside}"
    low, high = (float(line[f"geometry_mm_{end}"]) for end in ("low", "high"))
    return KeyNumber(
        f"{float(line['geometry_mm_mean']):.1f} mm", "from the ground truth", f"{low:.1f}–{high:.1f} mm", text
    )


def _cost(cost: pd.DataFrame, baseline: str) -> KeyNumber | None:
    """Return the time of an avatar of the baseline."""
    rows = where(cost, method=baseline).to_dict("records")
    if not rows or pd.isna(rows[0]["seconds_mean"]):
        return None
    text = f"An avatar of {baseline} takes this long to optimise and bake, without loading models."
    return KeyNumber(f"{format_cell('seconds_mean', float(rows[0]['seconds_mean']))} s", "per avatar", "", text)


def _named(methods: Mapping[str, MethodSettings], source: str) -> str:
    return next((name for name, settings in methods.items() if settings.source == source), "")


def _of(rows: pd.DataFrame, track: str, method: str) -> dict[Any, Any] | None:
    lines: Sequence[dict[Any, Any]] = where(rows, track=track, method=method).to_dict("records")
    return lines[0] if lines else None


def _percent(line: Mapping[Any, Any] | None, name: str = "r_at_1") -> str:
    return MISSING if line is None or pd.isna(line[name]) else f"{100 * float(line[name]):.0f}"
