"""Errors a user can act on: each says what is wrong, where, what was got and what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TypeVar

Value = TypeVar("Value")


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
    """Collects the problems of several steps, so that one message says all of them.

    Attributes:
        lines: one for each problem so far.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def of(self, step: Callable[[], Value]) -> Value | None:
        """What a step returns; None, and its problems are collected, where it raises InputError."""
        try:
            return step()
        except InputError as error:
            self.add(error.problems)
            return None

    def add(self, lines: Iterable[str]) -> None:
        """Collect lines, each once."""
        self.lines += [line for line in dict.fromkeys(lines) if line not in self.lines]

    def check(self) -> None:
        """Raises InputError: there are problems."""
        if self.lines:
            raise InputError(self.lines)


def unknown(kind: str, name: str, known: Iterable[str], where: str) -> str:
    """One line for a name that is not known, with the nearest that is."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"expected one of: {', '.join(names)}"
    return f"{where}: unknown {kind} '{name}'; {hint}"
