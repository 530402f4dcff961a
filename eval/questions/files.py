"""The files of an answer: ``answers.csv``, further tables, plots, and ``answer.json``, which says what there is.

The report reads them, so that it needs not answer the question again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd

from avatargen.config.plugins import QUESTIONS, load_class
from avatargen.io.atomic import read_json, write_json
from eval.plot_style import STYLE, save_figure
from eval.questions.base import Answer, Evidence, Question
from eval.questions.verdicts import ANSWERS, answers
from eval.tables import remove_table, write_table

FACTS = "answer.json"
PREFIX = "answer_"
"""Beginning of the names of an answer's tables and plots."""


def ask(question: str, evidence: Evidence) -> Answer:
    """Return the answer to a question, with plots in the project's style.

    Args:
        question: a name in :data:`avatargen.config.plugins.QUESTIONS`.
        evidence: of the experiment.

    Raises:
        InputError: there is no such question.
    """
    answer: Question = load_class("question", question, QUESTIONS)
    with mpl.rc_context(STYLE):
        return answer(evidence)


def write_answer(answer: Answer, tables: Path, plots: Path) -> pd.DataFrame:
    """Write the files of an answer, and return the table of its statements.

    Files of an earlier answer are removed.

    Args:
        answer: to write.
        tables, plots: folders of the experiment.

    Raises:
        OSError: the disk is full or a folder cannot be written.
    """
    _remove_former(tables, plots)
    table = answers(answer.statements)
    write_table(table, tables, ANSWERS)
    named = {_file_name(one.title): one for one in answer.tables}
    for name, one in named.items():
        write_table(one.table, tables, name)
    with mpl.rc_context(STYLE):
        for name, (figure, _) in answer.plots.items():
            save_figure(figure, plots, PREFIX + name)
    facts: dict[str, Any] = {
        "question": answer.question,
        "answer": answer.answer,
        "tables": [{"name": name, "title": one.title, "text": one.text} for name, one in named.items()],
        "plots": [{"name": PREFIX + name, "text": text} for name, (_, text) in answer.plots.items()],
        "pictures": [{"path": str(path), "text": text} for path, text in answer.pictures.items()],
    }
    write_json(tables / FACTS, facts)  # last
    return table


def read_facts(tables: Path) -> Mapping[str, Any]:
    """Return what ``answer.json`` says.

    Raises:
        FileNotFoundError: the question was not answered yet.
    """
    return json.loads((tables / FACTS).read_text(encoding="utf-8"))


def _remove_former(tables: Path, plots: Path) -> None:
    facts = read_json(tables / FACTS)
    for one in facts.get("tables", ()):
        remove_table(tables, one["name"])
    for one in facts.get("plots", ()):
        for kind in ("svg", "png"):
            (plots / f"{one['name']}.{kind}").unlink(missing_ok=True)
    (tables / FACTS).unlink(missing_ok=True)


def _file_name(title: str) -> str:
    """Return the file name of a table.

    Example:
        >>> _file_name("Seconds and memory")
        'answer_seconds_and_memory'
    """
    return PREFIX + re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
