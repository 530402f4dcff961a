"""Prompts longer than a text encoder reads: cut before the words of the view, and said once."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable
from functools import cache

from avatargen.priors.view_prompts import ALL_NAMES

_log = logging.getLogger(__name__)


def truncate_to_fit(text: str, fits: Callable[[str], bool], reader: str) -> str:
    """A prompt with or without a view: itself if it fits, else as many of its first words as fit with the view.

    Tokenizers cut at the end, where the view is. Of a first word that does not fit alone, as many letters.

    Args:
        text: see `avatargen.priors.view_prompts.with_view`.
        fits: whether the reader reads all of a text.
        reader: what reads it, for the warning.
    """
    if fits(text):
        return text
    view = view_of(text)
    prompt = text.removesuffix(view)
    warn_of_truncation(prompt, reader)
    length = bisect_left(range(1, len(prompt)), True, key=lambda n: not fits(prompt[:n] + view))
    kept = prompt[:length]
    if not prompt[length].isspace():
        kept = kept.rpartition(" ")[0] or kept
    return kept.rstrip(" ,;") + view


def view_of(text: str) -> str:
    """The words of a view at the end of a text, with their comma; empty where there are none."""
    return next((f", {name}" for name in ALL_NAMES if text.endswith(f", {name}")), "")


@cache
def warn_of_truncation(prompt: str, reader: str) -> None:
    """Log, once for each prompt and reader, that the prompt is not read to its end."""
    _log.warning("%s: the end of '%s' is left out; expected a prompt that its text encoder holds", reader, prompt)
