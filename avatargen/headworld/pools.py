"""Write the caption pools of R-precision for prompts of the closed world: hard negatives, and captions of shape.

``python -m avatargen.headworld pools FILE…`` writes both beside each prompt list; they are committed with it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from avatargen.config.errors import InputError
from avatargen.config.prompts import read_list
from avatargen.headworld.attributes import VALUES, Attributes, may_be_seen, sample
from avatargen.headworld.phrases import caption, parse

NEGATIVES = 4
"""Hard negatives for each prompt."""
SHAPES = 64
"""Captions in the pool of the geometry track."""
SWAPPED = tuple(name for name in VALUES if name != "eyes")
"""Attributes that a negative may change. An iris is four pixels of a whole head, and invisible from the side."""


def negatives(attributes: Attributes, rng: np.random.Generator, count: int = NEGATIVES) -> list[str]:
    """Return captions that differ from a head's in exactly one attribute.

    Args:
        attributes: of the head.
        rng: draws the attributes and their new values.
        count: number of captions.

    Example:
        >>> negatives(Attributes(hair="bun"), np.random.default_rng(0), count=2)
        ['a man with a brown bun and a long nose', 'a man with a blond bun']
    """
    return [caption(swapped) for swapped in swaps(attributes, rng, count)]


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


def shape_captions(own: list[str], rng: np.random.Generator, count: int = SHAPES) -> list[str]:
    """Return distinct captions of what a textureless render shows.

    Args:
        own: captions of the prompts, which come first.
        rng: draws the other captions.
        count: number of captions.

    Example:
        >>> shape_captions(["a man", "a girl", "a man"], np.random.default_rng(0), count=2)
        ['a man', 'a girl']
    """
    found = list(dict.fromkeys(own))
    while len(found) < count:
        text = caption(sample(rng), colours=False)
        if text not in found:
            found.append(text)
    return found


def write_pools(path: Path) -> None:
    """Write ``NAME.negatives.txt`` and ``NAME-geometry.txt`` beside the list ``NAME.tsv``.

    Raises:
        InputError: the closed world does not know some prompts; all of them are reported at once.
    """
    parsed = {item.prompt: parse(item.prompt) for item in read_list(path)}
    if unknown := [prompt for prompt, head in parsed.items() if head is None]:
        expected = "expected a prompt that the closed world knows, such as those of prompts/embedded.tsv"
        raise InputError([f"{path}: got '{prompt}'; {expected}" for prompt in unknown])
    rng = np.random.default_rng(0)
    heads = [head for head in parsed.values() if head is not None]
    swapped = dict.fromkeys(text for head in heads for text in negatives(head, rng))
    shapes = shape_captions([caption(head, colours=False) for head in heads], rng)
    stem = path.with_suffix("")
    _write(stem.with_name(f"{stem.name}.negatives.txt"), "one attribute of a prompt swapped", list(swapped))
    _write(stem.with_name(f"{stem.name}-geometry.txt"), "what a textureless render can show", shapes)


def _write(path: Path, what: str, lines: list[str]) -> None:
    """Write a pool, one caption a line, after a header."""
    header = f"# {what}; written by `python -m avatargen.headworld pools`\n"
    path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
