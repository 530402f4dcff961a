"""Print progress to the terminal: a line for each stage and method, with counts, its time and the time left.

Avatars and steps between these lines overwrite each other on a terminal, and are lines of their own where the run is
verbose or one of them is a failure. In a file, one of them appears every `SILENCE_S`.

All drivers of a run share one board, a file of JSON lines: first the expected work, then a line for each avatar made,
and from time to time a line with the progress of a driver's unfinished batches, of which its last one counts. The first
such line comes with the driver's first step. The pace is measured from there: without the time that networks take to
load, and without the steps of earlier runs. Appending is atomic, so drivers need not know of each other.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import TextIOBase
from pathlib import Path
from typing import Any

from avatargen.config.directions import isolated
from avatargen.config.experiment import RunConfig

BOARD = "AVATARGEN_BOARD"
VERBOSE = "AVATARGEN_VERBOSE"
"""Variable that is set where a run is verbose."""
STEP_LINE_S = 20.0
SILENCE_S = 300.0
"""Longest time without a line in a file, in seconds."""
_BAKE_WEIGHT, _REFINE_WEIGHT = 5, 6
"""Time of the baking, and of a step of the finish, in steps of phase 1."""
_MASKED_WEIGHT = 2.0
"""Time of a step of phase 2, with its share of the masks, in steps of phase 1: 2.1 on two cores (make bench)."""
_MIN_SHARE = 0.05
"""Share of the work that must be done before the time left is estimated."""
_LABEL = 34


@dataclass(frozen=True)
class Made:
    """An avatar that has ended: its prompt, its status, and the seconds it took."""

    label: str
    status: str
    seconds: int | float


@dataclass(frozen=True)
class Running:
    """A running batch: number of avatars, steps done, steps in all, and the step it began at."""

    avatars: int
    done: int
    total: int
    begun: int = 0


def weight(run: RunConfig, begun: int = 0, done: int | None = None) -> float:
    """Return the time of an avatar from step `begun` to step `done`, in units of one step of phase 1.

    Args:
        run: the method.
        begun: first step that is not done yet.
        done: last step, those of the finish included; None is the avatar's end, with its baking.
    """
    method = run.method
    until = method.steps + run.refine_steps if done is None else done
    end = min(until, method.steps)
    last = min(end, method.phase1_steps + method.phase2_steps)
    slow = max(last - max(begun, method.phase1_steps), 0) if method.segmentation_weight else 0
    finish = _REFINE_WEIGHT * (until - end) + (_BAKE_WEIGHT if done is None else 0)
    return end - begun + (_MASKED_WEIGHT - 1) * slow + finish


@dataclass
class _Seen:
    """What the lines of a board add up to.

    Attributes:
        avatars, expected: number and weight of the avatars that the run makes.
        made, weight: number and weight of those that have ended.
        running: weight of the unfinished batches of each driver.
        before: weight of what earlier runs had done.
        begins: time of the first step, or else of the start, in seconds of the clock.
        has_begun: a driver has taken its first step.
    """

    avatars: int = 0
    expected: float = 0.0
    made: int = 0
    weight: float = 0.0
    running: dict[str, float] = field(default_factory=dict)
    before: float = 0.0
    begins: float = 0.0
    has_begun: bool = False

    def add(self, row: dict[str, Any]) -> None:
        """Add a line."""
        if "avatars" in row:
            self.avatars, self.expected, self.begins = row["avatars"], row["weight"], row["started"]
        elif "weight" in row:
            self.made, self.weight = self.made + 1, self.weight + row["weight"]
        if "driver" in row:
            self.running[row["driver"]] = row["running"]
        if "begins" in row:
            self.before += row["running"]
            self.begins = self.begins if self.has_begun else row["begins"]
            self.has_begun = True


class Terminal:
    """Prints lines, and passing lines that tell how a stage goes on.

    Args:
        stream: where to print all of both; None is stdout, on which passing lines pass.
    """

    def __init__(self, stream: TextIOBase | None = None):
        self._stream, self._last = stream, time.monotonic()

    def line(self, text: str) -> None:
        """Print a line."""
        self._last = time.monotonic()
        self._write(f"{text}\n")

    def passing(self, text: str) -> None:
        """Print a line that the next one may overwrite."""
        if self._stream or os.environ.get(VERBOSE) or time.monotonic() - self._last > SILENCE_S:
            self.line(text)
        elif sys.stdout.isatty():
            self._write(shorten(text, max(shutil.get_terminal_size().columns - 1, 20)).rstrip())

    def _write(self, text: str) -> None:
        over = "\r\x1b[K" if self._stream is None and sys.stdout.isatty() else ""
        print(over + text, end="", file=self._stream or sys.stdout, flush=True)


class Board:
    """The number of avatars that a run expects and has made, and the time that the others will take."""

    def __init__(self, path: Path, stream: TextIOBase | None = None):
        self.path = path
        self._terminal = Terminal(stream)
        self._driver = secrets.token_hex(4)
        self._start = self._last_step_line = time.monotonic()
        self._has_begun = False
        self._read = 0
        self._seen = _Seen()

    @classmethod
    def create(cls, path: Path, expected: Iterable[float], stream: TextIOBase | None = None) -> Board:
        """Create the board of a new run.

        Args:
            path: its file, which is replaced if it exists.
            expected: the `weight` of each avatar to make.
            stream: where to print; None is stdout.
        """
        weights = [*expected]
        path.parent.mkdir(parents=True, exist_ok=True)
        first = {"avatars": len(weights), "weight": sum(weights), "started": time.time()}
        path.write_text(json.dumps(first) + "\n", encoding="utf-8")
        return cls(path, stream)

    @classmethod
    def shared(cls, otherwise: Path, expected: Iterable[float]) -> Board:
        """Return the board of this run of the workflow; on another machine, where it is missing, a new one."""
        path = Path(os.environ.get(BOARD, ""))
        return cls(path) if path.is_file() else cls.create(otherwise, expected)

    def finished(self, run: RunConfig, avatars: Sequence[Made], others: Sequence[Running] = (), begun: int = 0) -> None:
        """Count the avatars of a batch that has ended, then print a passing line for each, and a line for a failure.

        Args:
            run: their method.
            avatars: the avatars.
            others: this driver's batches that are still running.
            begun: the step that these avatars began at.
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
            name = f"{run.method_name} · {isolated(shorten(avatar.label))}"
            show = self._terminal.line if verdict else self._terminal.passing
            show(f"[{number:>{width}}/{expected}] {name}  {duration(avatar.seconds)}{verdict}{rest}")

    def ended(self, run: RunConfig, failed: int, avatars: int) -> None:
        """Print the line of a chunk that has ended.

        Args:
            run: its method.
            failed: number of avatars that failed.
            avatars: number of all its avatars, those included that were there before.
        """
        made, expected, left = self._state()
        parts = [f"generate · {run.method_name}", f"{avatars} avatars"] + [f"{failed} FAILED"] * bool(failed)
        parts += [duration(time.monotonic() - self._start), f"{made} of {expected} made"]
        parts += [f"{duration(left)} left"] * (bool(left) and made < expected)
        self._terminal.line(" · ".join(parts))

    def steps(self, run: RunConfig, batches: Sequence[Running]) -> None:
        """Note and print the steps of this driver's running batches, at most every `STEP_LINE_S`."""
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
        self._terminal.passing(f"{'':{2 * len(str(expected)) + 3}} {name} · {avatars} avatars{rest}")

    def say(self, line: str) -> None:
        """Print a line that is not about an avatar."""
        self._terminal.line(line)

    def _append(self, row: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _state(self) -> tuple[int, int, float]:
        """Return (avatars made, avatars expected, seconds left); 0 seconds if it is too early for an estimate."""
        with self.path.open("rb") as file:
            file.seek(self._read)  # a long run has too many lines to read them all for each avatar
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._seen.add(json.loads(line))
        seen = self._seen
        done = seen.weight + sum(seen.running.values())
        made = done - seen.before
        elapsed = time.time() - seen.begins
        left = max(seen.expected - done, 0.0)
        is_early = made <= _MIN_SHARE * seen.expected
        return seen.made, max(seen.avatars, seen.made), 0.0 if is_early else elapsed / made * left


class Tally:
    """Prints how a job goes through the avatars of a chunk: passing lines, at most every `STEP_LINE_S`, and a last one.

    The time left is estimated from the second avatar on, since the first one waits for workers and networks.

    Args:
        name: name of the job.
        expected: number of avatars.
        stream: where to print; None is stdout.
    """

    def __init__(self, name: str, expected: int, stream: TextIOBase | None = None):
        self._name, self._expected, self._done, self._terminal = name, expected, 0, Terminal(stream)
        self._start = self._first = self._last_line = time.monotonic()

    def one(self) -> None:
        """Count one more avatar."""
        self._done, now = self._done + 1, time.monotonic()
        if self._done == 1:
            self._first = now
        if self._done == self._expected:
            self._terminal.line(f"{self._name} · {self._done} avatars · {duration(now - self._start)}")
            return
        if now - self._last_line < STEP_LINE_S:
            return
        self._last_line = now
        pace = (now - self._first) / (self._done - 1) if self._done > 1 else 0.0
        rest = f" · {duration(pace * (self._expected - self._done))} left" if pace else ""
        self._terminal.passing(f"{self._name} · {self._done} of {self._expected} avatars{rest}")


def _under_way(run: RunConfig, batches: Sequence[Running]) -> float:
    """Return the weight of the steps that running batches have done."""
    running = [batch for batch in batches if batch.total]
    return sum((batch.avatars * weight(run, batch.begun, max(batch.done, batch.begun)) for batch in running), 0.0)


def shorten(label: str, length: int = _LABEL) -> str:
    """Return a label cut or padded to a fixed width.

    Example:
        >>> shorten("an old man with a beard", 10)
        'an old ma…'
    """
    return f"{label[: length - 1]}…" if len(label) > length else f"{label:<{length}}"


def duration(seconds: int | float) -> str:
    """Return a time in the unit that a person would use.

    Example:
        >>> duration(89), duration(100), duration(7200)
        ('89 s', '2 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
