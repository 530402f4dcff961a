"""Read the scores of each avatar from the tables: ranks by every judge, distance to the ground truth, findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from eval.findings import FINDINGS
from eval.pools import Unit
from eval.tables import MISSING, format_cell, read_table


class Ranked(NamedTuple):
    """What one judge finds in one track.

    Attributes:
        judge, track: names.
        rank: of the own caption, among `pool_size`.
        margin: as text.
        taken_for: the caption that ranks first instead; empty for a hit.
        sort: the margin as a number, None where it is not defined.
    """

    judge: str
    track: str
    rank: int
    pool_size: int
    margin: str
    taken_for: str
    sort: float | None


class Measured(NamedTuple):
    """A failure signature: its value as text, and whether it is a finding."""

    name: str
    value: str
    is_finding: bool


@dataclass(frozen=True)
class AvatarScores:
    """The scores of one avatar; empty for one that is in no table.

    Attributes:
        ranks: by each judge, in each track.
        geometry_mm: its distance to the ground truth.
        measures: its failure signatures.
        judge: the table's first, by whose scores avatars are sorted.
    """

    ranks: Sequence[Ranked] = field(default_factory=tuple)
    geometry_mm: float | None = None
    measures: Sequence[Measured] = field(default_factory=tuple)
    judge: str = ""

    @property
    def findings(self) -> list[str]:
        """Return the names of the failure signatures that are findings."""
        return [measure.name for measure in self.measures if measure.is_finding]

    @property
    def keys(self) -> dict[str, float]:
        """Return the numbers that avatars are sorted by: rank and margin of each track by the first judge, mm."""
        first = [rank for rank in self.ranks if rank.judge == self.judge]
        found = {f"rank, {rank.track.replace('_', ' ')}": float(rank.rank) for rank in first}
        found |= {f"margin, {rank.track.replace('_', ' ')}": rank.sort for rank in first if rank.sort is not None}
        return found | ({"mm": self.geometry_mm} if self.geometry_mm is not None else {})


def scores_of(tables: Path) -> dict[tuple[str, Unit], AvatarScores]:
    """Return the scores of all avatars, by method and unit."""
    ranks, measures, lines = defaultdict(list), {}, _records(tables, "records")
    first = lines[0]["judge"] if lines else ""
    for line in lines:
        ranks[_key(line)].append(_ranked(line))
    distances = {_key(line): _number(line["geometry_mm"]) for line in _records(tables, "truth_records")}
    for line in _records(tables, "diagnosis_records"):
        found = str(line["findings"]).split()
        measures[_key(line)] = [
            Measured(name, _text(name, line[name]), name in found) for name in FINDINGS if name in line
        ]
    return {
        key: AvatarScores(ranks.get(key, ()), distances.get(key), measures.get(key, ()), first)
        for key in dict.fromkeys([*ranks, *distances, *measures])
    }


def _records(tables: Path, name: str) -> list[dict[Any, Any]]:
    return read_table(tables, name).to_dict("records")


def _ranked(line: Mapping[Any, Any]) -> Ranked:
    margin = _number(line.get("margin"))
    taken = str(line.get("taken_for") or "")
    rank, size = int(line["rank"]), int(line["pool_size"])
    return Ranked(line["judge"], line["track"], rank, size, _text("margin", margin), taken, margin)


def _key(line: Mapping[Any, Any]) -> tuple[str, Unit]:
    return line["method"], (str(line["list"]), str(line["item"]), int(line["seed"]))


def _number(value: Any) -> float | None:
    return None if value is None or value == "" or pd.isna(value) else float(value)


def _text(name: str, value: Any) -> str:
    return MISSING if _number(value) is None else format_cell(name, float(value))
