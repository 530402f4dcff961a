"""Fans the avatars of a chunk out to workers (see :mod:`avatargen.runtime.worker_pool`), or makes them in this process.

A failing avatar is recorded and the rest go on; one whose worker was killed resumes from its checkpoint. A full disk
stops the chunk; everything finished stands.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avatargen.config.experiment import RunConfig
from avatargen.config.phase1 import shared_phase1
from avatargen.config.prompts import PromptItem
from avatargen.io.atomic import read_json
from avatargen.runtime import ray_head
from avatargen.runtime.fingerprint import of_avatars
from avatargen.runtime.progress import Board, Made, Running, weight
from avatargen.runtime.worker import FINISHED, Task, Worker, cause, is_done
from avatargen.runtime.worker_pool import RESTARTS, ExecutionSettings, JobHandler, WorkerPool, connect

PHASE1 = ".phase1"
"""Folder of kept phases 1, beside the methods' folders."""


class TooManyFailuresError(RuntimeError):
    """More avatars of a chunk failed than the experiment permits."""


def make_chunk(
    run: RunConfig,
    items: Sequence[PromptItem],
    avatars: Path,
    execution: ExecutionSettings,
    beside: Iterable[RunConfig] = (),
) -> list[dict[str, Any]]:
    """Make what is missing of a chunk, and list all of it.

    Args:
        run: the method.
        items: the chunk's prompts and seeds.
        avatars: folder of the avatars' folders.
        execution: where to run.
        beside: the experiment's methods; phase 1 is made once for those that share it, see `avatargen.method.phase1_cache`.

    Returns:
        One manifest row for each item, in order, failures included.

    Raises:
        DiskFullError: no space left.
        RayUnavailableError: Ray cannot be reached.
    """
    prints = of_avatars(run, items)
    starts = starts_of(run, items, avatars.parents[1], beside)
    tasks = [
        Task(item, (avatars / item.id).absolute(), print_, start)
        for item, print_, start in zip(items, prints, starts, strict=True)
    ]
    waiting = [task for task in tasks if not is_done(task)]
    if waiting:
        parts = [waiting[i : i + run.batch_size] for i in range(0, len(waiting), run.batch_size)]
        batches = [Batch(part, _begins(run, part)) for part in parts]
        expected = [weight(run, batch.begun) for batch in batches for _ in batch.tasks]
        board = Board.shared(avatars.parent / ".board.jsonl", expected)
        make = _serial if execution.backend == "serial" else _ray
        make(run, batches, execution, board)
    return [row(run, task, avatars / task.item.id) for task in tasks]


def starts_of(
    run: RunConfig, items: Sequence[PromptItem], folder: Path, beside: Iterable[RunConfig]
) -> Sequence[Path | None]:
    """Where the phase 1 of each avatar is kept below `folder` (of a list), if another method has the same."""
    phase1 = shared_phase1(run, beside)
    if phase1 is None:
        return [None] * len(items)
    return [(folder / PHASE1 / print_).absolute() for print_ in of_avatars(phase1, items)]


def _begins(run: RunConfig, tasks: Sequence[Task]) -> int:
    """The step at which avatars that are made together begin."""
    return run.method.phase1_steps if all(task.start and task.start.is_dir() for task in tasks) else 0


def row(run: RunConfig, task: Task, folder: Path) -> dict[str, Any]:
    """An avatar's row of the manifest."""
    facts = read_json(task.folder / "done.json")
    return {
        "id": task.item.id,
        **task.item.facts(),
        "method": run.method_name,
        "status": facts.get("status", "error"),
        "message": facts.get("message", "no record was written"),
        "seconds": facts.get("seconds"),
        "peak_memory_mb": facts.get("peak_memory_mb"),
        "truncated_by": facts.get("truncated_by", []),
        "fingerprint": task.fingerprint,
        "folder": str(folder),
    }


def check_failures(rows: Sequence[dict[str, Any]], allowed: float) -> None:
    """Raise where too many avatars failed.

    Raises:
        TooManyFailuresError: more than the fraction `allowed`; lists the first few.
    """
    failed = [entry for entry in rows if entry["status"] != "ok"]
    if len(failed) > allowed * len(rows):
        lines = [f"  - {entry['id']}: {entry['status']}: {entry['message']}" for entry in failed[:10]]
        raise TooManyFailuresError(
            f"{len(failed)} of {len(rows)} avatars failed (max_failed_fraction is {allowed:g}):\n" + "\n".join(lines)
        )


@dataclass(frozen=True)
class Batch:
    """Avatars that are made together.

    Attributes:
        begun: the step that they go on from, if another method has made their phase 1.
        failure: what is recorded of a single one instead, whose worker died each time.
    """

    tasks: list[Task]
    begun: int = 0
    failure: str = ""


@dataclass(frozen=True)
class _BatchHandler(JobHandler[Batch]):
    """What a pool is told of batches; one that loses its worker for good is tried one avatar at a time."""

    run: RunConfig
    board: Board

    def send(self, actor: Any, job: Batch) -> Any:
        if job.failure:
            return actor.fail.remote(self.run, job.tasks[0], "error", job.failure)
        return actor.make.remote(self.run, job.tasks)

    def ended(self, job: Batch, others: Sequence[tuple[Batch, int, int]]) -> None:
        recorded = [task for task in job.tasks if _is_recorded(task)]
        _report(self.run, Batch(recorded, job.begun), self.board, _under_way(others))

    def lost(self, job: Batch, error: Exception) -> list[Batch]:
        if job.failure:  # not even that can be recorded
            raise error
        if len(job.tasks) > 1:
            return [Batch([task], job.begun) for task in job.tasks if not _is_recorded(task)]
        told = job.tasks[0].folder / "error.txt"  # what the worker could still say
        reason = cause(told.read_text(encoding="utf-8")) if told.is_file() else str(error).splitlines()[0]
        return [Batch(job.tasks, job.begun, f"the worker died {RESTARTS + 1} times: {reason}")]

    def look(self, running: Sequence[tuple[Batch, int, int]]) -> None:
        self.board.steps(self.run, _under_way(running))


def _serial(run: RunConfig, batches: list[Batch], execution: ExecutionSettings, board: Board) -> None:
    """All batches in this process."""
    worker = Worker(execution.threads, execution.gpus, execution.spec)
    for batch in batches:
        worker.steps = lambda done, total, batch=batch: board.steps(run, _under_way([(batch, done, total)]))
        worker.make(run, batch.tasks)
        _report(run, batch, board)


def _ray(run: RunConfig, batches: list[Batch], execution: ExecutionSettings, board: Board) -> None:
    """All batches on Ray actors.

    Where the workflow's own Ray did not start (it gives up on a machine that is too busy) and the machine
    holds only one worker anyway, this process is that worker: the results are the same.
    """
    try:
        connection = connect(execution)
    except ray_head.RayUnavailableError as error:
        if os.environ.get("RAY_ADDRESS") or execution.gpus or execution.cores >= 2 * execution.threads:
            raise
        board.say(f"{error}; going on without it, which one worker can")
        _serial(run, batches, execution, board)
        return
    pool = WorkerPool[Batch](connection, execution, board.path.parent)
    try:
        pool.work(batches, _BatchHandler(run, board))
    finally:
        pool.dismiss()


def _report(run: RunConfig, batch: Batch, board: Board, others: Sequence[Running] = ()) -> None:
    """Tell the board of a batch that ended, beside `others` that run."""
    facts = [(task.item.prompt, read_json(task.folder / "done.json")) for task in batch.tasks]
    made = [Made(prompt, one.get("status", "error"), one.get("seconds") or 0.0) for prompt, one in facts]
    board.finished(run, made, others, batch.begun)


def _under_way(running: Sequence[tuple[Batch, int, int]]) -> list[Running]:
    """How far batches are, for the board."""
    return [Running(len(batch.tasks), done, total, batch.begun) for batch, done, total in running]


def _is_recorded(task: Task) -> bool:
    """Whether an avatar ended in this run, well or not."""
    facts = read_json(task.folder / "done.json")
    return facts.get("fingerprint") == task.fingerprint and facts.get("status") in (
        *FINISHED,
        "error",
        "out_of_memory",
    )
