"""What whoever watches the terminal sees: each avatar as it finishes, with counts, time and an estimate.

All drivers of a run share one board, a file of JSON lines: first what is expected, then one line for each
avatar made. Appending is atomic, so that drivers need not know of each other.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from io import TextIOBase
from pathlib import Path

from avatargen.config import RunConfig

BOARD = "AVATARGEN_BOARD"
STEP_LINE_S = 20.0
_BAKE_WEIGHT = 5
_TELLING = 0.05
"""Share of the work that must be done before what is left is estimated: loading models is no measure of it."""
_LABEL = 34


def weight(run: RunConfig) -> float:
    """How long an avatar of this method takes, in optimisation steps."""
    return float(run.method.steps + _BAKE_WEIGHT)


class Board:
    """Counts of a run: how many avatars are expected and made, and how long the rest will take."""

    def __init__(self, path: Path, stream: TextIOBase | None = None):
        self.path = path
        self.stream = stream
        self._last_step_line = time.monotonic()

    @classmethod
    def create(cls, path: Path, expected: Iterable[RunConfig], stream: TextIOBase | None = None) -> Board:
        """A board for a new run.

        Args:
            path: its file; an old one is replaced.
            expected: the method of each avatar that is to be made.
        """
        weights = [weight(run) for run in expected]
        path.parent.mkdir(parents=True, exist_ok=True)
        first = {"avatars": len(weights), "weight": sum(weights), "started": time.time()}
        path.write_text(json.dumps(first) + "\n", encoding="utf-8")
        return cls(path, stream)

    @classmethod
    def shared(cls, otherwise: Path, expected: Iterable[RunConfig]) -> Board:
        """The board of this run of the workflow, or a new one where there is none (on another machine)."""
        path = Path(os.environ.get(BOARD, ""))
        return cls(path) if path.is_file() else cls.create(otherwise, expected)

    def finished(self, run: RunConfig, label: str, status: str, seconds: int | float) -> None:
        """An avatar is there: count it and print its line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"weight": weight(run)}) + "\n")
        made, avatars, left = self._state(0.0)
        width = len(str(avatars))
        verdict = "" if status == "ok" else f" · {status.replace('_', ' ').upper()}"
        rest = f" · {duration(left)} left" if left and made < avatars else ""
        name = f"{run.method_name} · {shorten(label)}"
        self._print(f"[{made:>{width}}/{avatars}] {name}  {duration(seconds)}{verdict}{rest}")

    def step(self, run: RunConfig, batch: int, done: int, total: int) -> None:
        """Steps of a running batch, now and then."""
        if time.monotonic() - self._last_step_line < STEP_LINE_S or not total:
            return
        self._last_step_line = time.monotonic()
        _, avatars, left = self._state(batch * weight(run) * done / total)
        width = 2 * len(str(avatars)) + 3
        rest = f" · {duration(left)} left" if left else ""
        self._print(f"{'':{width}} {run.method_name} · step {done}/{total} of {batch} avatars{rest}")

    def say(self, line: str) -> None:
        """Print a line of its own."""
        self._print(line)

    def _state(self, running: float) -> tuple[int, int, float]:
        """(avatars made, avatars expected, seconds left or 0 where it is too early to say)."""
        first, *rest = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        done = sum(row["weight"] for row in rest) + running
        expected = max(first["avatars"], len(rest))
        elapsed = time.time() - first["started"]
        left = max(first["weight"] - done, 0.0)
        return len(rest), expected, elapsed / done * left if done > _TELLING * first["weight"] else 0.0

    def _print(self, line: str) -> None:
        print(line, file=self.stream or sys.stdout, flush=True)


def shorten(label: str, length: int = _LABEL) -> str:
    """A label of fixed width."""
    return f"{label[: length - 1]}…" if len(label) > length else f"{label:<{length}}"


def duration(seconds: int | float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
