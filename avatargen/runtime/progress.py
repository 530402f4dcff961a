"""What whoever watches the terminal sees: each avatar as it finishes, with counts, time and an estimate.

All drivers of a run share one board, a file of JSON lines: first what is expected, then one line for each
avatar made, and now and then one of how far a driver's unfinished batches are, of which its last one counts. Its first
one comes with its first step: the pace is measured from there on, without the time that networks took to load and
without what batches had done in earlier runs. Appending is atomic, so that drivers need not know of each other.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import Any

from avatargen.config.experiment import RunConfig

BOARD = "AVATARGEN_BOARD"
STEP_LINE_S = 20.0
_BAKE_WEIGHT = 5
_MASKED_WEIGHT = 2.0
"""Of a step of phase 2 with its share of the masks, beside one of phase 1: 2.1 on two cores (make bench)."""
_TELLING = 0.05
"""Share of the work that must be done before what is left is estimated."""
_LABEL = 34


@dataclass(frozen=True)
class Made:
    """An avatar that ended: what it is called, how (``ok`` or how it failed), and the seconds it took."""

    label: str
    status: str
    seconds: int | float


@dataclass(frozen=True)
class Running:
    """How far a batch is: its avatars, the steps that are done and that there are, and at which it began."""

    avatars: int
    done: int
    total: int
    begun: int = 0


def weight(run: RunConfig, begun: int = 0, done: int | None = None) -> float:
    """How long an avatar of this method takes from step `begun` to step `done`, in optimisation steps of phase 1.

    Without `done` to its end, baking included.
    """
    method = run.method
    end = method.steps if done is None else done
    slow = max(end - max(begun, method.phase1_steps), 0) if method.segmentation_weight else 0
    return end - begun + (_MASKED_WEIGHT - 1) * slow + (_BAKE_WEIGHT if done is None else 0)


class Board:
    """Counts of a run: how many avatars are expected and made, and how long the rest will take."""

    def __init__(self, path: Path, stream: TextIOBase | None = None):
        self.path = path
        self.stream = stream
        self._driver = secrets.token_hex(4)
        self._last_step_line = time.monotonic()
        self._has_begun = False

    @classmethod
    def create(cls, path: Path, expected: Iterable[float], stream: TextIOBase | None = None) -> Board:
        """A board for a new run.

        Args:
            path: its file; an old one is replaced.
            expected: the `weight` of each avatar that is to be made.
        """
        weights = [*expected]
        path.parent.mkdir(parents=True, exist_ok=True)
        first = {"avatars": len(weights), "weight": sum(weights), "started": time.time()}
        path.write_text(json.dumps(first) + "\n", encoding="utf-8")
        return cls(path, stream)

    @classmethod
    def shared(cls, otherwise: Path, expected: Iterable[float]) -> Board:
        """The board of this run of the workflow, or a new one where there is none (on another machine)."""
        path = Path(os.environ.get(BOARD, ""))
        return cls(path) if path.is_file() else cls.create(otherwise, expected)

    def finished(self, run: RunConfig, avatars: Sequence[Made], others: Sequence[Running] = (), begun: int = 0) -> None:
        """The avatars of a batch are there: count them all, then print a line for each.

        Args:
            others: this driver's batches that are still running.
            begun: the step at which these began.
        """
        self._append({"driver": self._driver, "running": _under_way(run, others)})
        made, *_ = self._state()
        for _ in avatars:
            self._append({"weight": weight(run, begun)})
        _, expected, left = self._state()
        width = len(str(expected))
        for number, avatar in enumerate(avatars, made + 1):
            verdict = "" if avatar.status == "ok" else f" · {avatar.status.replace('_', ' ').upper()}"
            rest = f" · {duration(left)} left" if left and number < expected else ""
            name = f"{run.method_name} · {shorten(avatar.label)}"
            self._print(f"[{number:>{width}}/{expected}] {name}  {duration(avatar.seconds)}{verdict}{rest}")

    def steps(self, run: RunConfig, batches: Sequence[Running]) -> None:
        """Steps of this driver's running batches, now and then."""
        batches = [batch for batch in batches if batch.total]
        if not self._has_begun and batches:
            self._has_begun = True
            self._append({"driver": self._driver, "running": _under_way(run, batches), "begins": time.time()})
        if time.monotonic() - self._last_step_line < STEP_LINE_S or not batches:
            return
        self._last_step_line = time.monotonic()
        self._append({"driver": self._driver, "running": _under_way(run, batches)})
        _, expected, left = self._state()
        least, most = min(batch.done for batch in batches), max(batch.done for batch in batches)
        at = f"{least}" if least == most else f"{least} to {most}"
        rest = f" · {duration(left)} left" if left else ""
        avatars = sum(batch.avatars for batch in batches)
        name = f"{run.method_name} · step {at} of {batches[0].total}"
        self._print(f"{'':{2 * len(str(expected)) + 3}} {name} · {avatars} avatars{rest}")

    def say(self, line: str) -> None:
        """Print a line of its own."""
        self._print(line)

    def _append(self, row: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _state(self) -> tuple[int, int, float]:
        """(avatars made, avatars expected, seconds left or 0 where it is too early to say)."""
        first, *rest = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        weights = [row["weight"] for row in rest if "weight" in row]
        running = {row["driver"]: row["running"] for row in rest if "driver" in row}
        done = sum(weights) + sum(running.values())
        begins = [row for row in rest if "begins" in row]
        made = done - sum(row["running"] for row in begins)
        elapsed = time.time() - (begins[0]["begins"] if begins else first["started"])
        left = max(first["weight"] - done, 0.0)
        is_early = made <= _TELLING * first["weight"]
        return len(weights), max(first["avatars"], len(weights)), 0.0 if is_early else elapsed / made * left

    def _print(self, line: str) -> None:
        print(line, file=self.stream or sys.stdout, flush=True)


class Tally:
    """How far a job is that goes through the avatars of a chunk: a line now and then, where it takes long.

    What is left is told from the second on: the first one waits for workers and networks too.
    """

    def __init__(self, name: str, expected: int, stream: TextIOBase | None = None):
        self._name, self._expected, self._done, self._stream = name, expected, 0, stream
        self._first = self._last_line = time.monotonic()

    def one(self) -> None:
        """One more is done."""
        self._done, now = self._done + 1, time.monotonic()
        if self._done == 1:
            self._first = now
        if now - self._last_line < STEP_LINE_S or self._done == self._expected:
            return
        self._last_line = now
        pace = (now - self._first) / (self._done - 1) if self._done > 1 else 0.0
        rest = f" · {duration(pace * (self._expected - self._done))} left" if pace else ""
        line = f"{self._name} · {self._done} of {self._expected} avatars{rest}"
        print(line, file=self._stream or sys.stdout, flush=True)


def _under_way(run: RunConfig, batches: Sequence[Running]) -> float:
    """The weight of what is done of running batches."""
    running = [batch for batch in batches if batch.total]
    return sum((batch.avatars * weight(run, batch.begun, max(batch.done, batch.begun)) for batch in running), 0.0)


def shorten(label: str, length: int = _LABEL) -> str:
    """A label of fixed width."""
    return f"{label[: length - 1]}…" if len(label) > length else f"{label:<{length}}"


def duration(seconds: int | float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
