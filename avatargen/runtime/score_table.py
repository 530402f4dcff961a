"""The table of scores that a run prints at its end, from the tables that it wrote."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rich.console import Console
from rich.table import Table

from avatargen.config.crossing import run_name

TRACKS = ("texture", "geometry")


def score_table(tables: Path, judge: str) -> str:
    """Return the scores of all methods by one judge as text; empty where there are no tables.

    Args:
        tables: folder that holds ``clip_r.csv`` and ``truth.csv``.
        judge: name of the judge.
    """
    rows = {(row["method"], row["track"]): row for row in _read(tables / "clip_r.csv") if row["judge"] == judge}
    distances = {row["method"]: row["geometry_mm_mean"] for row in _read(tables / "truth.csv")}
    if not rows:
        return ""
    pools = [next((f"pool {row['pool']}" for (_, of), row in rows.items() if of == track), "") for track in TRACKS]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=f"judge '{judge}'", title_justify="left")
    table.add_column("method")
    for track, pool in zip(TRACKS, pools, strict=True):
        table.add_column(f"{track} R@1\n{pool}", justify="right")
        table.add_column("mean rank", justify="right")
    table.add_column("mm from the\nground truth", justify="right")
    table.add_column("failed", justify="right")
    for method in dict.fromkeys(method for method, _ in rows):
        found = [rows.get((method, track)) for track in TRACKS]
        cells = [cell for row in found for cell in _cells(row)]
        first = next(row for row in found if row)
        failed = f"{first['n_failed']} of {first['n']}"
        table.add_row(method, *cells, _number(distances.get(method, ""), 1), failed)
    stream = io.StringIO()
    Console(file=stream, width=120, no_color=True).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def _cells(row: dict[str, str] | None) -> tuple[str, str]:
    """Return R@1 with its interval, and the mean rank."""
    if row is None:
        return "–", "–"
    interval = f"[{_number(row['r_at_1_low'], 2)}, {_number(row['r_at_1_high'], 2)}]"
    return f"{_number(row['r_at_1'], 2)} {interval}", _number(row["mean_rank"], 1)


def _number(text: str, digits: int) -> str:
    return f"{float(text):.{digits}f}" if text else "–"


def _read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, with the names of runs as methods; none where it is missing."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{**row, "method": run_name(row["method"], row.get("prior", ""))} for row in csv.DictReader(file)]
    except OSError:
        return []
