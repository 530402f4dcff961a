"""Tables as files: CSV in full precision for scripts, Markdown and LaTeX rounded for people."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from avatargen.io.atomic import replacing

MISSING = "–"
NAMES = frozenset(
    {
        *("method", "baseline", "judge", "other", "list", "item", "prompt", "caption", "taken_for"),
        *("pool_name", "protocol", "message"),
    }
)
"""Columns that are text even where it reads like a number: a prompt's id may be 001."""
DIGITS = {
    "r_at_1": 3, "r_at_5": 3, "chance": 3, "mean_rank": 2, "clip_score": 4, "geometry_mm": 2, "mm_": 2,
    "expression_error": 3, "colour_error": 4, "seconds": 1, "peak_memory_mb": 0, "difference": 4, "low": 4,
    "high": 4, "p": 4, "kendall_tau": 2,
}  # fmt: skip


def write_table(table: pd.DataFrame, folder: Path, name: str, readable: bool = True) -> None:
    """Write ``{name}.csv`` and, where `readable`, ``{name}.md`` and ``{name}.tex``; each atomically."""
    with replacing(folder / f"{name}.csv") as path:
        table.to_csv(path, index=False)
    if not readable:
        return
    text = rounded(table)
    with replacing(folder / f"{name}.md") as path:
        escaped = text.map(lambda cell: cell.replace("|", "\\|").replace("\n", " "))
        path.write_text(escaped.to_markdown(index=False, disable_numparse=True) + "\n", encoding="utf-8")
    with replacing(folder / f"{name}.tex") as path:
        path.write_text(to_latex(text, numeric_columns(table)), encoding="utf-8")


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """A table that :func:`write_table` wrote; text columns keep empty cells as empty text, and names are text.

    Raises:
        FileNotFoundError: there is none.
    """
    table = pd.read_csv(folder / f"{name}.csv", keep_default_na=False, dtype=str)
    return table.apply(lambda column: column if column.name in NAMES else _numeric_where_possible(column))


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The same table as text, with the digits that mean something; missing values as a dash."""
    return pd.DataFrame({name: [format_cell(name, value) for value in table[name]] for name in table.columns})


def format_cell(column: str, value: object) -> str:
    """One value as text, by its column's number of digits."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return MISSING
    if not isinstance(value, float):
        return str(value)
    return f"{value:.{digits(column)}f}"


def digits(column: str) -> int:
    """Decimals that a column is shown with; 3 where nothing is known about it."""
    exact = DIGITS.get(column)
    if exact is not None:
        return exact
    return next((count for start, count in DIGITS.items() if len(start) > 2 and column.startswith(start)), 3)


def numeric_columns(table: pd.DataFrame) -> list[str]:
    """The columns that hold numbers, which are set flush right."""
    return [name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])]


def to_latex(text: pd.DataFrame, right: list[str]) -> str:
    """A booktabs table; everything from outside is escaped."""
    layout = "".join("r" if name in right else "l" for name in text.columns)
    styler = text.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    return styler.to_latex(column_format=layout, hrules=True)


def _numeric_where_possible(column: pd.Series) -> pd.Series:
    blank = column.map(lambda cell: cell == "")
    numbers = pd.to_numeric(column.where(~blank), errors="coerce")
    return numbers if (numbers.notna() | blank).all() and not blank.all() else column
