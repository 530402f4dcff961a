"""Correct the statements of an answer together, and give each its verdict.

All statements of an answer are one family (Benjamini-Hochberg). A verdict follows the rules of :mod:`eval.claims`; a
statement of which nothing was measured is untestable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eval.claims import verdict_of
from eval.questions.base import Statement
from eval.statistics import FLOOR, benjamini_hochberg
from eval.tables import P_AT_FLOOR

ANSWERS = "answers"
"""Name of the table."""
COLUMNS = ("statement", "figure", "n", "n_differ", "difference", "low", "high", "p", "least_p", "q", "verdict")
"""In order; a mark of p-values at their floor follows, see :data:`eval.tables.MARKS`."""


def answers(statements: Sequence[Statement]) -> pd.DataFrame:
    """Return a row for each statement, with its q-value and verdict: the table ``answers.csv``.

    Example:
        >>> tested = Statement("a is less", "1 mm, 2 mm", 8, 8, -1.0, -2.0, -0.5, p=0.0078125, least_p=0.0078125)
        >>> answers([tested, Statement("b is less", "not measured")])["verdict"].tolist()
        ['holds', 'untestable']
    """
    p, least = (np.array([getattr(one, name) for one in statements], np.float64) for name in ("p", "least_p"))
    q, least_q = benjamini_hochberg(p), benjamini_hochberg(least)
    rows = [
        {**_facts(one), "q": corrected, "verdict": verdict_of(one.sign * one.difference > 0, corrected, bound)}
        for one, corrected, bound in zip(statements, q.tolist(), least_q.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, P_AT_FLOOR])


def verdicts_in_words(statements: Sequence[Statement]) -> str:
    """Return which statements hold and which are refuted, and how many are neither, in a sentence or two.

    Example:
        >>> tested = Statement("a is less", "1 mm, 2 mm", 8, 8, -1.0, -2.0, -0.5, p=0.0078125, least_p=0.0078125)
        >>> verdicts_in_words([tested, Statement("b is less", "not measured")])
        'Holds: a is less. Of the other 1 it is not shown, or nothing can show it.'
    """
    named = zip([one.text for one in statements], answers(statements)["verdict"], strict=True)
    found: dict[str, list[str]] = {"holds": [], "refuted": []}
    for text, verdict in named:
        found.get(verdict, []).append(text)
    parts = [f"{verdict.capitalize()}: {'; '.join(texts)}." for verdict, texts in found.items() if texts]
    others = len(statements) - sum(map(len, found.values()))
    parts += [f"Of the other {others} it is not shown, or nothing can show it."] * bool(others and parts)
    return " ".join(parts or ["No statement is shown to hold or to be wrong."])


def _facts(one: Statement) -> dict[str, object]:
    facts = {name: value for name, value in one._asdict().items() if name not in ("text", "sign")}
    return {"statement": one.text, **facts, P_AT_FLOOR: one.p == FLOOR}
