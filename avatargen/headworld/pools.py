"""What the closed world's prompts compete with in CLIP-R: hard negatives, and captions of shape.

``python -m avatargen.headworld pools LIST`` writes both beside a prompt list; they are committed with it.
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
SHAPES = 64
SWAPPED = tuple(name for name in VALUES if name != "eyes")
"""What a negative may swap: an iris is four pixels of a whole head, and unseen from the side."""


def negatives(attributes: Attributes, rng: np.random.Generator, count: int = NEGATIVES) -> list[str]:
    """Captions that differ from a head's in exactly one attribute, and in their words."""
    return [caption(swapped) for swapped in swaps(attributes, rng, count)]


def swaps(
    attributes: Attributes,
    rng: np.random.Generator,
    count: int,
    colours: bool = True,
    names: tuple[str, ...] = SWAPPED,
) -> list[Attributes]:
    """Heads whose captions differ from a head's in exactly one attribute of `names`; without `colours`, in shape.

    A name given twice is swapped twice as often.
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
    """The head of a caption of this world's own making."""
    head = parse(text)
    assert head is not None, text
    return head


def training_swaps(
    head: Attributes, rng: np.random.Generator, count: int, names: tuple[str, ...], colours: bool = True
) -> list[Attributes]:
    """`swaps` that training may see: none makes a held-out combination. Some come twice, if too few are left."""
    seen = [other for other in swaps(head, rng, count + 3, colours, names) if may_be_seen(other, colours)] or [head]
    return [seen[k % len(seen)] for k in range(count)]


def _plausible(head: Attributes) -> bool:
    return head.beard == "none" or (head.sex == "man" and head.age in ("adult", "old"))


def _differences(a: Attributes, b: Attributes) -> int:
    return sum(getattr(a.plain(), name) != getattr(b.plain(), name) for name in VALUES)


def shape_captions(own: list[str], rng: np.random.Generator, count: int = SHAPES) -> list[str]:
    """`count` captions, pairwise distinct in what a textureless render shows; `own` come first."""
    found = list(dict.fromkeys(own))
    while len(found) < count:
        text = caption(sample(rng), colours=False)
        if text not in found:
            found.append(text)
    return found


def write_pools(path: Path) -> None:
    """Write ``{list}.negatives.txt`` and ``{list}-geometry.txt`` beside a list.

    Raises:
        InputError: prompts that the closed world does not know.
    """
    items = read_list(path)
    heads = {item.prompt: parse(item.prompt) for item in items}
    problems = [f"{path}: the closed world does not know '{prompt}'" for prompt, head in heads.items() if head is None]
    if problems:
        raise InputError(problems)
    rng = np.random.default_rng(0)
    known = [head for head in heads.values() if head is not None]
    swapped = dict.fromkeys(text for head in known for text in negatives(head, rng))
    shapes = shape_captions([caption(head, colours=False) for head in known], rng)
    stem = path.with_suffix("")
    _write(stem.with_name(f"{stem.name}.negatives.txt"), "one attribute of a prompt swapped", list(swapped))
    _write(stem.with_name(f"{stem.name}-geometry.txt"), "what a textureless render can show", shapes)


def _write(path: Path, what: str, lines: list[str]) -> None:
    header = f"# {what}; written by `python -m avatargen.headworld pools`\n"
    path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
