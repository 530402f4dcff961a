"""Write the caption of a head, and parse a caption back into attributes.

Each attribute has several wordings. `caption` without a random generator uses the first of each, the canonical wording
of prompt lists and pools. `parse` knows every wording that `caption` can choose, and a few more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from operator import itemgetter

import numpy as np

from avatargen.config.errors import unknown
from avatargen.headworld.attributes import HAIR_COLOURS, VALUES, Attributes

NOUNS = {
    ("baby", "man"): ("baby boy", "infant boy"),
    ("baby", "woman"): ("baby girl", "infant girl"),
    ("child", "man"): ("boy", "little boy", "young boy"),
    ("child", "woman"): ("girl", "little girl", "young girl"),
    ("adult", "man"): ("man", "young man", "guy"),
    ("adult", "woman"): ("woman", "young woman", "lady"),
    ("old", "man"): ("old man", "elderly man", "grandfather"),
    ("old", "woman"): ("old woman", "elderly lady", "grandmother"),
}
ADJECTIVES = {
    ("expression", "smiling"): ("smiling", "happy", "grinning"),
    ("expression", "angry"): ("angry", "furious"),
    ("expression", "sleeping"): ("sleeping",),
    ("weight", "fat"): ("fat", "heavy", "chubby"),
    ("weight", "thin"): ("thin", "skinny", "gaunt"),
}
MATERIALS = {
    "stone": ("a stone statue of", "a stone bust of"),
    "gold": ("a gold statue of", "a gold bust of"),
    "clay": ("a clay statue of", "a terracotta bust of"),
}
SKIN = ("{skin} skin", "a {skin} face")
HAIR = {
    "short": ("{colour} hair", "short {colour} hair"),
    "bald": ("a bald head", "a shaved head", "no hair"),
    "long": ("long {colour} hair", "flowing {colour} hair"),
    "afro": ("a {colour} afro", "a big {colour} afro"),
    "mohawk": ("a {colour} mohawk", "a {colour} mohawk haircut"),
    "bun": ("a {colour} bun", "{colour} hair in a bun"),
}
BEARD = {
    "full": ("a {colour} beard", "a bushy {colour} beard"),
    "long": ("a long {colour} beard", "a flowing {colour} beard"),
    "moustache": ("a {colour} moustache", "a {colour} mustache"),
}
DETAILS = {
    ("expression", "open mouth"): ("an open mouth", "a wide open mouth"),
    ("feature", "big ears"): ("big ears", "huge ears"),
    ("feature", "pointed ears"): ("pointed ears", "elf ears"),
    ("feature", "long nose"): ("a long nose", "a big nose"),
    ("feature", "wide jaw"): ("a wide jaw", "a broad jaw"),
    ("feature", "horns"): ("horns", "devil horns"),
    **{("eyes", colour): (f"{colour} eyes",) for colour in VALUES["eyes"][1:]},
    ("paint", "clown make-up"): ("clown make-up", "a clown face"),
    ("paint", "war paint"): ("war paint", "stripes of war paint"),
    ("paint", "red lipstick"): ("red lipstick", "bright red lips"),
}
GEOMETRY_TAG = "geometry="
NO_TRUTH, TRUTH_BY_TAGS = "truth=none", "truth=tags"
"""Tags of prompts without a ground-truth head, and of those whose other tags describe it."""
_MORE = {
    "bald": {"hair": "bald"},
    "shouting": {"expression": "open mouth"},
    "screaming": {"expression": "open mouth"},
    "closed eyes": {"expression": "sleeping"},
    "gray skin": {"skin": "grey"},
    "black skin": {"skin": "dark"},
    "red hair": {"hair_colour": "ginger"},
    "blonde hair": {"hair_colour": "blond"},
    "gray hair": {"hair_colour": "white"},
    "middle aged man": {"age": "adult", "sex": "man"},
    "middle aged woman": {"age": "adult", "sex": "woman"},
    "old lady": {"age": "old", "sex": "woman"},
    "elderly woman": {"age": "old", "sex": "woman"},
    "short hair": {"hair": "short"},
}
"""Wordings that `parse` knows and `caption` does not use."""
CANONICAL = 0.4
"""Share of training captions in canonical wording; the others have random wording."""
_ARTICLES = frozenset({"a", "an", "the", "of"})
_FILLER = frozenset({"with", "and", "her", "his", "their", "very", "in", "head"})


def caption(head: Attributes, colours: bool = True, rng: np.random.Generator | None = None) -> str:
    """Return the caption of a head.

    It mentions age and sex (by the noun) and every attribute that is not at the template's value.

    Args:
        head: any head.
        colours: False to mention only what a textureless render shows.
        rng: draws the wording of each phrase and the order of details; None for the canonical wording.

    Example:
        >>> head = Attributes(age="old", skin="green", hair="mohawk", hair_colour="pink")
        >>> caption(head)
        'an old man with green skin and a pink mohawk'
        >>> caption(head, colours=False)
        'an old man with a mohawk'
    """
    head = (head if colours else head.shape_only()).plain()

    def word(options: tuple[str, ...]) -> str:
        return options[0] if rng is None else str(rng.choice(options))

    attributes = vars(head).items()
    words = [word(ADJECTIVES[item]) for item in sorted(attributes) if item in ADJECTIVES]
    subject = _with_article(" ".join([*words, word(NOUNS[head.age, head.sex])]))
    if head.material != "none":
        subject = f"{word(MATERIALS[head.material])} {subject}"
    details = [*_colour_details(head, colours), *(DETAILS[item] for item in attributes if item in DETAILS)]
    said = [_tidy(word(options)) for options in details]
    if rng is not None:
        said = [said[k] for k in rng.permutation(len(said))]
    if not said:
        return subject
    return f"{subject} with " + (", ".join(said[:-1]) + " and " if len(said) > 1 else "") + said[-1]


def worded(head: Attributes, rng: np.random.Generator, colours: bool = True) -> str:
    """Return a caption for training: in canonical wording with probability `CANONICAL`, else in random wording."""
    return caption(head, colours, None if rng.random() < CANONICAL else rng)


def _colour_details(head: Attributes, colours: bool) -> Iterator[tuple[str, ...]]:
    """Yield the wordings of skin, hair and beard, with their colours if these are visible."""
    seen = colours and head.material == "none"
    if head.skin != Attributes.skin:
        yield tuple(text.format(skin=head.skin) for text in SKIN)
    if head.hair != "short" or head.hair_colour != Attributes.hair_colour:
        yield tuple(text.format(colour=head.hair_colour if seen else "") for text in HAIR[head.hair])
    if head.beard != "none":
        yield tuple(text.format(colour=head.beard_colour if seen else "") for text in BEARD[head.beard])


def _tidy(text: str) -> str:
    """Return the text with single spaces and the right indefinite article."""
    words = text.split()
    return _with_article(" ".join(words[1:])) if words[0] in ("a", "an") else " ".join(words)


def _with_article(text: str) -> str:
    """Return the text after ``a`` or ``an``."""
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def described(prompt: str, tags: tuple[str, ...] = ()) -> Attributes | None:
    """Return the attributes of the ground-truth head of a prompt, or None if it has none.

    Args:
        prompt: any text.
        tags: the prompt's tags; ``truth=none`` says that it has no ground-truth head, ``truth=tags`` that the other
            tags describe the head (attributes without a tag have their template value), whatever the prompt says.

    Raises:
        ValueError: tags that describe the head name an unknown attribute or value.

    Example:
        >>> described("a bald man") == Attributes(hair="bald")
        True
        >>> described("a bald man", tags=("truth=none",)) is described("a bald man with a hat") is None
        True
        >>> described("a hairless chap", tags=("truth=tags", "hair=bald")) == Attributes(hair="bald")
        True
    """
    if NO_TRUTH in tags:
        return None
    if TRUTH_BY_TAGS not in tags:
        return parse(prompt)
    if problems := tag_problems(tags):
        raise ValueError(f"tags of '{prompt}': {'; '.join(problems)}")
    return Attributes(**dict(_described_by(tags)))


def tag_problems(tags: tuple[str, ...]) -> list[str]:
    """Return what is wrong with tags that describe a head; nothing without ``truth=tags``.

    Example:
        >>> tag_problems(("truth=tags", "hair=bold"))
        ["tag 'hair=bold': unknown hair 'bold'; did you mean 'bald'?"]
    """
    stated = _described_by(tags) if TRUTH_BY_TAGS in tags else []
    problems = []
    for number, (name, value) in enumerate(stated):
        if name not in VALUES:
            problems.append(unknown("attribute", name, VALUES, f"tag '{name}={value}'"))
        elif value not in VALUES[name]:
            problems.append(unknown(name, value, VALUES[name], f"tag '{name}={value}'"))
        elif name in dict(stated[:number]):
            problems.append(f"tag '{name}={value}': got a second {name}; expected one tag for each attribute")
    return problems


def _described_by(tags: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return names and values of the tags that describe a head."""
    parted = [tag.partition("=") for tag in tags if not tag.startswith(("truth=", GEOMETRY_TAG))]
    return [(name, value) for name, _, value in parted]


def geometry_caption(prompt: str, tags: tuple[str, ...] = (), stated: str | None = None) -> str:
    """Return the caption of a prompt in the geometry track: what its list states, else its tag, else the prompt.

    A prompt in the words of the closed world loses its colours, which no textureless render can show.

    Args:
        prompt: any text.
        tags: of the prompt; ``geometry=…`` is the caption.
        stated: column ``geometry`` of the list.

    Example:
        >>> geometry_caption("a man with green skin")
        'a man'
    """
    tagged = [tag.removeprefix(GEOMETRY_TAG) for tag in tags if tag.startswith(GEOMETRY_TAG)]
    if stated or tagged:
        return stated or tagged[0]
    known = described(prompt, tags)
    return caption(known, colours=False) if known else prompt


def parse(prompt: str) -> Attributes | None:
    """Return the attributes that a prompt names.

    Args:
        prompt: any text.

    Returns:
        The attributes; those that the prompt does not name have their template value. None if the prompt names what the
        closed world does not know, contradicts itself, or has no noun such as ``man`` or ``girl``.

    Example:
        >>> parse("an elderly lady with a bun") == Attributes(age="old", sex="woman", hair="bun")
        True
        >>> parse("a purple monkey") is None
        True
    """
    if any((letter.isalnum() and not letter.isascii()) or letter.isdigit() for letter in {*prompt}):
        return None
    text = _plain(prompt)
    found: dict[str, str] = {}
    by_word = _by_first_word()
    possible = {entry[0]: entry[1:] for word in text.split() for entry in by_word.get(word, ())}
    for _, (phrase, meaning) in sorted(possible.items(), key=itemgetter(0)):
        if phrase not in text:
            continue
        text = text.replace(phrase, "  ", 1)
        if any(found.get(name, value) != value for name, value in meaning.items()):
            return None
        found |= meaning
    if set(text.split()) - _FILLER or "age" not in found:
        return None
    if "beard" in found:
        found.setdefault("beard_colour", found.get("hair_colour", Attributes.beard_colour))
    return Attributes(**found)


def _plain(text: str) -> str:
    """Return the words in lower case, without articles, with a space on both sides of each."""
    words = re.sub(r"[^a-z]+", " ", text.lower()).split()
    return " " + "  ".join(word for word in words if word not in _ARTICLES) + " "


@cache
def _vocabulary() -> tuple[tuple[str, dict[str, str]], ...]:
    """Return every phrase and its meaning, longest first."""
    known = {_plain(phrase): meaning for phrase, meaning in (*_wordings(), *_MORE.items())}
    return tuple(sorted(known.items(), key=lambda item: -len(item[0])))


@cache
def _by_first_word() -> dict[str, list[tuple[int, str, dict[str, str]]]]:
    """Return the vocabulary by each phrase's first word, with its rank: few of its phrases can be in a prompt."""
    found: dict[str, list[tuple[int, str, dict[str, str]]]] = {}
    for rank, (phrase, meaning) in enumerate(_vocabulary()):
        found.setdefault(phrase.split()[0], []).append((rank, phrase, meaning))
    return found


def _wordings() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every wording that `caption` can choose, and its meaning."""
    for (age, sex), options in NOUNS.items():
        yield from ((option, {"age": age, "sex": sex}) for option in options)
    for (name, value), options in (ADJECTIVES | DETAILS).items():
        yield from ((option, {name: value}) for option in options)
    for material, options in MATERIALS.items():
        yield from ((option, {"material": material}) for option in options)
    for skin in VALUES["skin"]:
        yield from ((option.format(skin=skin), {"skin": skin}) for option in SKIN)
    for part, styles in (("hair", HAIR), ("beard", BEARD)):
        for style, options in styles.items():
            for option in options:
                named = {} if option in HAIR["short"][:1] else {part: style}
                if named:
                    yield option.format(colour=""), named
                if "{colour}" in option:
                    yield from ((option.format(colour=c), named | {f"{part}_colour": c}) for c in HAIR_COLOURS)
