"""Everything that decides what a score means, and its hash.

A number means nothing without its protocol: every row of scores carries a hash of it, and tables refuse to mix hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from avatargen.io.code_hash import code_hash
from avatargen.io.manifest import Row
from eval.captions import CaptionEmbeddings
from eval.images import of_track
from eval.pools import Pool
from eval.subsets import Subsets, Unit


@dataclass(frozen=True)
class Item:
    """A prompt that methods are asked for.

    Attributes:
        list, item: name of the prompt list, and id of the prompt in it.
        prompt: its text.
        seeds: in order.
        caption: what its images are to retrieve.
        pool: position of the captions that it is retrieved from, in :attr:`Protocol.pools`.
    """

    list: str
    item: str
    prompt: str
    seeds: tuple[int, ...]
    caption: str
    pool: int


@dataclass(frozen=True)
class Protocol:
    """Everything that decides what a row of scores means.

    Attributes:
        judge: what people call the model that compares images with captions, see :func:`eval.embed.judge_id`; no part
            of the hash, since the same weights may come by path or by tag.
        content: digest of that model as it was loaded, see :meth:`eval.embed.Judge.content`.
        track: one of :data:`eval.images.TRACKS`.
        pool: name of the pool; no part of the hash.
        pools: captions of each pool, in alphabetical order; several items may share one.
        items: what was asked for, in order.
        views: JSON-ready description of the images, see :func:`eval.images.view_protocol`.
    """

    judge: str
    content: str
    track: str
    pool: str
    pools: tuple[tuple[str, ...], ...]
    items: tuple[Item, ...]
    views: dict[str, Any]

    @cached_property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of what decides the scores."""
        facts = {name: value for name, value in asdict(self).items() if name not in ("judge", "pool")}
        text = json.dumps({**facts, "code": self.code}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def code(self) -> str:
        """Return a hash of the code that embeds and retrieves; that which renders is in `views`."""
        return code_hash(("eval.embed", "eval.retrieval"))

    @property
    def captions(self) -> tuple[str, ...]:
        """The captions of all pools, each once."""
        return tuple(dict.fromkeys(caption for pool in self.pools for caption in pool))


@dataclass(frozen=True)
class Protocols:
    """The protocols of an experiment; each is made once, since thousands of avatars share it.

    Attributes:
        pools: of each track.
        captions: of each judge.
        subsets: of the experiment.
        prompts: texts by (list, item).
    """

    pools: Mapping[str, Pool]
    captions: Mapping[str, CaptionEmbeddings]
    subsets: Subsets
    prompts: Mapping[tuple[str, str], str]
    _asked: dict[tuple[str, str], tuple[Any, Any]] = field(default_factory=dict)
    _made: dict[tuple[str, ...], Protocol] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[Row], pools: Mapping[str, Pool], captions: Mapping[str, CaptionEmbeddings]) -> Protocols:
        """Return the protocols of the rows of all manifests."""
        return cls(pools, captions, Subsets.of(rows), {(row.list, row.item): row.prompt for row in rows})

    def find(self, row: Row, judge: str, track: str, views: dict[str, Any]) -> dict[str, Protocol]:
        """Return the protocols that a score of an avatar counts under, by subset.

        Args:
            row: of the manifest.
            judge: its name.
            track: of the score.
            views: how its images were made, see :func:`eval.images.view_protocol`.
        """
        shown = of_track(views, track)
        key = json.dumps(shown, sort_keys=True)
        return {subset: self._protocol(subset, judge, track, shown, key) for subset in self.subsets.names(row)}

    def _protocol(self, subset: str, judge: str, track: str, views: dict[str, Any], key: str) -> Protocol:
        if (track, subset) not in self._asked:
            self._asked[track, subset] = what_is_asked(self.subsets.units[subset], self.prompts, self.pools[track])
        if (subset, judge, track, key) not in self._made:
            captions, (pools, items) = self.captions[judge], self._asked[track, subset]
            made = Protocol(captions.judge, captions.content, track, self.pools[track].name, pools, items, views)
            self._made[subset, judge, track, key] = made
        return self._made[subset, judge, track, key]


def what_is_asked(
    units: Iterable[Unit], prompts: Mapping[tuple[str, str], str], pool: Pool
) -> tuple[tuple[tuple[str, ...], ...], tuple[Item, ...]]:
    """Return the pools and the items of a subset, see :class:`Protocol`; the order of `units` does not matter.

    Example:
        >>> unit = ("mine", "a", 0)
        >>> pool = Pool("mine", ("a man", "a girl"), own={unit: 0}, rivals={unit: (1,)})
        >>> what_is_asked([unit], {("mine", "a"): "a man"}, pool)[0]
        (('a girl', 'a man'),)
    """
    seeds: dict[tuple[str, str], list[int]] = {}
    for name, item, seed in sorted(units):
        seeds.setdefault((name, item), []).append(seed)
    positions: dict[tuple[int, ...], int] = {}
    items = []
    for (name, item), asked in seeds.items():
        unit = (name, item, asked[0])
        members = tuple(sorted((pool.own[unit], *pool.rivals[unit])))
        position = positions.setdefault(members, len(positions))
        text = pool.captions[pool.own[unit]]
        items.append(Item(name, item, prompts[name, item], tuple(asked), text, position))
    pools = tuple(tuple(sorted(pool.captions[index] for index in members)) for members in positions)
    return pools, tuple(items)


def spelt_out(protocol: Protocol, name: str, truncated: Sequence[str]) -> dict[str, Any]:
    """Return a protocol as JSON-ready facts, for ``protocols.json``.

    Args:
        protocol: to spell out.
        name: of the judge.
        truncated: captions of the track that the judge truncates.
    """
    captions = set(protocol.captions)
    sizes = {len(protocol.pools[item.pool]) for item in protocol.items}
    return {
        "judge": protocol.judge,
        "name": name,
        "content": protocol.content,
        "code": protocol.code,
        "track": protocol.track,
        "pool": protocol.pool,
        "pool_size": pool_sizes(sizes),
        "truncated": [text for text in truncated if text in captions],
        "views": protocol.views,
        "items": [asdict(item) for item in protocol.items],
        "pools": [list(pool) for pool in protocol.pools],
    }


def pool_sizes(sizes: Iterable[int]) -> str:
    """Return the size of pools, or the least and the greatest.

    Example:
        >>> pool_sizes([24, 24]), pool_sizes([23, 24])
        ('24', '23-24')
    """
    found = sorted(set(sizes))
    return str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"
