"""Write the pools of prompts of the closed world: the captions that compete with a prompt's own, in each track.

``python -m avatargen.headworld pools FILE…`` writes ``NAME.pools.tsv`` beside each prompt list. Every pool has 24
captions: the prompt's own, `HARD` heads with one attribute swapped, and heads that share half of their attributes with
the prompt's: the list's other heads in random order, as far as they fit, then random ones.

texture          The prompt's shape in other colours. A colour that the other head does not show (of hair, if it is
                 bald) is drawn at random.
shape_in_colour  The prompt's colours on other shapes. All captions of a pool show the same colours: a head with hair
                 competes with heads that have hair, a bald one with bald ones; likewise for beards; one with named eyes
                 does not compete with sleepers. A statue is of one colour and competes with every shape.
geometry         Other shapes, without colours.

Eyes are never all that two captions of a pool differ in: an iris is four pixels of a whole head.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from avatargen.config.errors import InputError
from avatargen.config.pools import COLUMNS, TRACKS, Rivals, read_rivals
from avatargen.config.prompts import POOLS, pools_of, read_list
from avatargen.headworld.attributes import SHAPE, VALUES, Attributes, may_be_seen, sample
from avatargen.headworld.phrases import caption, geometry_caption, parse

RIVALS, HARD = 23, 8
"""Captions that compete with a prompt's own in a track; how many of them have one attribute swapped, if there are."""
COLOURS = tuple(name for name in VALUES if name not in SHAPE)
BARE = {"hair": "bald", "beard": "none"}
"""Values that show no colour of their own."""
SWAPPED = tuple(name for name in VALUES if name != "eyes")
"""Attributes that a hard negative may change. An iris is four pixels of a whole head, and invisible from the side."""


def swaps(
    attributes: Attributes,
    rng: np.random.Generator,
    count: int,
    colours: bool = True,
    names: tuple[str, ...] = SWAPPED,
) -> list[Attributes]:
    """Return heads whose captions differ from a head's in exactly one attribute.

    Args:
        attributes: of the head.
        rng: draws the attributes and their new values.
        count: number of heads.
        colours: False if captions name only what a textureless render shows.
        names: attributes to change; one that is given twice is changed twice as often.
    """
    own, found = caption(attributes, colours), {}
    while len(found) < count:
        name = str(rng.choice(names))
        swapped = replace(attributes, **{name: str(rng.choice(VALUES[name]))})
        other = caption(swapped, colours)
        changed = parse(other)
        if other in (own, *found) or not _plausible(swapped) or changed is None:
            continue
        if _differences(attributes if colours else attributes.shape_only(), changed) == 1:
            found[other] = swapped
    return list(found.values())


def known(text: str) -> Attributes:
    """Return the head of a caption that the closed world has written.

    Raises:
        ValueError: the closed world does not know the caption.
    """
    head = parse(text)
    if head is None:
        raise ValueError(f"caption: got '{text}'; expected one that the closed world knows")
    return head


def training_swaps(
    head: Attributes, rng: np.random.Generator, count: int, names: tuple[str, ...], colours: bool = True
) -> list[Attributes]:
    """Return `swaps` without held-out combinations, for training; repeats some if too few are left."""
    seen = [other for other in swaps(head, rng, count + 3, colours, names) if may_be_seen(other, colours)] or [head]
    return [seen[k % len(seen)] for k in range(count)]


def _plausible(head: Attributes) -> bool:
    """Return True unless a child or a woman has a beard."""
    return head.beard == "none" or (head.sex == "man" and head.age in ("adult", "old"))


def _differences(a: Attributes, b: Attributes) -> int:
    """Return the number of visible attributes in which two heads differ."""
    return sum(getattr(a.plain(), name) != getattr(b.plain(), name) for name in VALUES)


def rivals(head: Attributes, track: str, others: Sequence[Attributes], rng: np.random.Generator) -> list[Attributes]:
    """Return the heads whose captions compete with a head's in a track, the hard ones first.

    Args:
        head: of the prompt.
        track: one of `TRACKS`.
        others: heads of the list's other prompts.
        rng: draws the swaps and the random heads.

    Example:
        >>> found = rivals(Attributes(hair="bun", skin="green"), "texture", [], np.random.default_rng(0))
        >>> [caption(other) for other in found[:2]]
        ['a man with green skin and a white bun', 'a man with green skin, a brown bun and war paint']
    """
    head = (head.shape_only() if track == "geometry" else head).plain()
    changed = COLOURS if track == "texture" else SHAPE
    found = {replace(other, eyes=Attributes.eyes): other for other in [head, *_hard(head, track, rng)]}
    mixed = (_mixed(head, other, changed, rng) for other in _donors(others, rng))
    while len(found) <= RIVALS:
        other = next(mixed)
        if _fits(head, other, track):
            found.setdefault(replace(other, eyes=Attributes.eyes), other)
    return list(found.values())[1:]


def _hard(head: Attributes, track: str, rng: np.random.Generator) -> list[Attributes]:
    """Return up to `HARD` heads with one attribute swapped, each attribute about equally often."""
    names = [name for name in SWAPPED if (name in SHAPE) == (track != "texture")]
    by_name = []
    for name in rng.permutation(names):
        swapped = [replace(head, **{name: str(value)}).plain() for value in rng.permutation(VALUES[name])]
        by_name.append([other for other in swapped if _differences(head, other) == 1 and _fits(head, other, track)])
    in_turn = chain.from_iterable(zip_longest(*by_name))
    return [other for other in in_turn if other is not None][:HARD]


def _donors(others: Sequence[Attributes], rng: np.random.Generator) -> Iterator[Attributes]:
    """Yield the other heads in random order, then random ones without end."""
    ordered = sorted(others, key=caption)  # the order of a list's lines does not count
    yield from (ordered[k] for k in rng.permutation(len(ordered)))
    while True:
        yield sample(rng)


def _mixed(head: Attributes, other: Attributes, names: tuple[str, ...], rng: np.random.Generator) -> Attributes:
    """Return a head with some attributes of another; a colour of hair that the other has not is drawn at random."""
    absent = {"hair_colour": other.hair == "bald", "beard_colour": other.beard == "none"}
    drawn = {name: str(rng.choice(VALUES[name])) for name, hidden in absent.items() if hidden}
    values = {**vars(other), **drawn}
    return replace(head, **{name: values[name] for name in names}).plain()


def _fits(head: Attributes, other: Attributes, track: str) -> bool:
    """Return True if a head is plausible and, in `shape_in_colour`, shows the colours of `head` and no others."""
    if track != "shape_in_colour" or head.material != "none":
        return _plausible(other)
    same = all((getattr(head, name) == value) == (getattr(other, name) == value) for name, value in BARE.items())
    return _plausible(other) and same and head.eyes == other.eyes


def write_pools(path: Path) -> None:
    """Write ``NAME.pools.tsv`` beside the list ``NAME.tsv``.

    A prompt's pools depend on the prompt and on the set of the others, not on their order.

    Raises:
        InputError: the closed world does not know some prompts; all of them are reported at once.
    """
    parsed = {item: parse(item.prompt) for item in read_list(path)}
    if strange := [item.prompt for item, head in parsed.items() if head is None]:
        expected = "expected a prompt that the closed world knows, such as those of prompts/embedded.tsv"
        raise InputError([f"{path}: got '{prompt}'; {expected}" for prompt in strange])
    heads = {item: head for item, head in parsed.items() if head is not None}
    lines = ["\t".join(COLUMNS)]
    for item, head in heads.items():
        others = [other for other in heads.values() if other != head]
        for number, track in enumerate(TRACKS):
            rng = np.random.default_rng([zlib.crc32(item.prompt.encode()), number])
            found = rivals(head, track, others, rng)
            lines += ["\t".join([item.item, track, caption(other, track != "geometry")]) for other in found]
    path.with_name(f"{path.stem}{POOLS[0]}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_rivals_of(file: Path) -> Rivals:
    """Read the pools file beside a prompt list.

    Args:
        file: of the list.

    Raises:
        InputError: the list or its pools file is wrong; see :func:`avatargen.config.pools.read_rivals`.
    """
    own = {}
    for item in read_list(file):
        own |= {(item.item, track): item.prompt for track in TRACKS}
        own[item.item, "geometry"] = geometry_caption(item.prompt, item.tags, item.geometry)
    return read_rivals(pools_of(file), own)
