"""Name the words of a text that the shipped models have never read.

Their text encoders learnt from the closed world's captions alone, half of them with the name of a view. Any other word
reaches them as a sequence of pieces without a meaning, even where a person takes it for a synonym.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from avatargen.config.places import ROOT
from avatargen.headworld.attributes import HAIR_COLOURS, VALUES
from avatargen.headworld.phrases import ADJECTIVES, BEARD, DETAILS, HAIR, MATERIALS, NOUNS, SKIN

WEIGHTS = "avatargen/weights"
"""Folder of the shipped models."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_JOINING = "a an with and"
_VIEWS = "front side back overhead left right close view 22 45 67 90 112 135 157"
"""Words of the views' names (`avatargen.priors.view_prompts`), which imports torch."""


def unknown_words(text: str) -> tuple[str, ...]:
    """Return the words of a text that no training caption of the shipped models can contain.

    Case and punctuation do not matter, as they do not to the models' tokenizers. A known word is no guarantee: the
    models know words in the phrases of the captions that they learnt from.

    Args:
        text: a prompt or caption.

    Returns:
        The words in lower case, in the order of the text, each once.

    Example:
        >>> unknown_words("A cheerful man with a Mohican and green skin")
        ('cheerful', 'mohican')
        >>> unknown_words("a smiling man with a pink mohawk, front view")
        ()
    """
    return tuple(dict.fromkeys(word for word in _words(text) if word not in vocabulary()))


@cache
def vocabulary() -> frozenset[str]:
    """Return every word of the training captions of the shipped models, in lower case."""
    return frozenset(word for text in _texts() for word in _words(text))


def shipped_readers(models: Mapping[str, str], root: Path = ROOT) -> list[str]:
    """Return the names of the models that ship with the project: those that read the vocabulary alone.

    Args:
        models: path or hub id of each model, by a name for messages.
        root: folder that relative paths start at.

    Example:
        >>> shipped_readers({"prior 'mini'": "avatargen/weights/prior", "judge 'b32'": "ViT-B-32"})
        ["prior 'mini'"]
    """
    weights = (root / WEIGHTS).resolve()
    return [name for name, path in models.items() if (root / path).resolve().is_relative_to(weights)]


def _texts() -> Iterator[str]:
    """Yield texts that together have every word of the training captions; see `phrases.caption`."""
    yield from (_JOINING, _VIEWS)
    for options in (NOUNS | ADJECTIVES | MATERIALS | DETAILS).values():
        yield from options
    for options in (HAIR | BEARD).values():
        yield from (option.format(colour=colour) for option in options for colour in HAIR_COLOURS)
    yield from (option.format(skin=skin) for option in SKIN for skin in VALUES["skin"][1:])


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case; a hyphen parts two words, an apostrophe does not."""
    return _WORD.findall(text.lower())
