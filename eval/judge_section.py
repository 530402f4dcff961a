"""The report's section on judges: what each finds in the ground-truth head, in either half of it, in mixed heads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd

from avatargen.config.settings import MethodSettings
from eval.columns import column, groups, where
from eval.images import TRACKS
from eval.tables import MISSING, read_table

TABLE = "judge_controls"
"""Name of the table of mixed heads, see :mod:`eval.judge_controls`; kept here since reports load no torch."""
CONTROLS = {
    "oracle": "the ground-truth head",
    "true_texture": "its texture on the template",
    "true_shape": "its geometry in grey",
}
"""What each control shows, by the source of the method."""


class ControlLine(NamedTuple):
    """A control method: R@1 with its interval in each track, in per cent."""

    method: str
    shows: str
    cells: list[str]


class JudgeCard(NamedTuple):
    """What one judge finds; `followed` has the numbers of mixed heads as text, None where there are none."""

    judge: str
    lines: list[ControlLine]
    followed: dict[str, str] | None


class JudgeSection(NamedTuple):
    """What the section shows; `tracks` are those of the cells."""

    tracks: list[str]
    cards: list[JudgeCard]


def judge_section(methods: Mapping[str, MethodSettings], tables: Path) -> JudgeSection | None:
    """Return what the section shows; None where the experiment has neither control methods nor mixed heads.

    Args:
        methods: settings of each run, by its name.
        tables: folder of the tables.
    """
    shown = {name: settings.source for name, settings in methods.items() if settings.source in CONTROLS}
    scores, mixed = read_table(tables, "clip_r"), read_table(tables, TABLE)
    scores = cast(pd.DataFrame, scores[scores["method"].isin(list(shown))])
    if scores.empty and mixed.empty:
        return None
    tracks = [track for track in TRACKS if not where(scores, track=track).empty]
    judges = list(dict.fromkeys([*column(scores, "judge"), *column(mixed, "judge")]))
    cards = []
    for judge in judges:
        lines = [
            ControlLine(str(method), CONTROLS[shown[str(method)]], [_rate(rows, track) for track in tracks])
            for (method,), rows in groups(where(scores, judge=judge), "method")
        ]
        found = where(mixed, judge=judge).to_dict("records")
        cards.append(JudgeCard(judge, lines, _followed(found[0]) if found else None))
    return JudgeSection(tracks, cards)


def _rate(rows: pd.DataFrame, track: str) -> str:
    for line in where(rows, track=track).to_dict("records"):
        return f"{_percent(line['r_at_1'])} ({_percent(line['r_at_1_low'])}–{_percent(line['r_at_1_high'])})"
    return MISSING


def _followed(line: Mapping[str, Any]) -> dict[str, str]:
    rates = {name: _percent(value) for name, value in line.items() if name.startswith("followed_colour")}
    return {**rates, "n": str(line["n"])}


def _percent(value: Any) -> str:
    return f"{100 * float(value):.0f}"
