"""The report's section on the question of an experiment: its answer, the statements with their verdicts, figures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from eval.questions.files import read_facts
from eval.questions.verdicts import ANSWERS
from eval.tables import heading, numeric_columns, read_table, rounded
from eval.thumbnails import file_uri, picture_uri


class StatementLine(NamedTuple):
    """A statement as text."""

    statement: str
    figure: str
    n: str
    n_differ: str
    p: str
    q: str
    verdict: str


class AnswerGrid(NamedTuple):
    """A table as text; `right` names the columns to align to the right."""

    name: str
    title: str
    text: str
    columns: list[tuple[str, str]]
    right: list[str]
    lines: list[dict[str, str]]


class Figure(NamedTuple):
    """A plot or a picture as a data URI, and its caption."""

    uri: str
    text: str


class AnswerSection(NamedTuple):
    """What the section shows; see :class:`eval.questions.base.Answer`."""

    question: str
    answer: str
    statements: list[StatementLine]
    tables: list[AnswerGrid]
    plots: list[Figure]
    pictures: list[Figure]


def answer_section(question: str | None, root: Path, tables: Path, plots: Path) -> AnswerSection | None:
    """Return what the section shows; None where the experiment asks no question.

    Args:
        question: of the experiment.
        root: what the paths of pictures are relative to.
        tables, plots: folders of the experiment.

    Raises:
        FileNotFoundError: the question was not answered yet.
    """
    if question is None:
        return None
    facts = read_facts(tables)
    pictures = [Figure(uri, one["text"]) for one in facts["pictures"] if (uri := picture_uri(root / one["path"]))]
    return AnswerSection(
        facts["question"],
        facts["answer"],
        _statements(read_table(tables, ANSWERS)),
        [_grid(tables, **one) for one in facts["tables"]],
        [Figure(file_uri(plots / f"{one['name']}.svg", "image/svg+xml"), one["text"]) for one in facts["plots"]],
        pictures,
    )


def _statements(table: pd.DataFrame) -> list[StatementLine]:
    lines = rounded(table).to_dict("records")
    return [StatementLine(**{name: str(line[name]) for name in StatementLine._fields}) for line in lines]


def _grid(tables: Path, name: str, title: str, text: str) -> AnswerGrid:
    table = read_table(tables, name, joined=False)
    lines = rounded(table)
    columns = [(column, heading(column)) for column in lines.columns]
    return AnswerGrid(name, title, text, columns, numeric_columns(table), lines.to_dict("records"))
