"""Prompts that a prior, or the CLIP that guides, did not read to the end: noticed while a batch is made.

Priors say so by a warning of `avatargen.priors.long_prompts`, which in a worker no log shows: results tell it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Noticed:
    """The readers of each prompt that was cut, less the words of a view at its end."""

    readers: dict[str, list[str]] = field(default_factory=dict)

    def of(self, prompt: str) -> list[str]:
        """Who did not read this prompt to its end."""
        from avatargen.priors.long_prompts import view_of  # imports torch, which a driver does without

        texts = (prompt, prompt.removesuffix(view_of(prompt)))
        return list(dict.fromkeys(reader for text in texts for reader in self.readers.get(text, [])))


@contextmanager
def notice_cuts() -> Iterator[Noticed]:
    """What `avatargen.priors.long_prompts` warns of inside the block, also of prompts that it has warned of before."""
    from avatargen.priors import long_prompts  # imports torch, which a driver does without

    noticed = Noticed()
    handler, logger = _Handler(noticed), logging.getLogger(long_prompts.__name__)
    long_prompts.warn_of_truncation.cache_clear()
    logger.addHandler(handler)
    try:
        yield noticed
    finally:
        logger.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, noticed: Noticed):
        super().__init__()
        self._noticed = noticed

    def emit(self, record: logging.LogRecord) -> None:
        reader, prompt = map(str, record.args)
        self._noticed.readers.setdefault(prompt, []).append(reader)
