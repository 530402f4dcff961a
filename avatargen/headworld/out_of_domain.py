"""Prompts with a known number of words that the shipped models never read, and pools that stay comparable.

A head of a list gets its own caption, and further ones with 1, 2 and 4 unknown words of either kind:

added     words that say nothing of the head, such as "HD"; every caption of its pools gets the same ones
swapped   other words for what the caption says, such as "jolly" for "smiling"; captions of its pools say it in the same
          way wherever they name the same attribute

So a prompt is as hard to tell from its rivals as the one that it is made from, for a reader who knows the words. The
head is the same: tags name its attributes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avatargen.config.pools import COLUMNS as POOL_COLUMNS
from avatargen.config.prompts import COLUMNS, PromptItem, pools_of, read_list
from avatargen.headworld.paraphrases import articled
from avatargen.headworld.phrases import TRUTH_BY_TAGS
from avatargen.headworld.pools import read_rivals_of
from avatargen.headworld.vocabulary import unknown_words

NUMBERS = (1, 2, 4)
"""Unknown words of the variants of a caption."""
PLAIN, ADDED, SWAPPED = "plain", "added", "swapped"
ADDITIONS = {1: "{} HD", 2: "{} 4k HD", 4: "{} 4k HD 3D art"}
"""Short words, so that no prompt of the list is truncated: a long one that is unknown has many tokens."""
SWAPS = {
    "noun": {
        "boy": "lad",
        "girl": "lass",
        "old man": "grandad",
        "old woman": "gran",
        "man": "gent",
        "woman": "gal",
    },
    "expression": {"smiling": "jolly", "angry": "mad", "sleeping": "asleep", "an open mouth": "a gaping mouth"},
    "weight": {"fat": "stout", "thin": "lean"},
    "material": {"statue": "idol"},
    "skin": {"skin": "hue"},
    "hair": {"bald head": "shaven head", "afro": "fro", "mohawk": "crest", "bun": "knot", "hair": "mane"},
    "feature": {
        "big ears": "large ears",
        "pointed ears": "pointy ears",
        "long nose": "large nose",
        "wide jaw": "strong jaw",
        "horns": "two horns",
    },
    "eyes": {"eyes": "orbs"},
    "paint": {"make-up": "rouge", "war paint": "war marks", "lipstick": "lippy"},
}
"""For each attribute, words of the canonical captions, and what is said instead: one unknown word each."""


class Variant(NamedTuple):
    """How a caption is changed: the kind, and the number of unknown words."""

    kind: str
    number: int


VARIANTS = (Variant(PLAIN, 0), *(Variant(kind, number) for kind in (ADDED, SWAPPED) for number in NUMBERS))


@dataclass(frozen=True)
class Rewording:
    """The rewording of one variant, of a prompt and its rivals alike.

    Attributes:
        variant: what it is.
        attributes: names in SWAPS whose words are swapped.
    """

    variant: Variant
    attributes: Sequence[str] = ()

    def __call__(self, text: str) -> str:
        """Return a caption in other words.

        Example:
            >>> Rewording(Variant("swapped", 1), ["noun"])("a sleeping man with horns")
            'a sleeping gent with horns'
            >>> Rewording(Variant("added", 2))("a man with horns")
            'a man with horns 4k HD'
        """
        if self.variant.kind == ADDED:
            return ADDITIONS[self.variant.number].format(text)
        return swapped(text, self.attributes)


def swapped(text: str, attributes: Sequence[str]) -> str:
    """Return a caption with other words for some attributes.

    Args:
        text: in canonical wording, with or without colours.
        attributes: names in SWAPS.

    Example:
        >>> swapped("an angry old man with a bald head", ["noun", "expression"])
        'a mad grandad with a bald head'
    """
    table = {word: other for name in attributes for word, other in SWAPS[name].items()}
    if not table:
        return text
    longest_first = sorted(table, key=len, reverse=True)
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")
    return articled(pattern.sub(lambda found: table[found[0]], text))


def rewordings(caption: str) -> dict[Variant, Rewording]:
    """Return the rewording of each variant of a caption; a greater number of words swaps more attributes.

    Args:
        caption: in canonical wording. The attributes are drawn by a generator that its text seeds.

    Returns:
        Empty where the caption names fewer attributes than words are to be swapped.
    """
    counts = {name: len(unknown_words(swapped(caption, [name]))) for name in SWAPS}
    single = [name for name, count in counts.items() if count == 1]
    if len(single) < max(NUMBERS):
        return {}
    order = np.random.default_rng(zlib.crc32(caption.encode())).permutation(single).tolist()
    found = {variant: Rewording(variant) for variant in VARIANTS if variant.kind != SWAPPED}
    return found | {Variant(SWAPPED, n): Rewording(Variant(SWAPPED, n), order[:n]) for n in NUMBERS}


def variant_id(item: str, variant: Variant) -> str:
    """Return the id of a variant's prompt.

    Example:
        >>> variant_id("horns-boy", Variant("added", 2))
        'horns-boy.added.2'
    """
    return f"{item}.{variant.kind}.{variant.number}"


def write_out_of_domain(path: Path, heads: int, name: str = "out_of_domain") -> Path:
    """Write a list of variants and its pools beside a list; return the path of the new list.

    Args:
        path: of a list whose tags name every attribute that is not at the template's value, with its pools beside it.
        heads: number of prompts to take, the first ones with enough words to swap.
        name: of the new list.

    Raises:
        InputError: the list or its pools file is wrong.
    """
    other, rivals = path.with_name(f"{name}.tsv"), read_rivals_of(path)
    items = [item for item in read_list(path) if rewordings(item.prompt)][:heads]
    rows = [row for item in items for row in _rows(item)]
    pools = [row for item in items for row in _pool_rows(item, rivals)]
    for file, lines in ((other, [COLUMNS, *rows]), (pools_of(other), [POOL_COLUMNS, *pools])):
        file.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return other


def _rows(item: PromptItem) -> Iterator[tuple[str, ...]]:
    for variant, reword in rewordings(item.prompt).items():
        tags = item.tags if variant.kind == PLAIN else (TRUTH_BY_TAGS, *item.tags)
        yield variant_id(item.item, variant), reword(item.prompt), ";".join(tags), reword(item.geometry or "")


def _pool_rows(item: PromptItem, rivals: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[tuple[str, ...]]:
    for variant, reword in rewordings(item.prompt).items():
        for (name, track), texts in rivals.items():
            if name == item.item:
                yield from ((variant_id(name, variant), track, reword(text)) for text in texts)
