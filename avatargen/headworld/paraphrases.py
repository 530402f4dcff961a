"""Reword captions of the closed world mildly, in words that a person may use and that the shipped models never read.

The table is fixed, so that a reworded list measures what the wording alone changes: the heads are the same.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from avatargen.config.pools import COLUMNS as POOL_COLUMNS
from avatargen.config.prompts import COLUMNS, pools_of, read_list
from avatargen.headworld.attributes import HAIR_COLOURS
from avatargen.headworld.phrases import TRUTH_BY_TAGS
from avatargen.headworld.pools import read_rivals_of

REWORDINGS = {
    "boy": "lad",
    "girl": "lass",
    "man": "grown man",
    "woman": "grown woman",
    "old man": "grandad",
    "old woman": "granny",
    "smiling": "jolly",
    "angry": "fuming",
    "sleeping": "dozing",
    "fat": "stout",
    "thin": "lean",
    "a bald head": "a hairless head",
    "{colour} hair": "hair in {colour}",
    "long {colour} hair": "long {colour} locks",
    "a {colour} afro": "big {colour} curls",
    "a {colour} mohawk": "a {colour} mohican",
    "a {colour} bun": "a bun of {colour} hair",
    "a {colour} beard": "a beard in {colour}",
    "a long {colour} beard": "a long beard in {colour}",
    "a {colour} moustache": "a {colour} stache",
    "an open mouth": "a gaping mouth",
    "big ears": "large ears",
    "pointed ears": "pointy ears",
    "a long nose": "a large nose",
    "a wide jaw": "a strong jaw",
    "horns": "two horns",
    "clown make-up": "clown face paint",
    "war paint": "war face paint",
    "red lipstick": "lips painted red",
}
"""Canonical phrases, and what is said instead; without its colour, a phrase describes a textureless render."""


def reword(text: str) -> str:
    """Return a caption in other words; its head is the same.

    Args:
        text: in canonical wording, with or without colours (see `phrases.caption`). Other words stay as they are.

    Example:
        >>> reword("an angry old man with green skin, a bald head and horns")
        'a fuming grandad with green skin, a hairless head and two horns'
    """
    table, pattern = _table()
    said = pattern.sub(lambda found: table[found[0]], text)
    return articled(said)


def articled(text: str) -> str:
    """Return a text with the articles that its words need.

    Example:
        >>> articled("a angry man with an blue beard")
        'an angry man with a blue beard'
    """
    return re.sub(r"\ban? (?=(\w))", lambda found: "an " if found[1] in "aeiou" else "a ", text)


@cache
def _table() -> tuple[dict[str, str], re.Pattern[str]]:
    """Return what each phrase becomes, with every colour and without, and the pattern that finds phrases."""
    table = {}
    for phrase, other in REWORDINGS.items():
        table[_colourless(phrase)] = _colourless(other)
        table |= {phrase.format(colour=colour): other.format(colour=colour) for colour in HAIR_COLOURS}
    longest_first = sorted(table, key=len, reverse=True)
    return table, re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")


def write_paraphrases(path: Path) -> Path:
    """Write ``NAME-paraphrases.tsv`` and its pools beside the list ``NAME.tsv``; return the path of the new list.

    Prompts, geometry captions and the captions of the pools are reworded; ids stay. The tags describe the heads.

    Args:
        path: of a list whose tags name every attribute that is not at the template's value, with its pools beside it.

    Raises:
        InputError: the list or its pools file is wrong.
    """
    other = path.with_name(f"{path.stem}-paraphrases.tsv")
    rows = [
        (item.item, reword(item.prompt), ";".join((TRUTH_BY_TAGS, *item.tags)), reword(item.geometry or ""))
        for item in read_list(path)
    ]
    pools = [(*key, reword(text)) for key, texts in read_rivals_of(path).items() for text in texts]
    for file, lines in ((other, [COLUMNS, *rows]), (pools_of(other), [POOL_COLUMNS, *pools])):
        file.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return other


def _colourless(phrase: str) -> str:
    """Return a phrase without its colour."""
    return phrase.replace("a {colour} afro", "an afro").replace(" in {colour}", "").replace("{colour} ", "")
