"""The captions that an avatar's own caption competes with.

texture   The unique prompts of the experiment's lists, and the hard negatives of those lists, if any: one a line in
          ``prompts/{list}.negatives.txt`` (a prompt with one attribute swapped).
geometry  Captions of what a textureless render can show: each avatar's own (see `geometry_caption`), and those of the
          list that the experiment names as its `geometry_pool`, if any.

Captions are unique: avatars with the same caption share one. The chance level of R@1 is 1 / N.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from avatargen.config.experiment import Experiment
from avatargen.config.prompts import read_captions, read_list
from avatargen.headworld.phrases import caption, described
from avatargen.io.manifest import Row

GEOMETRY_TAG = "geometry="
Unit = tuple[str, str, int]


@dataclass(frozen=True)
class Pool:
    """Captions, and the one of each avatar.

    Attributes:
        name: the lists that the pool is made from, for tables.
        captions: unique, in the order in which they are first seen.
        own: index of the caption of each (list, item, seed).
    """

    name: str
    captions: tuple[str, ...]
    own: dict[Unit, int]

    @property
    def chance(self) -> float:
        """R@1 of a scorer that guesses."""
        return 1 / len(self.captions)


def geometry_caption(row: Row) -> str:
    """Return the caption of an avatar in the geometry track: what its list states, else its tag, else its prompt.

    A prompt in the words of the closed world loses its colours, which no textureless render can show.

    Example:
        >>> row = Row(id="a", list="few", item="a", prompt="a man with green skin", method="full", folder="a")
        >>> geometry_caption(row)
        'a man'
    """
    tagged = [tag.removeprefix(GEOMETRY_TAG) for tag in row.tags if tag.startswith(GEOMETRY_TAG)]
    if row.geometry or tagged:
        return row.geometry or tagged[0]
    known = described(row.prompt, row.tags)
    return caption(known, colours=False) if known else row.prompt


def in_method_order(rows: Iterable[Row], methods: Sequence[str]) -> list[Row]:
    """Return the rows in the order of the experiment's methods; prompts of a method keep their order."""
    return sorted(rows, key=lambda row: methods.index(row.method))


def read_pools(
    experiment: Experiment, rows: Sequence[Row], negatives: Iterable[Path], geometry_lists: Iterable[Path]
) -> dict[str, Pool]:
    """Build the pools of an experiment.

    Args:
        experiment: its `geometry_pool` is the name of the geometry list.
        rows: of all manifests, in the order of :func:`in_method_order`.
        negatives: files of hard negatives.
        geometry_lists: file of the geometry list, if any.

    Raises:
        InputError: a file cannot be read.
    """
    items = [item for file in geometry_lists for item in read_list(file)]
    return build_pools(
        rows,
        negatives=[line for file in negatives for line in read_captions(file)],
        geometry_captions=[item.geometry or item.prompt for item in items],
        geometry_list=experiment.geometry_pool,
    )


def build_pools(
    rows: Sequence[Row],
    negatives: Sequence[str] = (),
    geometry_captions: Sequence[str] = (),
    geometry_list: str | None = None,
) -> dict[str, Pool]:
    """Return the pool of each track: {"texture": …, "geometry": …}.

    Args:
        rows: of all manifests of the experiment.
        negatives: extra captions of the texture pool.
        geometry_captions: extra captions of the geometry pool, from the list named `geometry_list`.
    """
    lists = "+".join(sorted({row.list for row in rows}))
    texture = {row.unit: row.prompt for row in rows}
    geometry = {row.unit: geometry_caption(row) for row in rows}
    return {
        "texture": _pool(f"{lists}{'+negatives' if negatives else ''}", texture, negatives),
        "geometry": _pool(f"{lists}+{geometry_list}" if geometry_list else lists, geometry, geometry_captions),
    }


def _pool(name: str, wanted: dict[Unit, str], extra: Sequence[str]) -> Pool:
    captions = tuple(dict.fromkeys([*wanted.values(), *extra]))
    index = {caption: position for position, caption in enumerate(captions)}
    return Pool(name, captions, {unit: index[caption] for unit, caption in wanted.items()})
