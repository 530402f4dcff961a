"""The interface of questions: what an experiment asks, and how its tables answer.

``question: saturation`` in an experiment adds a section to its report; names stand in ``QUESTIONS``
(:mod:`avatargen.config.plugins`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd
from matplotlib.figure import Figure

from avatargen.config.experiment import Experiment, RunConfig


class Statement(NamedTuple):
    """A statement that answers part of a question, and what was measured of it.

    Attributes:
        text: the statement, such as "offsets bring extreme heads closer to the ground truth".
        figure: what was measured, for people: "5.2 mm with offsets, 6.9 mm without (-1.7, -2.4 to -1.1)".
        n, n_differ, difference, low, high, p, least_p: of the test, as in :class:`eval.paired.Paired`; NaN where the
            statement is one of figures alone.
        sign: the sign of `difference` that the statement expects.
    """

    text: str
    figure: str
    n: int = 0
    n_differ: int = 0
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    least_p: float = float("nan")
    sign: int = -1


class AnswerTable(NamedTuple):
    """A table of an answer: title, one or two sentences, and the numbers."""

    title: str
    text: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Answer:
    """A section of the report.

    Attributes:
        question: in one line.
        answer: in a few sentences, made from the figures.
        statements: those that were tested; their q-values are corrected together.
        tables: beside them.
        plots: by name, with a caption each.
        pictures: files of pictures, with a caption each.
    """

    question: str
    answer: str
    statements: tuple[Statement, ...] = ()
    tables: tuple[AnswerTable, ...] = ()
    plots: Mapping[str, tuple[Figure, str]] = field(default_factory=dict)
    pictures: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """What a question is answered from.

    Attributes:
        experiment: its configuration.
        runs: each method, resolved, by its name.
        folders: of avatars that were made, by (method, list, item, seed).
        records, truths, diagnoses: one line for each avatar (and judge and track), see :mod:`eval.tabulate`.
        costs: one line for each avatar: `seconds` and `peak_memory_mb`.
        measures: one line for each avatar, diagnostic, condition and measure; judges' scores of conditions too.
    """

    experiment: Experiment
    runs: Mapping[str, RunConfig]
    folders: Mapping[tuple[str, str, str, int], Path]
    records: pd.DataFrame
    truths: pd.DataFrame
    diagnoses: pd.DataFrame
    costs: pd.DataFrame
    measures: pd.DataFrame


class Question(Protocol):
    """A function that answers a question."""

    def __call__(self, evidence: Evidence) -> Answer:
        """Return the answer."""
        ...
