"""Make the avatars of a chunk, on workers (:mod:`avatargen.runtime.worker_pool`) or in this process, and list them.

A failing avatar is recorded and the others go on. An avatar whose worker died resumes from its checkpoint. A full disk
stops the chunk; what is finished stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avatargen.config.batch_size import job_size
from avatargen.config.experiment import RunConfig
from avatargen.config.phase1 import shared_phase1
from avatargen.config.prompts import PromptItem
from avatargen.io.manifest import Row
from avatargen.method.sources import source_of
from avatargen.runtime.faults import cause_line
from avatargen.runtime.fingerprint import of_avatars
from avatargen.runtime.progress import Board, Made, Running, weight
from avatargen.runtime.ray_head import RayUnavailableError
from avatargen.runtime.sharing import Donors, take_over, taken_line
from avatargen.runtime.task import ERROR_FILE, Task, has_phase1, is_done, is_recorded, outcome
from avatargen.runtime.worker import Worker
from avatargen.runtime.worker_pool import (
    ATTEMPTS,
    ExecutionSettings,
    JobHandler,
    Progress,
    WorkerPool,
    has_cluster,
)

PHASE1 = ".phase1"
"""Folder of shared phases 1, beside the methods' folders."""


class TooManyFailuresError(RuntimeError):
    """More avatars of a chunk failed than the experiment permits."""


def make_chunk(
    run: RunConfig,
    items: Sequence[PromptItem],
    avatars: Path,
    execution: ExecutionSettings,
    methods: Iterable[RunConfig] = (),
    results: Path | None = None,
) -> list[Row]:
    """Make the avatars of a chunk that are not done, and return a manifest row for each avatar.

    Args:
        run: the method.
        items: prompts and seeds of the chunk.
        avatars: folder of the avatars' folders.
        execution: where to run.
        methods: methods of the experiment; those with the same phase 1 share it (`avatargen.config.phase1`).
        results: folder of the results of all experiments, to take finished avatars over from; None to make all.

    Returns:
        One row per item, in order, failures included.

    Raises:
        DiskFullError: no space is left.
        RayUnavailableError: Ray cannot be reached.
    """
    tasks = tasks_of(run, items, avatars, methods)
    waiting = [task for task in tasks if not is_done(task)]
    if waiting and results:
        taken = take_over(waiting, Donors.find(results, run.method_name, avatars))
        if taken:
            print(f"{run.method_name}: {taken_line(taken, len(tasks))}", flush=True)
            logging.getLogger(__name__).info(taken_line(taken, len(tasks)))
        waiting = [task for task in waiting if not is_done(task)]
    if waiting:
        size = job_size(run.batch_size, execution.gpus > 0)
        parts = [waiting[i : i + size] for i in range(0, len(waiting), size)]
        batches = [Batch(part, run.method.phase1_steps if all(map(has_phase1, part)) else 0) for part in parts]
        expected = [weight(run, batch.begun) for batch in batches for _ in batch.tasks]
        board = Board.shared(avatars.parent / ".board.jsonl", expected)
        make = _make_here if execution.backend == "serial" else _make_on_workers
        make(batches, execution, _BatchHandler(run, board))
        board.ended(run, sum(outcome(task).get("status") != "ok" for task in tasks), len(tasks))
    return [_row(run, task, avatars / task.item.id) for task in tasks]


def tasks_of(
    run: RunConfig, items: Sequence[PromptItem], avatars: Path, methods: Iterable[RunConfig] = ()
) -> list[Task]:
    """Return the avatars to make, done ones included; arguments as in `make_chunk`."""
    shared, fingerprints = shared_phase1(run, methods), of_avatars(run, items)
    phases = of_avatars(shared, items) if shared else [None] * len(items)
    phase1, avatars = (avatars.parents[1] / PHASE1).absolute(), avatars.absolute()
    return [
        Task(item, avatars / item.id, fingerprint, phase1 / phase if phase else None)
        for item, fingerprint, phase in zip(items, fingerprints, phases, strict=True)
    ]


def check_failures(rows: Sequence[Row], allowed: float) -> None:
    """Check that not too many avatars failed.

    Args:
        rows: one per avatar.
        allowed: largest permitted fraction of failures, in [0, 1].

    Raises:
        TooManyFailuresError: more failed; it lists the first ten.
    """
    failed = [row for row in rows if row.status != "ok"]
    if len(failed) > allowed * len(rows):
        lines = [f"  - {row.id}: {row.status}: {row.message}" for row in failed[:10]]
        raise TooManyFailuresError(
            f"{len(failed)} of {len(rows)} avatars failed; expected at most a fraction of {allowed:g} "
            "(max_failed_fraction):\n" + "\n".join(lines)
        )


def _row(run: RunConfig, task: Task, folder: Path) -> Row:
    facts = outcome(task)
    return Row(
        id=task.item.id,
        **task.item.facts(),
        method=run.method_name,
        prior=run.prior_name if source_of(run).uses_prior else "",
        status=facts.get("status", "error"),
        message=facts.get("message", "no outcome was recorded"),
        seconds=facts.get("seconds"),
        peak_memory_mb=facts.get("peak_memory_mb"),
        truncated_by=facts.get("truncated_by", ()),
        fingerprint=task.fingerprint,
        folder=str(folder),
        taken_from=facts.get("taken_from", ""),
    )


@dataclass(frozen=True)
class Batch:
    """Avatars that are made together.

    Attributes:
        tasks: at most `job_size` of them.
        begun: the step that they begin at: after phase 1 if another method has made it.
        losses: workers that died while they made it.
        failure: the message to record, instead of making the avatar, once too many workers died over it.
    """

    tasks: list[Task]
    begun: int = 0
    losses: int = 0
    failure: str = ""


@dataclass(frozen=True)
class _BatchHandler(JobHandler[Batch]):
    """Makes batches, and records an avatar over which `ATTEMPTS` workers died as a failure.

    Only the last attempt makes the avatars of a batch one at a time: that costs more, and one loss may be an accident.
    """

    run: RunConfig
    board: Board

    def submit(self, actor: Any, job: Batch, heartbeat: Path) -> Any:
        if job.failure:
            return actor.fail.remote(self.run, job.tasks[0], job.failure, heartbeat)
        return actor.make.remote(self.run, job.tasks, heartbeat)

    def ended(self, job: Batch, running: Sequence[Progress] = ()) -> None:
        facts = [(task.item.prompt, outcome(task)) for task in job.tasks if is_recorded(task)]
        made = [Made(prompt, one["status"], one.get("seconds") or 0.0) for prompt, one in facts]
        self.board.finished(self.run, made, _on_board(running), job.begun)

    def lost(self, job: Batch, error: Exception, running: Sequence[Progress]) -> list[Batch]:
        self.ended(job, running)
        tasks, losses = [task for task in job.tasks if not is_recorded(task)], job.losses + 1
        if losses < (ATTEMPTS - 1 if len(tasks) > 1 else ATTEMPTS):
            return [replace(job, tasks=tasks, losses=losses)] if tasks else []
        if losses < ATTEMPTS:
            return [replace(job, tasks=[task], losses=losses) for task in tasks]
        if job.failure:  # not even that can be recorded
            raise error
        return [Batch([task], job.begun, failure=_death_message(task, losses, error)) for task in tasks]

    def poll(self, running: Sequence[Progress]) -> None:
        self.board.steps(self.run, _on_board(running))


def _make_here(batches: list[Batch], execution: ExecutionSettings, handler: _BatchHandler) -> None:
    worker = Worker(execution.threads, execution.gpus, execution.spec)
    for batch in batches:
        worker.steps = lambda done, total, batch=batch: handler.poll([Progress(batch, done, total)])
        worker.make(handler.run, batch.tasks)
        handler.ended(batch)


def _make_on_workers(batches: list[Batch], execution: ExecutionSettings, handler: _BatchHandler) -> None:
    """Make batches on Ray actors.

    The workflow's own Ray gives up on a machine that is too busy. If this machine holds only one worker, this process
    takes its place: the results are the same.
    """
    try:
        pool = WorkerPool[Batch].join(execution)
    except RayUnavailableError as error:
        if has_cluster() or execution.gpus or execution.cores >= 2 * execution.threads:
            raise
        handler.board.say(f"{error}; going on without Ray, as one worker can")
        _make_here(batches, execution, handler)
        return
    try:
        pool.work(batches, handler)
    finally:
        pool.close()


def _death_message(task: Task, losses: int, error: Exception) -> str:
    written = task.folder / ERROR_FILE  # a worker that ends itself writes why
    reason = cause_line(written.read_text(encoding="utf-8") if written.is_file() else str(error).splitlines()[0])
    return f"{losses} workers died over it: {reason}"


def _on_board(running: Sequence[Progress]) -> list[Running]:
    return [Running(len(job.tasks), done, total, job.begun) for job, done, total in running]
