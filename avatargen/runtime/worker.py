"""A worker process: makes avatars and calls evaluation, with networks that stay loaded from job to job.

The same class runs as a Ray actor and, for the serial back end, in the driver's process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avatargen.config.experiment import RunConfig
from avatargen.io.atomic import DiskFullError, is_full, write_text
from avatargen.runtime.faults import is_lasting
from avatargen.runtime.generate_job import OnStep, make_batch, record_failure, write_error
from avatargen.runtime.model_cache import ModelCache
from avatargen.runtime.task import ERROR_FILE, Task, is_done, prepare

GENERATOR = "avatargen.method.generator:Generator"
HEARTBEAT_S = 1.0
"""Shortest time between two writes of a heartbeat file."""


@dataclass
class Worker:
    """Makes batches of avatars, and calls what evaluation loads.

    Attributes:
        threads: torch threads of the generator; results depend on them in their last bits.
        gpus: share of a GPU; 0 keeps the process on the CPU.
        spec: ``module:Class`` of the generator.
        steps: receives (steps done, steps in all) of the batch that is running.
        replaced: another process takes this one's place when it ends, so it may end itself on a lasting fault.
    """

    threads: int
    gpus: float = 0.0
    spec: str = GENERATOR
    steps: OnStep | None = None
    replaced: bool = False
    _models: ModelCache = field(init=False)

    def __post_init__(self) -> None:
        self._models = ModelCache(self.gpus)

    def make(self, run: RunConfig, tasks: list[Task], heartbeat: Path | None = None) -> None:
        """Make the avatars that are not done yet.

        Args:
            run: the method.
            tasks: at most a batch of avatars.
            heartbeat: file to write the steps to, instead of calling `steps`.

        Raises:
            DiskFullError: no space is left; finished avatars and checkpoints stay.
            InputError: the generator finds no weights, or torch no GPU.
        """
        waiting = [task for task in tasks if not is_done(task)]
        with self._ends_on_lasting_fault(waiting, heartbeat):
            for task in waiting:
                prepare(task)
                (task.folder / ERROR_FILE).unlink(missing_ok=True)  # of an earlier attempt
            if waiting:
                make_batch(self._generator(run), run, waiting, _beat(heartbeat) if heartbeat else self.steps)
            self._models.release_unused()

    def fail(self, run: RunConfig, task: Task, message: str, heartbeat: Path | None = None) -> None:
        """Record, with status ``error``, an avatar that takes its workers down."""
        with self._ends_on_lasting_fault([task], heartbeat):
            prepare(task)
            record_failure(self._generator(run), run, task, "error", message)

    def call(
        self, spec: str, loading: tuple[Any, ...], arguments: tuple[Any, ...], heartbeat: Path | None = None
    ) -> None:
        """Call what ``module:name`` makes of `loading` with `arguments`; it stays loaded for the next call."""
        with self._ends_on_lasting_fault([], heartbeat):
            self._models.get(spec, loading)(*arguments)

    def _generator(self, run: RunConfig) -> Any:
        arguments = (run.head, run.renderer, run.prior, self.threads, run.method.soft_raster)
        return self._models.get(f"{self.spec}.load", arguments, alone=True)

    @contextmanager
    def _ends_on_lasting_fault(self, tasks: Sequence[Task], heartbeat: Path | None) -> Iterator[None]:
        """Begin a job; end the process if the GPU is lost to it, and say so if the disk is full."""
        if heartbeat:
            heartbeat.touch()
        try:
            yield
        except Exception as error:
            if is_full(error) and tasks:
                raise DiskFullError(str(tasks[0].folder.parent)) from error
            if not (is_lasting(error) and self.replaced):
                raise
            try:
                for task in tasks:
                    if not is_done(task):
                        write_error(task, error)
            finally:
                os._exit(1)


def _beat(file: Path) -> OnStep:
    """Return a function that writes steps to a file, at most every `HEARTBEAT_S`."""
    last = 0.0

    def on_step(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > HEARTBEAT_S:
            last = time.monotonic()
            write_text(file, f"{done} {total}")

    return on_step
