"""The captions that an avatar's own caption competes with: its pool, in each track.

A list with a pools file beside it (``NAME.pools.tsv``, see :mod:`avatargen.config.pools`) states the rivals of every
prompt in every track. `limit` and the experiment's other lists do not change them.

A list without one has classical R-precision: the rivals are the other unique prompts of all such lists (in `geometry`,
their captions of shape), and in `texture` also the hard negatives of these lists, if any: one a line in
``NAME.negatives.txt``. No caption competes in `shape_in_colour`; so an experiment reports this track only if every one
of its lists has a pools file. A track that some avatars are missing from would compare methods on other prompts than
the tracks beside it.

Captions are unique: avatars with the same caption share one. The chance level of R@1 is 1 / N for a pool of N captions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avatargen.config.errors import InputError, Problems
from avatargen.config.pools import TRACKS, Rivals
from avatargen.config.prompts import negatives_of, pools_of, read_captions
from avatargen.headworld.phrases import geometry_caption
from avatargen.headworld.pools import read_rivals_of
from avatargen.io.manifest import Row
from eval.subsets import Unit

CLASSICAL = ("texture", "geometry")
"""Tracks of an experiment with a list that has no pools file."""


@dataclass(frozen=True)
class Pool:
    """The captions of a track, and which of them compete for each avatar.

    Attributes:
        name: the lists that the pool is made from, for tables.
        captions: of all avatars, unique, in the order in which they are first seen.
        own: index of the caption of each (list, item, seed).
        rivals: indices of the other captions in the pool of each (list, item, seed).

    Example:
        >>> unit = ("mine", "a", 0)
        >>> pool = Pool("mine", ("a man", "a girl", "a boy"), own={unit: 0}, rivals={unit: (1, 2)})
        >>> pool.size(unit), round(pool.chance(unit), 2)
        (3, 0.33)
    """

    name: str
    captions: tuple[str, ...]
    own: dict[Unit, int]
    rivals: Mapping[Unit, tuple[int, ...]]

    def size(self, unit: Unit) -> int:
        """Return the number of captions in the pool of an avatar, its own included."""
        return 1 + len(self.rivals[unit])

    def chance(self, unit: Unit) -> float:
        """Return the R@1 of a scorer that guesses."""
        return 1 / self.size(unit)


def in_method_order(rows: Iterable[Row], methods: Sequence[str]) -> list[Row]:
    """Return the rows in the order of the experiment's methods; prompts of a method keep their order."""
    return sorted(rows, key=lambda row: methods.index(row.method))


def own_caption(row: Row, track: str) -> str:
    """Return the caption of an avatar in a track: its prompt; in `geometry`, what a textureless render can show."""
    return geometry_caption(row.prompt, row.tags, row.geometry) if track == "geometry" else row.prompt


def read_pools(rows: Sequence[Row], files: Mapping[str, Path]) -> dict[str, Pool]:
    """Read the pools of an experiment, by track; see :func:`build_pools`.

    Args:
        rows: of all manifests, in the order of :func:`in_method_order`.
        files: the file of each list; pools files and hard negatives lie beside it.

    Raises:
        InputError: a file cannot be read or is wrong; all problems.
    """
    problems, rivals, negatives = Problems(), {}, []
    for name, file in files.items():
        if pools_of(file).is_file():
            rivals[name] = problems.of(lambda file=file: read_rivals_of(file)) or {}
        elif negatives_of(file).is_file():
            negatives += problems.of(lambda file=file: read_captions(negatives_of(file))) or ()
    problems.check()
    return build_pools(rows, negatives, rivals)


def build_pools(
    rows: Sequence[Row], negatives: Sequence[str] = (), rivals: Mapping[str, Rivals] | None = None
) -> dict[str, Pool]:
    """Return the pool of each track that the experiment reports.

    Args:
        rows: of all manifests of the experiment.
        negatives: hard negatives of the lists without a pools file.
        rivals: what the pools file of each list states, by list.

    Raises:
        InputError: a pools file has no captions for a prompt, for example because a list was edited during the run.
    """
    rivals = rivals or {}
    listed = sorted({row.list for row in rows})
    name = "+".join([*(f"{name}.pools" if name in rivals else name for name in listed)])
    tracks = TRACKS if all(one in rivals for one in listed) else CLASSICAL
    absent = dict.fromkeys(
        f"{row.list}: got no captions of '{row.item}' in track '{track}'; expected some in {row.list}.pools.tsv"
        for row in rows
        if row.list in rivals
        for track in tracks
        if (row.item, track) not in rivals[row.list]
    )
    if absent:
        raise InputError(absent)
    pools = {track: _pool(name, track, rows, negatives if track == "texture" else (), rivals) for track in tracks}
    return pools


def _pool(name: str, track: str, rows: Sequence[Row], negatives: Sequence[str], rivals: Mapping[str, Rivals]) -> Pool:
    own = {row.unit: own_caption(row, track) for row in rows}
    stated = {row.unit: rivals[row.list][row.item, track] for row in rows if row.list in rivals}
    shared = dict.fromkeys([*(text for unit, text in own.items() if unit not in stated), *negatives])
    captions = dict.fromkeys([*own.values(), *shared, *(text for texts in stated.values() for text in texts)])
    index = {text: position for position, text in enumerate(captions)}
    at = {unit: index[text] for unit, text in own.items()}
    others = _Rivals(
        at, {unit: tuple(index[t] for t in texts) for unit, texts in stated.items()}, [index[t] for t in shared]
    )
    return Pool(f"{name}+negatives" if negatives else name, tuple(captions), at, others)


class _Rivals(Mapping[Unit, tuple[int, ...]]):
    """Rivals that are stated, and for other avatars all shared captions but their own.

    The latter are listed when they are asked for: for 10,000 prompts, all of them would take a gigabyte.
    """

    def __init__(self, own: Mapping[Unit, int], stated: Mapping[Unit, tuple[int, ...]], shared: Sequence[int]) -> None:
        self.own, self.stated, self.shared = own, stated, shared

    def __getitem__(self, unit: Unit) -> tuple[int, ...]:
        own = self.own[unit]
        return self.stated.get(unit) or tuple(index for index in self.shared if index != own)

    def __iter__(self) -> Iterator[Unit]:
        return iter(self.own)

    def __len__(self) -> int:
        return len(self.own)
