"""Sets of prompts and seeds that methods are compared on.

Methods may be asked for different prompts and seeds: ablations for fewer than the main methods, ground-truth heads only
for prompts that have one. A table that sets methods beside each other shows each of them once for every subset: a set
of prompts and seeds that some method was asked for. A method that was asked for all of a subset, and for more, stands
there with the avatars of this subset only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import pandas as pd

from avatargen.io.manifest import Row
from eval.columns import column, groups

ALL = "all"
"""Name of the subset that holds every prompt and seed of the experiment."""
Unit = tuple[str, str, int]


@dataclass(frozen=True)
class Subsets:
    """The subsets of an experiment, the largest first.

    Attributes:
        units: (list, item, seed) of each subset.
        covered: names of the subsets that each method was asked for as a whole.
    """

    units: Mapping[str, frozenset[Unit]]
    covered: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Subsets:
        """Return the subsets of all manifests' rows."""
        asked: dict[str, set[Unit]] = {}
        for row in rows:
            asked.setdefault(row.method, set()).add(row.unit)
        every = frozenset().union(*asked.values())
        found: dict[str, frozenset[Unit]] = {}
        for units in sorted(dict.fromkeys(map(frozenset, asked.values())), key=len, reverse=True):
            found[ALL if units == every else _new_name(units, found)] = units
        covered = {
            method: tuple(name for name, subset in found.items() if subset <= units) for method, units in asked.items()
        }
        return cls(found, covered)

    def names(self, row: Row) -> list[str]:
        """Return the names of the subsets in which an avatar counts."""
        return [name for name in self.covered[row.method] if row.unit in self.units[name]]


def shape(units: Collection[Unit]) -> str:
    """Return the number of prompts and of seeds, or, where prompts have different seeds, of avatars.

    Example:
        >>> shape([("l", "a", 0), ("l", "b", 0)]), shape([("l", "a", 0), ("l", "b", 1)])
        ('2x1', '2')
    """
    prompts, seeds = {unit[:2] for unit in units}, {unit[2] for unit in units}
    whole = len(units) == len(prompts) * len(seeds)
    return f"{len(prompts)}x{len(seeds)}" if whole else str(len(units))


def each_subset(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of avatars with a line for each subset that an avatar counts in.

    Args:
        table: `subset` holds names, and `protocol`, if there is such a column, a hash for each of them. Without them,
            every avatar is in `ALL`.

    Example:
        >>> each_subset(pd.DataFrame({"item": ["a"], "subset": ["all 12x1"]})).values.tolist()
        [['a', 'all'], ['a', '12x1']]
    """
    if "subset" not in table.columns:
        return table.assign(subset=ALL)
    names = [name for name in ("subset", "protocol") if name in table.columns]
    split = table.assign(**{name: [str(cell).split() for cell in table[name]] for name in names})
    return cast(pd.DataFrame, split.explode(names, ignore_index=True))


def by_subset(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Iterate over the subsets of a table of methods, in order; a table without such a column is one subset."""
    if "subset" not in table.columns:
        yield ALL, table
        return
    yield from ((str(name), part) for (name,), part in groups(table, "subset"))


def widest(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the subset that holds the most methods; of several, the first, which is the largest.

    Example:
        >>> table = pd.DataFrame({"method": ["full", "full", "bare"], "subset": ["all", "12x1", "12x1"]})
        >>> widest(table)["subset"].unique().tolist()
        ['12x1']
    """
    parts = [part for _, part in by_subset(table)]
    return max(parts, key=lambda part: column(part, "method").nunique()) if parts else table


def _new_name(units: Collection[Unit], taken: Collection[str]) -> str:
    """Return the shape of a subset, numbered where another one has the same."""
    names = (shape(units) + (f"-{number}" if number > 1 else "") for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)
