"""Read a table that says where the mesh or the rendered views of each item lie.

A table is a CSV file in UTF-8 beside them: the column ``mesh`` or ``frames`` is a path in the folder, and ``id`` or
``prompt`` says for which item, ``id`` as :func:`item_name` writes it; ``prompt`` may have a ``seed`` beside it.

The Snakefile reads tables while it is parsed, so this module imports neither torch nor pandas.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from avatargen.config.errors import InputError, some_of
from avatargen.config.prompts import PromptItem

KEYS = (["id"], ["prompt"], ["prompt", "seed"])
"""Columns beside the one of paths, sorted."""
Table = dict[tuple[str, str], str]
"""Paths by ``("id", name)``, or by ``("prompt", prompt and seed in two lines)``."""


def item_name(item: PromptItem) -> str:
    """Return the name of an item's file or folder, without a suffix.

    Example:
        >>> item_name(PromptItem("list", "old-man", "an old man", seed=2))
        'old-man.2'
    """
    return f"{item.item}.{item.seed}" if item.seed else item.item


def place_of(table: Table, item: PromptItem) -> str | None:
    """Return the path that a table states for an item; None if it has no row."""
    return table.get(("id", item_name(item))) or table.get(("prompt", f"{item.prompt}\n{item.seed}"))


def rowless_problems(name: str, table: Table, items: Sequence[PromptItem]) -> list[str]:
    """Return which items have no row, in one line, and what is near the first of them.

    Args:
        name: of the table, for the message.
        table: what it states.
        items: prompts and seeds.
    """
    missing = [item for item in items if place_of(table, item) is None]
    if not missing:
        return []
    known = [key.partition("\n")[0] for _, key in table]
    near = get_close_matches(missing[0].prompt, known, 1) or get_close_matches(item_name(missing[0]), known, 1)
    hint = f"; is '{near[0]}' meant?" if near else ""
    return [f"{name}: no row for {some_of([item_name(item) for item in missing])}; expected one for each item{hint}"]


def read_table(path: Path, kind: str, suffixes: tuple[str, ...] = ()) -> Table:
    """Read a table.

    Args:
        path: of a CSV file in UTF-8.
        kind: name of the column of paths.
        suffixes: of files that paths may name; empty for folders.

    Raises:
        InputError: not readable, wrong columns, a duplicate row, or a path that names no such file; one problem for
            each row.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise InputError([f"{path}: not readable: {error.strerror}"]) from error
    return _read_table(path, kind, suffixes, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=8)
def _read_table(path: Path, kind: str, suffixes: tuple[str, ...], _changed: int, _size: int) -> Table:
    """Read a table once until it changes: the fingerprint of every avatar asks for its row."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError([f"{path}: cannot be read as a CSV table in UTF-8: {error}"]) from error
    header, known = [name.strip() for name in rows[0]] if rows else [], [sorted([kind, *keys]) for keys in KEYS]
    if sorted(header) not in known:
        expected = "; or ".join(", ".join(columns) for columns in known)
        raise InputError([f"{path}:1: got the columns {', '.join(header)}; expected {expected}"])
    found: Table = {}
    problems = []
    for number, cells in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        key = ("id", row["id"]) if "id" in row else ("prompt", f"{row.get('prompt', '')}\n{row.get('seed') or 0}")
        lines = _row_problems(row, kind, suffixes, known=key in found)
        problems += [f"{path}:{number}: {line}" for line in lines]
        found[key] = row.get(kind, "")
    if problems:
        raise InputError(problems)
    return found


def _row_problems(row: dict[str, str], kind: str, suffixes: tuple[str, ...], known: bool) -> list[str]:
    """Return what is wrong with a row."""
    lines, place = [], row.get(kind, "")
    if known:
        lines.append(f"duplicate '{row.get('id') or row['prompt']}'; expected one row for each")
    if suffixes and Path(place).suffix not in suffixes:
        lines.append(f"{kind}: got '{place}'; expected a file of {', '.join(suffixes)}")
    if not suffixes and not place:
        lines.append(f"{kind}: got nothing; expected a folder")
    if row.get("seed") and not row["seed"].isdecimal():
        lines.append(f"seed: got '{row['seed']}'; expected a whole number")
    return lines
