"""Statements: values from tables, comparisons prompt by prompt, what is not measured, corrections and verdicts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eval.columns import UNIT
from eval.questions.base import Statement
from eval.questions.statements import as_text, average, compared, seldom_lost, values
from eval.questions.verdicts import answers

NAMES = ("with", "without")


def series(*numbers: float, seeds: int = 1) -> pd.Series:
    """Values of prompts p0, p1, …, `seeds` each."""
    index = [("a", f"p{i // seeds}", i % seeds) for i in range(len(numbers))]
    return pd.Series(list(numbers), index=pd.MultiIndex.from_tuples(index, names=UNIT), dtype=float)


def test_rows_of_an_avatar_are_averaged():
    table = pd.DataFrame(
        {"list": "a", "item": ["x", "x", "y"], "seed": 0, "condition": ["up", "down", "up"], "value": [1.0, 3.0, 5.0]}
    )
    assert values(table, "value").tolist() == [2.0, 5.0]
    assert values(table, "value", condition="up").tolist() == [1.0, 5.0]


def test_missing_values_are_left_out():
    table = pd.DataFrame({"list": "a", "item": ["x", "y"], "seed": 0, "value": [np.nan, 5.0]})
    assert values(table, "value").index.tolist() == [("a", "y", 0)]


@pytest.mark.parametrize("table", [pd.DataFrame(), pd.DataFrame({"list": ["a"], "item": ["x"], "seed": [0]})])
def test_a_table_without_the_column_gives_no_values(table):
    assert len(values(table, "value", method="full")) == 0


def test_seeds_count_as_one_prompt():
    """Two prompts of two seeds: differences -1, -3 and -5, -7 average to -2 and -6."""
    found = compared("less", series(0, 0, 0, 0, seeds=2), series(1, 3, 5, 7, seeds=2), NAMES)
    assert (found.n, found.n_differ, found.difference) == (2, 2, -4.0)
    assert (found.p, found.least_p) == (0.5, 0.5)


def test_only_common_avatars_count():
    first, second = series(1, 2, 3), series(2, 3, 4, 100)
    found = compared("less", first, second, NAMES, "mm", decimals=1)
    assert found.n == 3
    assert found.figure == "with 2.0 mm, without 3.0 mm (-1.0, -1.0 to -1.0)"


def test_a_series_is_compared_with_a_number():
    found = compared("above a half", series(0.6, 0.7, 0.8, 0.9, 0.9, 0.9), 0.5, ("share", "half"), sign=1)
    assert found.difference == pytest.approx(0.3)
    assert found.p == 2 / 2**6


def test_what_is_missing_is_named():
    assert compared("less", series(), series(1), NAMES).figure == "not measured: with"
    assert compared("less", series(), series(), NAMES).figure == "not measured: with and without"
    shifted = series(1)
    shifted.index = pd.MultiIndex.from_tuples([("b", "p0", 0)], names=UNIT)
    assert "share no prompt" in compared("less", series(1), shifted, NAMES).figure


def test_an_allowance_moves_the_bound():
    """First is lower by 0.01 everywhere; allowed are 0.05, so it lies 0.04 above the bound."""
    first, second = series(*[0.49] * 6), series(*[0.50] * 6)
    found = compared("not lower", first, second, NAMES, sign=1, allowed=0.05)
    assert found.difference == pytest.approx(0.04)
    assert "allowed: -0.05" in found.figure
    assert answers([found])["verdict"].item() == "holds"
    assert answers([compared("not lower", first, second, NAMES, sign=1)])["verdict"].item() == "refuted"


@pytest.mark.parametrize(
    ("prompts", "lost", "verdict", "p"),
    [
        (12, 0, "not shown", 1.0),
        (12, 4, "refuted", 0.0045),
        (90, 0, "holds", 2 * 0.95**90),
        (90, 4, "not shown", 1.0),
        (90, 20, "refuted", 0.0),
    ],
)
def test_rates_that_agree_show_what_their_number_can(prompts, lost, verdict, p):
    """Of 12 prompts that all agree, 5 % lose their hit with a probability of 0.95^12 = 0.54."""
    before, after = series(*[1.0] * prompts), series(*[0.0] * lost + [1.0] * (prompts - lost))
    found = seldom_lost("not lower", after, before, NAMES, 0.05)
    assert f"lower for {lost} of {prompts} prompts" in found.figure and found.n_differ == lost
    assert found.difference == pytest.approx(0.05 - lost / prompts)
    assert found.p == pytest.approx(p, abs=0.001)
    assert answers([found])["verdict"].item() == verdict
    assert seldom_lost("not lower", series(), before, NAMES, 0.05).figure == "not measured: with"


def test_statements_of_an_answer_are_corrected_together():
    """p = 0.03 alone holds; with three rows of p = 1 beside it, q is 0.12."""
    tested = Statement("a", "", 6, 6, -1.0, -2.0, -0.5, p=2 / 2**6, least_p=2 / 2**6)
    others = [Statement(name, "", 6, 6, 0.1, -1, 1, p=1.0, least_p=2 / 2**6) for name in "bcd"]
    assert answers([tested])["verdict"].tolist() == ["holds"]
    table = answers([tested, *others])
    assert table["q"].tolist() == [0.125, 1.0, 1.0, 1.0]
    assert table["verdict"].tolist() == ["not shown"] * 4


def test_too_few_prompts_that_differ_are_untestable():
    table = answers([compared("less", series(1, 1, 1), series(2, 2, 2), NAMES)])
    assert table["p"].item() == 0.25
    assert table["verdict"].item() == "untestable"


def test_unmeasured_statements_do_not_weaken_others():
    """A row without a p-value takes no part in the correction."""
    tested = Statement("a", "", 6, 6, 1.0, 0.5, 2.0, p=2 / 2**6, least_p=2 / 2**6, sign=1)
    table = answers([tested, Statement("b", "not measured")])
    assert table["q"].iloc[0] == tested.p
    assert table["verdict"].tolist() == ["holds", "untestable"]


def test_no_statements_give_an_empty_table():
    assert answers([]).empty


def test_averages_are_over_prompts():
    assert average(series(1, 3, 4, 4, seeds=2)).value == 3.0
    assert as_text(average(series())) == "not measured"
