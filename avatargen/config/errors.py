"""Errors that a user can act on: each line says where, what was got, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TypeVar

Value = TypeVar("Value")
NAMED = 3
"""How many items a line names of those that share a problem."""


class InputError(ValueError):
    """Something the user gave is wrong. Carries every problem found, not only the first.

    Attributes:
        problems: one line each.
    """

    def __init__(self, problems: Iterable[str]):
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        super().__init__(f"{head} with the input:\n" + "\n".join(f"  - {line}" for line in self.problems))

    def __reduce__(self):
        return type(self), (self.problems,)


class Problems:
    """Collect the problems of several steps, so that one message reports all of them.

    Attributes:
        lines: one per problem so far.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def of(self, step: Callable[[], Value]) -> Value | None:
        """Return what a step returns; where it raises InputError, collect its problems and return None."""
        try:
            return step()
        except InputError as error:
            self.add(error.problems)
            return None

    def add(self, lines: Iterable[str]) -> None:
        """Collect lines, each once."""
        self.lines += [line for line in dict.fromkeys(lines) if line not in self.lines]

    def checked(self, value: Value | None) -> Value:
        """Return the value of a step that `of` ran.

        Raises:
            InputError: there are problems, of this step or of others.
        """
        if value is None or self.lines:
            raise InputError(self.lines)
        return value

    def check(self) -> None:
        """Raise if there are problems.

        Raises:
            InputError: with all of them.
        """
        if self.lines:
            raise InputError(self.lines)


def unknown(kind: str, name: str, known: Iterable[str], where: str) -> str:
    """Return one line for a name that is not known, with the nearest that is.

    Example:
        >>> unknown("method", "ful", ["full", "template"], "study: methods")
        "study: methods: unknown method 'ful'; did you mean 'full'?"
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"expected one of: {', '.join(names)}"
    return f"{where}: unknown {kind} '{name}'; {hint}"


def some_of(items: Sequence[str]) -> str:
    """Return the first few of many items as text.

    Example:
        >>> some_of(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return ", ".join(items[:NAMED]) + more
