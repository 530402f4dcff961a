"""Prompts longer than a text encoder reads: truncated before the words of the view."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from avatargen.priors.view_prompts import ALL_NAMES


def truncate_to_fit(text: str, fits: Callable[[str], bool]) -> str:
    """Truncate a prompt to as many of its first words as fit together with its view.

    Tokenizers truncate at the end, where the view is. If not even the first word fits, as many of its letters as fit
    are kept.

    Args:
        text: a prompt, with or without a view; see `avatargen.priors.view_prompts.with_view`.
        fits: returns True for a text that the encoder reads to its end.

    Returns:
        `text` itself if it fits.

    Example:
        >>> truncate_to_fit("a man with a beard, side view", fits=lambda text: len(text) <= 24)
        'a man with a, side view'
    """
    if fits(text):
        return text
    view = view_of(text)
    prompt = text.removesuffix(view)
    length = bisect_left(range(1, len(prompt)), True, key=lambda n: not fits(prompt[:n] + view))
    kept = prompt[:length]
    if not prompt[length].isspace():
        kept = kept.rpartition(" ")[0] or kept
    return kept.rstrip(" ,;") + view


def exceeds(tokenizer: Any, prompts: list[str]) -> list[bool]:
    """Return for each prompt whether it has more tokens than its text encoder reads.

    Args:
        tokenizer: one of transformers'; `model_max_length` counts start and end tokens.
        prompts: any texts.
    """
    return [len(tokenizer(prompt).input_ids) > tokenizer.model_max_length for prompt in prompts]


def view_of(text: str) -> str:
    """Return the view at the end of a text, with its comma; empty if there is none.

    Example:
        >>> view_of("a man, side view"), view_of("a man")
        (', side view', '')
    """
    return next((f", {name}" for name in ALL_NAMES if text.endswith(f", {name}")), "")
