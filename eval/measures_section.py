"""The report's section on diagnostics: a card for each, with its tables and the pictures of a few avatars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd

from avatargen.config.plugins import DIAGNOSTICS, summary
from avatargen.io.manifest import Row
from eval.columns import column, groups, where
from eval.diagnostics.files import FOLDER, read_found
from eval.measures import ERRORS, MEASURES, RATE, SCORED
from eval.subsets import widest
from eval.tables import MISSING, heading, read_table
from eval.thumbnails import picture_uri

PICTURED = 2
"""Prompts whose pictures are shown, by every method."""
OPEN = 2
"""Tables of a diagnostic that are shown at once."""
MOST_PICTURES = 12
"""Pictures of a diagnostic in the report."""
UNITS = {"mm": "mm", "deg": "°", "s": "s", "ms": "ms", "px": "pixels", "percent": "%", "fps": "frames/s"}
"""Units by the last part of a measure's name."""


class Cell(NamedTuple):
    """A mean, and its interval where it has one."""

    value: str
    interval: str = ""


class Grid(NamedTuple):
    """A table: its title, the heading of the first column, those of the others, and a line for each row."""

    title: str
    first: str
    columns: list[str]
    lines: list[tuple[str, list[Cell]]]


class Picture(NamedTuple):
    """A picture of one avatar as a data URI, and its caption."""

    uri: str
    caption: str


class Card(NamedTuple):
    """What one diagnostic found.

    Attributes:
        name, text: of the diagnostic, and a line on it.
        grids: its tables; the first `open` are shown, the others unfold.
        pictures: of a few avatars.
        errors: lines of ``measure_errors.csv``.
    """

    name: str
    text: str
    grids: list[Grid]
    open: int
    pictures: list[Picture]
    errors: list[dict[str, Any]]


class MeasureSection(NamedTuple):
    """What the section shows; `subset` is the one that its tables are of, empty where there is only one."""

    subset: str
    cards: list[Card]


def measure_section(rows: Sequence[Row], diagnostics: Sequence[str], root: Path, tables: Path) -> MeasureSection | None:
    """Return what the section shows; None where the experiment has no diagnostics.

    Args:
        rows: of all manifests.
        diagnostics: names.
        root: what the rows' folders are relative to.
        tables: folder of the tables.
    """
    if not diagnostics:
        return None
    means, errors = read_table(tables, MEASURES), read_table(tables, ERRORS)
    shown = widest(means)
    cards = [
        Card(
            name,
            summary(DIAGNOSTICS[name]),
            list(grids(where(shown, diagnostic=name))),
            OPEN,
            pictures(rows, name, root),
            cast(list[dict[str, Any]], where(errors, diagnostic=name).to_dict("records")),
        )
        for name in diagnostics
    ]
    several = column(means, "subset").nunique() > 1
    return MeasureSection(str(shown["subset"].iloc[0]) if several else "", cards)


def grids(means: pd.DataFrame) -> Iterator[Grid]:
    """Yield the tables of one diagnostic.

    Measures without conditions share one, methods by measures. A measure of several conditions has one of its own,
    conditions by methods.

    Args:
        means: of one subset, columns as in :class:`eval.measures.Mean`.
    """
    parts = [part for _, part in groups(means, "measure", "judge")]
    single = [part for part in parts if column(part, "condition").nunique() == 1]
    if single:
        named = [part.assign(title=_title(part)) for part in single]
        yield _grid(pd.concat(named), "", "method", "title")
    for part in parts:
        if column(part, "condition").nunique() > 1:
            yield _grid(part, _title(part), "condition", "method")


def pictures(rows: Sequence[Row], name: str, root: Path) -> list[Picture]:
    """Return the pictures that a diagnostic made of the first prompts' avatars."""
    units = list(dict.fromkeys(row.unit for row in rows))[:PICTURED]
    found = []
    for row in (row for unit in units for row in rows if row.unit == unit and row.status == "ok"):
        folder = root / row.folder
        files = read_found(folder, name).pictures
        captions = [
            f"{row.method}: {row.prompt}" + (f", {_words(file, name)}" if len(files) > 1 else "") for file in files
        ]
        found += [
            Picture(uri, text)
            for file, text in zip(files, captions, strict=True)
            if (uri := picture_uri(folder / FOLDER / file))
        ]
    return found[:MOST_PICTURES]


def label(measure: str) -> str:
    """Return the name of a measure for people, with its unit.

    Example:
        >>> label("normal_error_deg"), label("r_at_1"), label("stretch")
        ('normal error, °', 'R@1, %', 'stretch')
    """
    if measure in SCORED:
        return f"{heading(measure)}, %" if measure == RATE else heading(measure)
    start, _, last = measure.rpartition("_")
    return f"{start.replace('_', ' ')}, {UNITS[last]}" if start and last in UNITS else measure.replace("_", " ")


def number(measure: str, value: float) -> str:
    """Return a value of a measure as text: rates in per cent, scores with three decimals, others with three digits.

    Example:
        >>> number("r_at_1", 0.583), number("stretch", 12.345), number("faces", 1234.5), number("margin", float("nan"))
        ('58', '12.3', '1234', '–')
    """
    if pd.isna(value):
        return MISSING
    if measure in SCORED:
        return f"{100 * value:.0f}" if measure == RATE else f"{round(value, 3) + 0.0:.3f}"  # no -0.000
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def _grid(means: pd.DataFrame, title: str, down: str, across: str) -> Grid:
    """Return a table with a line for each value of a column, and a column for each value of another."""
    columns = list(dict.fromkeys(means[across]))
    cells = {(str(row[down]), row[across]): _cell(row) for row in means.to_dict("records")}
    lines = [
        (name or "all", [cells.get((name, one), Cell(MISSING)) for one in columns])
        for name in dict.fromkeys(map(str, means[down]))
    ]
    return Grid(title, down, columns, lines)


def _cell(row: Mapping[Any, Any]) -> Cell:
    measure, value, low, high = str(row["measure"]), *(float(row[name]) for name in ("value", "low", "high"))
    if pd.isna(value) or low == high:
        return Cell(number(measure, value))
    return Cell(number(measure, value), f"{number(measure, low)} to {number(measure, high)}")


def _title(means: pd.DataFrame) -> str:
    """Return the title of a table of one measure, by one judge if it needs one."""
    measure, judge = (str(means[name].iloc[0]) for name in ("measure", "judge"))
    text = label(measure)
    return f"{text[0].upper()}{text[1:]}" + (f", judge {judge}" if judge else "")


def _words(file: str, name: str) -> str:
    """Return the name of a picture from that of its file."""
    return Path(file).stem.removeprefix(f"{name}-").replace("_", " ").replace("-", " ")
