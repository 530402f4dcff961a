"""Find the texts of a report that have words which the shipped models have never read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from avatargen.config.settings import PriorSettings
from avatargen.headworld.vocabulary import shipped_readers, unknown_words
from avatargen.io.manifest import Row


class Unread(NamedTuple):
    """Texts with words that the shipped models have never read.

    Attributes:
        readers: the shipped models of the experiment; other models read free text.
        prompts: such prompts, with their words.
        total: number of prompts.
        captions: such captions of the pools, prompts left out.
        total_captions: number of captions of the pools, prompts left out.
    """

    readers: list[str]
    prompts: dict[str, str]
    total: int
    captions: list[str]
    total_captions: int


def unread_texts(
    rows: Sequence[Row],
    protocols: Iterable[Mapping[str, Any]],
    priors: Mapping[str, PriorSettings],
    judges: Mapping[str, str],
) -> Unread:
    """Return the prompts and captions of an experiment with words that its shipped models have never read.

    Args:
        rows: of all manifests.
        protocols: spelt out, as in ``protocols.json``.
        priors: settings of each prior.
        judges: the model of each judge.
    """
    used = {row.prior for row in rows}
    models = {f"prior '{name}'": prior.path for name, prior in priors.items() if name in used}
    models |= {f"judge '{name}'": model for name, model in judges.items()}
    readers = shipped_readers(models)
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    others = {text for facts in protocols for text in facts["captions"]} - {*prompts}
    unread = {text: ", ".join(words) for text in prompts if readers and (words := unknown_words(text))}
    captions = sorted(text for text in others if readers and unknown_words(text))
    return Unread(readers, unread, len(prompts), captions, len(others))
