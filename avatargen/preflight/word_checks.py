"""Tell the user which words the shipped models have never read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

from avatargen.config.directions import isolated
from avatargen.config.errors import some_of
from avatargen.config.experiment import JudgeSettings, RunConfig
from avatargen.config.places import ROOT
from avatargen.config.prompts import negatives_of, pools_of, read_captions
from avatargen.headworld.pools import read_rivals_of
from avatargen.headworld.vocabulary import shipped_readers, unknown_words
from avatargen.method.sources import source_of
from avatargen.preflight.plan import Study

KNOW = "shipped models know the captions of the closed world alone (docs/closed-world.md#vocabulary)"


def word_notes(study: Study) -> list[str]:
    """Return one line for each list with prompts or competing captions in words that shipped models never read.

    Empty where no shipped model takes part: other models read free text.

    Args:
        study: what runs.
    """
    readers = shipped_readers(_models(study.runs, study.judges), ROOT)
    lines = []
    for name, items in study.lists.items() if readers else ():
        prompts = {item.item: item.prompt for item in items}
        others = dict.fromkeys(_competing(study.files[name], prompts))
        unread = {item: ", ".join(words) for item, text in prompts.items() if (words := unknown_words(text))}
        strange = [text for text in others if unknown_words(text)]
        parts = [f"{len(unread)} of {len(prompts)} prompts"] if unread else []
        parts += [f"{len(strange)} of {len(others)} competing captions"] if strange else []
        shown = [f"{item} ({isolated(words)})" for item, words in unread.items()] or [
            f"'{isolated(shorten(text, 60, placeholder=' …'))}' ({', '.join(unknown_words(text))})" for text in strange
        ]
        if parts:
            lines.append(
                f"{name}: {' and '.join(parts)} have words that {', '.join(readers)} never read: {some_of(shown)}"
            )
    return [*lines, *([KNOW] if lines else [])]


def prompt_note(run: RunConfig, prompt: str) -> str | None:
    """Return one line if a prompt has words that the shipped models of a run never read; None otherwise."""
    readers, words = shipped_readers(_models({run.method_name: run}, {}), ROOT), unknown_words(prompt)
    if not readers or not words:
        return None
    return f"{', '.join(readers)} never read: {', '.join(words)}; {KNOW}"


def _models(runs: Mapping[str, RunConfig], judges: Mapping[str, JudgeSettings]) -> dict[str, str]:
    """Return the models that read prompts, by their names in messages."""
    models = {f"prior '{run.prior_name}'": run.prior.path for run in runs.values() if source_of(run).uses_prior}
    models |= {f"guide '{run.clip_guide}'": run.clip.model for run in runs.values() if run.clip}
    return models | {f"judge '{name}'": judge.model for name, judge in judges.items()}


def _competing(file: Path, prompts: Mapping[str, str]) -> list[str]:
    """Return the captions beside a list that compete with prompts, which preflight has found readable."""
    if pools_of(file).is_file():
        return [text for (item, _), texts in read_rivals_of(file).items() if item in prompts for text in texts]
    return list(read_captions(negatives_of(file))) if negatives_of(file).is_file() else []
