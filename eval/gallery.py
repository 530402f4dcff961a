"""Collect the gallery of the report: one entry for each prompt and seed, with a cell for each method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from avatargen.io.manifest import Row
from eval.pools import Unit
from eval.tables import read_table
from eval.thumbnails import Thumbnails

MAX_PROMPTS = 40


class Note(NamedTuple):
    """A few words under an avatar, and a tooltip."""

    text: str
    tooltip: str = ""


@dataclass(frozen=True)
class Cell:
    """One avatar.

    Attributes:
        method: its name.
        asked: whether the method was run on this prompt: a reduced method, or one that needs a ground-truth head, may
            leave it out.
        status, message: as in the manifest.
        images: None for an avatar that failed.
        notes: what stands under the images.
    """

    method: str
    asked: bool
    status: str
    message: str = ""
    images: Thumbnails | None = None
    notes: Sequence[Note] = field(default_factory=tuple)


@dataclass(frozen=True)
class Entry:
    """One prompt and seed, with a cell for each method."""

    prompt: str
    list: str
    item: str
    seed: int
    cells: Sequence[Cell]


def gallery(rows: Sequence[Row], methods: Sequence[str], root: Path, tables: Path) -> list[Entry]:
    """Return the entries of the first MAX_PROMPTS prompts and seeds.

    Args:
        rows: of all manifests.
        methods: names, in the order of the cells.
        root: what the rows' folders are relative to.
        tables: folder of the tables, which hold ranks, distances and findings.
    """
    found = {(row.method, row.unit): row for row in rows}
    prompts = {row.unit: row.prompt for row in reversed(rows)}
    units = list(dict.fromkeys(row.unit for row in rows))[:MAX_PROMPTS]
    notes = _notes(tables)
    return [
        Entry(prompts[unit], *unit, [_cell(found.get((method, unit)), method, root, notes) for method in methods])
        for unit in units
    ]


def _cell(row: Row | None, method: str, root: Path, notes: Mapping[tuple[str, Unit], Sequence[Note]]) -> Cell:
    if row is None:
        return Cell(method, asked=False, status="not asked for")
    truncated = (
        [Note("prompt truncated", f"{', '.join(row.truncated_by)} read only its beginning")] if row.truncated_by else []
    )
    images = Thumbnails.of(root / row.folder) if row.status == "ok" else None
    shown = [*notes.get((method, row.unit), []), *truncated]
    return Cell(method, asked=True, status=row.status, message=row.message, images=images, notes=shown)


def _notes(tables: Path) -> dict[tuple[str, Unit], list[Note]]:
    """Return what stands under each avatar: ranks, distance to the ground truth, findings."""
    notes = defaultdict(list)
    for line, note in _lines(tables):
        notes[line["method"], (str(line["list"]), str(line["item"]), int(line["seed"]))].append(note)
    return notes


def _lines(tables: Path) -> Iterator[tuple[Mapping[str, Any], Note]]:
    """Yield a line of a table and a note on its avatar; ranks are those of the first judge of each method."""
    records = read_table(tables, "records")
    first = records.groupby("method", sort=False)["judge"].transform("first")
    for line in records.loc[records["judge"] == first, :].to_dict("records"):
        tooltip = f"taken for: {line['taken_for']}" if line["taken_for"] else ""
        yield line, Note(f"{line['track']} #{int(line['rank'])}", tooltip)
    for line in read_table(tables, "truth_records").to_dict("records"):
        yield line, Note(f"{float(line['geometry_mm']):.1f} mm")
    for line in read_table(tables, "diagnosis_records").to_dict("records"):
        for name in str(line["findings"]).split():
            yield line, Note(name.replace("_", " "))
