"""The table of scores that a run prints at its end, from the tables that it wrote."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from avatargen.config.crossing import run_name
from avatargen.config.pools import SMALL_POOL, TRACKS

HEADLINE = "margin"
"""Column of the score that tables are sorted by, as in :data:`eval.summaries.HEADLINE`."""
WIDTH = 110
"""Greatest number of columns of the terminal."""
MARK = " †"
FOOTNOTE = "† finds fewer of the ground-truth heads than of the baseline's avatars: more is no sign of a better one"


def score_table(tables: Path, judge: str) -> str:
    """Return the scores of all methods by one judge as text, a table for each subset; empty where there are no tables.

    Methods are in the order of ``clip_r.csv``: the best headline of the first track first.

    Args:
        tables: folder that holds ``clip_r.csv`` and ``truth.csv``.
        judge: name of the judge.
    """
    rows = [row for row in _read(tables / "clip_r.csv") if row["judge"] == judge]
    distances = {(row["method"], row["subset"]): row["geometry_mm_mean"] for row in _read(tables / "truth.csv")}
    subsets = list(dict.fromkeys(row["subset"] for row in rows))
    parts = []
    for subset in subsets:
        some = [row for row in rows if row["subset"] == subset]
        pools = "/".join(dict.fromkeys(row["pool"] for row in some))
        title = f"judge '{judge}', pools of {pools}{_chance(some)}"
        title += f", subset '{subset}'" if len(subsets) > 1 else ""
        parts.append(_as_text(_table(title, some, {name: mm for (name, of), mm in distances.items() if of == subset})))
    if any(row.get("ceiling_inverted") == "True" for row in rows):
        parts.append(FOOTNOTE)
    return "\n\n".join(parts)


def _chance(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the chance level of R@1 as text where pools are small; a pool is a number, or a range."""
    smallest = min(int(number) for row in rows for number in re.findall(r"\d+", row["pool"]))
    return f" (chance level {1 / smallest:.2f})" if smallest < SMALL_POOL else ""


def _table(title: str, rows: Sequence[Mapping[str, str]], distances: Mapping[str, str]) -> Table:
    """Return the table of one subset; `distances` are those of each method to the ground truth, in mm."""
    found = {(row["method"], row["track"]): row for row in rows}
    tracks = [track for track in TRACKS if any(row["track"] == track for row in rows)]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title, title_justify="left")
    table.add_column("\nmethod", overflow="fold")
    for track in tracks:
        table.add_column(f"\n{HEADLINE}", justify="right")
        inverted = any(row["track"] == track and row.get("ceiling_inverted") == "True" for row in rows)
        table.add_column(f"{track.replace('_', ' ')}{MARK if inverted else ''}\nR@1 (noise)", no_wrap=True)
    table.add_column("\nmm", justify="right")
    if any(row["n_failed"] != "0" for row in rows):
        table.add_column("\nfailed", justify="right")
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = [cell for track in tracks for cell in _cells(found.get((method, track)))]
        first = next(row for row in rows if row["method"] == method)
        failed = f"{first['n_failed']}/{first['n']}"
        row = (method, *cells, _number(distances.get(method, ""), 1), failed)
        table.add_row(*row[: len(table.columns)])
    return table


def _cells(row: Mapping[str, str] | None) -> tuple[str, str]:
    """Return the headline, and R@1 with its range under noise where that moves it."""
    if row is None:
        return "–", "–"
    rate, low, high = (_number(row[f"r_at_1{part}"], 2) for part in ("", "_noise_low", "_noise_high"))
    moved = {low, high} - {rate, "–"}
    noise = low if low == high else f"{low}–{high}"
    return _number(row[HEADLINE], 3), f"{rate} ({noise})" if moved else rate


def _as_text(table: Table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=WIDTH, no_color=True).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def _number(text: str, digits: int) -> str:
    return f"{float(text):.{digits}f}" if text else "–"


def _read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, with the names of runs as methods; none where it is missing."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{**row, "method": run_name(row["method"], row.get("prior", ""))} for row in csv.DictReader(file)]
    except OSError:
        return []
