"""Which captions an avatar's own one competes with.

Texture   the unique prompts of the experiment's lists, and the hard negatives of those lists, if any: one a
          line in ``prompts/{list}.negatives.txt`` (a prompt with one attribute swapped).
Geometry  captions of what a textureless render can show: those of the configured geometry list, if any, and
          each avatar's own one (see `geometry_caption`).

Captions are unique: avatars that ask for the same thing share one. Chance is 1 / N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avatargen.headworld.phrases import caption, described
from avatargen.io.manifest import Row

GEOMETRY_TAG = "geometry="
Unit = tuple[str, str, int]


@dataclass(frozen=True)
class Pool:
    """Captions, and which of them belongs to each avatar.

    Attributes:
        name: what the pool was made from, for tables.
        captions: unique, in the order in which they were first seen.
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
    """Return what a textureless render of an avatar can be asked for: what its list says, its tag, or the prompt.

    A prompt whose words the closed world knows loses those of colour, which no such render can show.
    """
    tagged = [tag.removeprefix(GEOMETRY_TAG) for tag in row.tags if tag.startswith(GEOMETRY_TAG)]
    if row.geometry or tagged:
        return row.geometry or tagged[0]
    known = described(row.prompt, row.tags)
    return caption(known, colours=False) if known else row.prompt


def build_pools(
    rows: Sequence[Row],
    negatives: Sequence[str] = (),
    geometry_captions: Sequence[str] = (),
    geometry_list: str | None = None,
) -> dict[str, Pool]:
    """The pools of both tracks: {"texture": …, "geometry": …}.

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
