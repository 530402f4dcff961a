"""Read and write tables: CSV in full precision for scripts, Markdown and LaTeX rounded for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pandas as pd

from avatargen.config.crossing import run_name, split_name
from avatargen.io.atomic import replacing
from eval.columns import numbers
from eval.statistics import FLOOR

MISSING, AT_MOST, MARK = "–", "≤ ", " †"
FOOTNOTE = (
    "† This judge finds fewer of the ground-truth heads than of the baseline's avatars in this track: "
    "a higher score is no sign of a better avatar."
)
"""Explains MARK, where a table has it."""
INVERTED, OTHER_INVERTED, P_AT_FLOOR = "ceiling_inverted", "other_ceiling_inverted", "p_at_floor"
"""Columns of marks: for people they stand at the cells that they are about."""
MARKS = {
    INVERTED: {"judge": ("", MARK)},
    OTHER_INVERTED: {"other": ("", MARK)},
    P_AT_FLOOR: {"p": (AT_MOST, ""), "q": (AT_MOST, "")},
}
"""What a column of marks puts before and behind the cells of other columns."""
NAMES = frozenset(
    {
        *("method", "prior", "baseline", "judge", "other", "list", "item", "prompt", "caption", "taken_for"),
        *("subset", "pool", "pool_name", "protocol", "ranks_noisy", "unknown_words", "findings", "message"),
        *("diagnostic", "condition", "measure", "statement", "figure", "verdict"),
    }
)
"""Columns that stay text even where it looks like a number: the id of a prompt may be 001."""
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How texts begin that spreadsheets take for formulas, as OWASP lists them, and texts that were marked before."""
DIGITS = {
    "r_at_1": 3,
    "r_at_5": 3,
    "chance": 3,
    "mrr": 3,
    "mean_rank": 2,
    "margin": 4,
    "agreement": 3,
    "style_share": 3,
    "clip_score": 4,
    "geometry_mm": 2,
    "mm_": 2,
    "expression_error": 3,
    "colour_error": 4,
    "seconds": 1,
    "hours": 1,
    "times_": 2,
    "share_of_": 2,
    "reach": 2,
    "peak_memory_mb": 0,
    "followed_colour": 3,
    "difference": 4,
    "low": 4,
    "high": 4,
    "sd": 4,
    "p": 4,
    "q": 4,
    "least_": 4,
    "kendall_tau": 2,
}
"""Decimals of a column, by its name or the beginning of its name."""


LABELS = {
    "n_failed": "failed",
    "r_at_1": "R@1",
    "r_at_1_baked": "R@1 exported",
    "r_at_1_gap": "R@1 gap",
    "r_at_1_noise_low": "R@1 noise low",
    "r_at_1_noise_high": "R@1 noise high",
    "r_at_5": "R@5",
    "r_at_1_views": "R@1 per view",
    "mrr": "MRR",
    "clip_score": "CLIP score",
    "clip_score_baked": "CLIP score exported",
    "clip_score_gap": "CLIP score gap",
    "low": "95 % low",
    "high": "95 % high",
    "geometry_mm_mean": "geometry, mm",
    "geometry_mm_low": "95 % low",
    "geometry_mm_high": "95 % high",
    "geometry_mm_p95": "95th percentile, mm",
    "geometry_mm_vertices": "per vertex, mm",
    "expression_error": "expression, mm",
    "colour_error": "colour",
    "missed": "not first",
    "agreement_low": "95 % low",
    "agreement_high": "95 % high",
    "style_share_low": "95 % low",
    "style_share_high": "95 % high",
    "n_differ": "differ",
    "kendall_tau": "Kendall's tau-b",
    "kendall_tau_low": "95 % low",
    "kendall_tau_high": "95 % high",
    **{f"least_{n}": f"{n} prompts" for n in (12, 24, 36, 48, 96)},
    "masks": "mask change",
    "at_bounds": "shape at bounds",
    "at_limit": "offsets at limit",
    "with_findings": "any finding",
    "n_taken_over": "taken over",
    "seconds_mean": "mean, s",
    "seconds_median": "median, s",
    "seconds_total": "total, s",
    "peak_memory_mb_max": "peak memory, MB",
    "peak_memory_mb": "peak memory, MB",
    "share_of_phase_1": "phase 1",
    "margin_texture": "margin, texture",
    "margin_shape_in_colour": "margin, shape in colour",
    "margin_geometry": "margin, geometry",
}
"""Headings of columns for people; others are their names."""


def split_runs(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the method and the prior of each run in columns of their own.

    Example:
        >>> split_runs(pd.DataFrame({"method": ["full@sd15", "template"], "n": [2, 2]})).values.tolist()
        [['full', 'sd15', 2], ['template', '', 2]]
    """
    if "method" not in table.columns or "prior" in table.columns:
        return table
    parts = [split_name(name) for name in table["method"]]
    result = table.assign(method=[method for method, _ in parts])
    result.insert(list(table.columns).index("method") + 1, "prior", [prior for _, prior in parts])
    return result


def join_runs(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of :func:`split_runs` with the names of runs as its methods.

    Example:
        >>> join_runs(pd.DataFrame({"method": ["full"], "prior": ["sd15"]})).values.tolist()
        [['full@sd15']]
    """
    if not {"method", "prior"} <= set(table.columns):
        return table
    names = [run_name(*parts) for parts in zip(table["method"], table["prior"], strict=True)]
    return table.assign(method=names).drop(columns="prior")


def write_table(table: pd.DataFrame, folder: Path, name: str, readable: bool = True) -> None:
    """Write ``{name}.csv`` and, where `readable`, ``{name}.md`` and ``{name}.tex``; each atomically.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    with replacing(folder / f"{name}.csv") as path:
        _changed(table, _without_formula).to_csv(path, index=False)
    if not readable:
        return
    text = rounded(table)
    with replacing(folder / f"{name}.md") as path:
        escaped = text.map(lambda cell: cell.replace("|", "\\|").replace("\n", " "))
        note = f"\n{FOOTNOTE}\n" if has_marks(table) else ""
        path.write_text(escaped.to_markdown(index=False, disable_numparse=True) + f"\n{note}", encoding="utf-8")
    with replacing(folder / f"{name}.tex") as path:
        note = f"% {FOOTNOTE}\n" if has_marks(table) else ""
        path.write_text(to_latex(text, numeric_columns(table)) + note, encoding="utf-8")


def remove_table(folder: Path, name: str) -> None:
    """Remove what :func:`write_table` wrote, if it did."""
    for kind in ("csv", "md", "tex"):
        (folder / f"{name}.{kind}").unlink(missing_ok=True)


def read_table(folder: Path, name: str, joined: bool = True) -> pd.DataFrame:
    """Return a table that :func:`write_table` wrote; empty cells of text columns are empty strings.

    Args:
        folder: of the tables.
        name: of the table.
        joined: methods are the names of runs, see :func:`join_runs`.

    Raises:
        FileNotFoundError: there is no such table.
    """
    table = pd.read_csv(folder / f"{name}.csv", keep_default_na=False, dtype=str)
    table = cast(pd.DataFrame, _changed(table, _as_written).apply(_read_column))
    return join_runs(table) if joined else table


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text, with each column's number of decimals; missing values are a dash.

    Columns of MARKS are replaced by marks at the cells that they are about.

    Example:
        >>> rounded(pd.DataFrame({"method": ["full"], "r_at_1": [2 / 3]})).values.tolist()
        [['full', '0.667']]
        >>> rounded(pd.DataFrame({"judge": ["mini", "guide"], "ceiling_inverted": [False, True]})).values.tolist()
        [['mini'], ['guide †']]
    """
    shown = [name for name in table.columns if name not in MARKS]
    text = pd.DataFrame({name: [format_cell(name, value) for value in table[name]] for name in shown})
    for mark, cells in MARKS.items():
        for name, (before, behind) in cells.items() if mark in table.columns else ():
            marked = zip(text[name], table[mark], strict=True)
            text[name] = [f"{before}{cell.removeprefix(before)}{behind}" if here else cell for cell, here in marked]
    return text


def has_marks(table: pd.DataFrame) -> bool:
    """Return whether a table shows a judge whose ceiling is inverted."""
    return any(bool(table[name].any()) for name in (INVERTED, OTHER_INVERTED) if name in table.columns)


def format_cell(column: str, value: object) -> str:
    """Return one value as text, with its column's number of decimals.

    Example:
        >>> format_cell("seconds_mean", 12.34), format_cell("clip_score", float("nan")), format_cell("p", 2e-6)
        ('12.3', '–', '≤ 0.0001')
    """
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return MISSING
    if not isinstance(value, float):
        return str(value)
    if column in ("p", "q", "least_p") and value <= FLOOR:
        return f"{AT_MOST}{FLOOR:.4f}"
    return f"{value:.{_decimals(column)}f}"


def heading(column: str) -> str:
    """Return the heading of a column for people.

    Example:
        >>> heading("r_at_1"), heading("mm_nose"), heading("mean_rank")
        ('R@1', 'nose', 'mean rank')
    """
    return LABELS.get(column, column.removeprefix("mm_").replace("_", " "))


def numeric_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that hold numbers, which are aligned to the right."""
    return [name for name in table.columns if name not in MARKS and pd.api.types.is_numeric_dtype(table[name])]


def to_latex(text: pd.DataFrame, right: list[str]) -> str:
    """Return a booktabs table; everything that comes from outside is escaped.

    Args:
        text: cells, see :func:`rounded`.
        right: the columns to align to the right.
    """
    layout = "".join("r" if name in right else "l" for name in text.columns)
    styler = text.style.hide(axis="index")
    styler.format(escape="latex").format_index(escape="latex", axis=1)
    return styler.to_latex(column_format=layout, hrules=True).replace(AT_MOST, r"$\leq$ ")


def _changed(table: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    """Return a table with some cells of text changed; columns without such cells stay as they are."""
    changed = {}
    for name in [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]:
        cells = [change(cell) for cell in table[name]]
        if any(new is not old for new, old in zip(cells, table[name], strict=True)):
            changed[name] = cells
    return table.assign(**changed)


def _without_formula(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula, marked by an apostrophe; `_as_written` is the inverse.

    Example:
        >>> _without_formula("=SUM(A1)"), _without_formula("-0.5"), _without_formula(-0.5)
        ("'=SUM(A1)", '-0.5', -0.5)
    """
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) and not _is_number(cell) else cell


def _as_written(cell: Any) -> Any:
    """Return the cell that `_without_formula` was given."""
    marked = isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell[1:]) and not _is_number(cell[1:])
    return cell[1:] if marked else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _decimals(column: str) -> int:
    if column in DIGITS:
        return DIGITS[column]
    return next((count for start, count in DIGITS.items() if len(start) > 2 and column.startswith(start)), 3)


def _read_column(column: pd.Series) -> pd.Series:
    """Return a column of text as numbers, where all of it that is not blank looks like numbers; marks as booleans."""
    if column.name in MARKS:
        return column == "True"
    if column.name in NAMES:
        return column
    blank = column.map(lambda cell: cell == "")
    parsed = numbers(column.where(~blank), errors="coerce")
    return parsed if (parsed.notna() | blank).all() and not blank.all() else column
