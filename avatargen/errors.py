"""Errors a user can act on: each says what is wrong, where, what was got and what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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


def unknown(kind: str, name: str, known: Iterable[str], where: str) -> str:
    """One line for a name that is not known, with the nearest that is."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"expected one of: {', '.join(names)}"
    return f"{where}: unknown {kind} '{name}'; {hint}"
