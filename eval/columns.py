"""Typed access to tables.

pandas' annotations give every result that an argument of another type could have: ``table[name]`` is a column, a table
or a cell. These functions do what pandas does, and say what comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import pandas as pd

UNIT = ["list", "item", "seed"]
"""Columns that name an avatar of a method."""
PROMPT = ["list", "item"]
"""Columns that name its prompt."""


def column(table: pd.DataFrame, name: str) -> pd.Series:
    """Return a column.

    Example:
        >>> column(pd.DataFrame({"rank": [1, 3]}), "rank").tolist()
        [1, 3]
    """
    return cast(pd.Series, table[name])


def where(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the rows that have these values in the columns of these names.

    Example:
        >>> table = pd.DataFrame({"method": ["full", "oracle", "full"], "rank": [1, 2, 3]})
        >>> where(table, method="full")["rank"].tolist()
        [1, 3]
    """
    for name, value in values.items():
        table = cast(pd.DataFrame, table[table[name] == value])
    return table


def groups(table: pd.DataFrame, *names: str) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Iterate over the rows that agree in columns, in the order of their first rows.

    Yields:
        The values of these columns, and the rows.

    Example:
        >>> table = pd.DataFrame({"method": ["full", "oracle", "full"], "rank": [1, 2, 3]})
        >>> [(method, len(rows)) for (method,), rows in groups(table, "method")]
        [('full', 2), ('oracle', 1)]
    """
    return cast(Iterator[tuple[tuple[Any, ...], pd.DataFrame]], iter(table.groupby(list(names), sort=False)))


def means(table: pd.DataFrame, name: str, by: Sequence[str]) -> pd.Series:
    """Return the mean of a column for each group, in the order of the groups' first rows.

    Args:
        table: any.
        name: of the column.
        by: columns that the rows of a group agree in.

    Example:
        >>> table = pd.DataFrame({"item": ["b", "b", "a"], "rank": [1, 2, 3]})
        >>> means(table, "rank", by=["item"]).to_dict()
        {'b': 1.5, 'a': 3.0}
    """
    return cast(pd.Series, table.groupby(list(by), sort=False)[name].mean())


def numbers(values: pd.Series, errors: Literal["raise", "coerce"] = "raise") -> pd.Series:
    """Return a column as numbers; NaN for None.

    Args:
        values: numbers, or text that looks like numbers.
        errors: `coerce` makes NaN of other text.

    Raises:
        ValueError: there is other text, and `errors` is `raise`.

    Example:
        >>> numbers(pd.Series(["1.5", "?"]), errors="coerce").tolist()
        [1.5, nan]
    """
    return cast(pd.Series, pd.to_numeric(values, errors=errors))
