"""Isolate text that runs from right to left, or that turns the text around it, in logs and pages.

Arabic, Hebrew and the marks of direction (Unicode Standard Annex 9) reorder what stands beside them: a mark that a
prompt does not end would turn the rest of a line.
"""

from __future__ import annotations

import unicodedata

FIRST_STRONG, POP = "\u2068", "\u2069"
"""Marks around an isolated text: its direction is that of its first letter, and what it opens ends with it."""
_OPENING = {"LRI", "RLI", "FSI"}
_TURNING = {*_OPENING, "PDI", "LRE", "RLE", "LRO", "RLO", "PDF", "R", "AL", "AN"}
_MARKS = {"\u200e", "\u200f", "\u061c"}


def isolated(text: str) -> str:
    """Return a text that leaves the direction of its surroundings alone; text without any direction stays as it is.

    Example:
        >>> ascii(isolated("a \u202eman")), isolated("a man")
        ("'\\\\u2068a \\\\u202eman\\\\u2069'", 'a man')
    """
    if text.isascii() or not any(unicodedata.bidirectional(letter) in _TURNING or letter in _MARKS for letter in text):
        return text
    kept, depth = [], 0
    for letter in text:
        kind = unicodedata.bidirectional(letter)
        depth += kind in _OPENING
        if kind == "PDI":
            if not depth:  # it would end the isolation
                continue
            depth -= 1
        kept.append(letter)
    return f"{FIRST_STRONG}{''.join(kept)}{POP * (depth + 1)}"
