"""Answer which cameras and lights cost an avatar more of its prompt than they cost the ground-truth head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.columns import column, where
from eval.diagnostics.files import FOLDER
from eval.plot_style import FAINT, colour_of, dodge
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.statements import NOT_MEASURED, average, compared, measured, without_failures
from eval.questions.verdicts import answers

QUESTION = "Under which cameras and lights does an avatar lose more of its prompt than the ground-truth head does?"
DIAGNOSTIC, REFERENCE = "robustness", "reference"
PICTURE = f"{FOLDER}/{DIAGNOSTIC}-conditions.jpg"
PICTURED = 2
"""Prompts whose pictures are shown."""


def answer(evidence: Evidence) -> Answer:
    """Compare the change of the margin from ``reference`` to each condition with the ground-truth head's.

    Statements are about the methods that optimise, by the experiment's first judge.
    """
    conditions, runs = _conditions(evidence), list(evidence.runs)
    ceiling = next((name for name, run in evidence.runs.items() if run.method.source == "oracle"), None)
    tested = [name for name, run in evidence.runs.items() if run.method.optimises]
    shown = [name for name in runs if not _scores(evidence, name, "margin", REFERENCE).empty]
    if not conditions or not shown:
        return Answer(QUESTION, f"The diagnostic '{DIAGNOSTIC}' is {NOT_MEASURED}.")
    statements = [_statement(evidence, name, ceiling, condition) for name in tested for condition in conditions]
    table = _table(evidence, shown, conditions)
    sides = [name for name in shown if name in (*tested, ceiling)]
    text = (
        "R@1 in the texture pool, and the change of the margin from the reference: the exported texture, "
        "unlit, by the protocol's camera from three sides."
    )
    judge = evidence.experiment.judges[0]
    caption = f"Change of the margin from the reference by judge {judge}; lines: 95 % intervals over prompts."
    return Answer(
        QUESTION,
        _sentences(statements, tested, ceiling, len(conditions)),
        tuple(statements),
        (AnswerTable("Cameras and lights", text, table),),
        {"robustness": (_figure(evidence, sides, conditions), caption)},
        _pictures(evidence, sides),
    )


def change(evidence: Evidence, method: str, measure: str, condition: str) -> pd.Series:
    """Return the change of a measure from ``reference`` to a condition, by (list, item, seed); not of failures."""
    there, reference = (_scores(evidence, method, measure, name) for name in (condition, REFERENCE))
    return without_failures(evidence, method, (there - reference).dropna())


def _scores(evidence: Evidence, method: str, measure: str, condition: str) -> pd.Series:
    judge = evidence.experiment.judges[0]
    return measured(evidence, DIAGNOSTIC, measure, method, condition=condition, judge=judge)


def _conditions(evidence: Evidence) -> list[str]:
    """Return the conditions besides the reference, in the order of the diagnostic."""
    if evidence.measures.empty:
        return []
    mine = where(evidence.measures, diagnostic=DIAGNOSTIC)
    return [name for name in dict.fromkeys(column(mine, "condition")) if name != REFERENCE]


def _statement(evidence: Evidence, method: str, ceiling: str | None, condition: str) -> Statement:
    text = f"{condition}: {method} loses more margin than the ground-truth head"
    if ceiling is None:
        return Statement(text, f"{NOT_MEASURED}: the ground-truth head")
    own, truths = (change(evidence, name, "margin", condition) for name in (method, ceiling))
    return compared(text, own, truths, (method, "ground truth"), decimals=3)


def _sentences(statements: Sequence[Statement], tested: Sequence[str], ceiling: str | None, conditions: int) -> str:
    """Return what was found, in words."""
    if not any(one.n for one in statements):
        missing = "a method that optimises" if not tested else "the ground-truth head" if ceiling is None else "either"
        return f"Losses cannot be compared: {missing} is {NOT_MEASURED}."
    verdicts = column(answers(statements), "verdict")
    held = [one for one, verdict in zip(statements, verdicts, strict=True) if verdict == "holds"]
    worse = sorted(held, key=lambda one: one.difference)
    parts = [
        f"Of {conditions} conditions, {len(worse)} cost {_names(tested)} more margin than the ground-truth head, and "
        f"{int((verdicts == 'refuted').sum())} less; of the others it is not shown (q < 0.05)."
    ]
    if worse:
        parts.append(f"The largest further loss: {worse[0].text.partition(':')[0]} ({worse[0].figure}).")
    return " ".join(parts)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def _table(evidence: Evidence, methods: Sequence[str], conditions: Sequence[str]) -> pd.DataFrame:
    """Return R@1 and the change of the margin: a line for each condition, two columns for each method."""
    rows = []
    for condition in (REFERENCE, *conditions):
        rates = {f"R@1 {name}": average(_scores(evidence, name, "r_at_1", condition)).value for name in methods}
        moved = {f"change {name}": average(change(evidence, name, "margin", condition)).value for name in methods}
        rows.append({"condition": condition, **rates, **moved})
    return pd.DataFrame(rows)


def _figure(evidence: Evidence, methods: Sequence[str], conditions: Sequence[str]) -> Figure:
    """Plot the change of the margin of each method, one line for each condition."""
    figure = Figure(figsize=(8.4, 1.4 + 0.36 * len(conditions)))
    axis: Axes = figure.subplots()
    for number, method in enumerate(methods):
        found = [average(change(evidence, method, "margin", condition)) for condition in conditions]
        low, value, high = (np.array([getattr(one, name) for one in found]) for name in ("low", "value", "high"))
        places = np.arange(len(conditions)) + dodge(number, len(methods))
        colour = colour_of(method, methods)
        axis.errorbar(
            value, places, xerr=(value - low, high - value), fmt="o", ms=4.5, lw=1.4, color=colour, label=method
        )
    axis.axvline(0, color=FAINT, lw=1.2, zorder=1)
    axis.set_yticks(range(len(conditions)), list(conditions))
    axis.set_ylim(len(conditions) - 0.45, -0.55)
    axis.set_xlabel("margin less that of the reference")
    figure.legend(loc="outside lower center", ncols=max(len(methods), 1), fontsize=9)
    return figure


def _pictures(evidence: Evidence, methods: Sequence[str]) -> dict[Path, str]:
    """Return the pictures of the first prompts' avatars, with captions."""
    units = list(dict.fromkeys(key[1:] for key in evidence.folders))
    found = {}
    for unit in units[:PICTURED]:
        for method in methods:
            path = evidence.folders.get((method, *unit), Path()) / PICTURE
            if path.is_file():
                found[path] = f"{unit[1]}, {method}"
    return found
