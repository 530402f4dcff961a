"""Calls that need loaded networks, one for each avatar, spread over workers.

Evaluation renders and judges with them. The workers of the workflow's own Ray, which made the avatars, have the
libraries imported already, which takes longer than to render an avatar; and on a cluster, all its machines take part.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avatargen.runtime import ray_head
from avatargen.runtime.progress import BOARD, Tally
from avatargen.runtime.worker import Worker
from avatargen.runtime.worker_pool import RESTARTS, ExecutionSettings, JobHandler, WorkerPool, connect, has_cluster

EACH = 8
"""Calls that make it worth to start a worker of a cluster, which ends with its driver."""
HEAD_TIMEOUT_S = 60.0
"""For the workflow's own Ray, which generation has waited for."""


class WorkerDiedError(RuntimeError):
    """The worker of a call died each time it was tried."""


@dataclass(frozen=True)
class RemoteCall:
    """One call.

    Attributes:
        about: the avatar, for messages.
        losses: how many workers it has lost.
    """

    about: str
    arguments: tuple[Any, ...]
    losses: int = 0


def call_each(
    spec: str,
    loading: tuple[Any, ...],
    calls: Sequence[RemoteCall],
    execution: ExecutionSettings,
    tally: Tally,
    gpu: bool = False,
) -> None:
    """Make all calls; in this process where workers would not be faster, see `_workers`.

    Args:
        spec: ``module:name`` of what to load, a class or a function; what it returns is called.
        loading: its arguments; torch's threads follow as the last one. Workers keep what was loaded for as long as
            they are asked for the same.
        calls: nothing is loaded if there are none.
        execution: where the avatars were made; its cores are those of this process.
        tally: told of each call that has ended.
        gpu: whether calls use a GPU, if workers have one.

    Raises:
        WorkerDiedError: one takes its workers down.
        Exception: what a call raised; no more are made then.
    """
    workers = _workers(execution, gpu)
    pool = _join(workers) if calls and workers else None
    if workers is None or pool is None:
        worker = Worker(execution.threads, execution.gpus)
        for call in calls:
            worker.call(spec, (*loading, execution.cores), call.arguments)
            tally.one()
        return
    try:
        pool.work(calls, _CallHandler(spec, (*loading, workers.threads), tally))
    finally:
        pool.dismiss()


def _workers(execution: ExecutionSettings, gpu: bool) -> ExecutionSettings | None:
    """Workers that would be faster than this process, if there are.

    A call takes one thread, but for what a GPU does. On this machine, where Snakemake runs a job on each core, workers
    of several threads, or with GPUs, would leave most cores idle.
    """
    if execution.backend == "serial":
        return None
    if has_cluster():
        return execution if gpu and execution.gpus else replace(execution, threads=1, gpus=0.0)
    return execution if execution.head_file and execution.threads == 1 and not execution.gpus else None


def _join(execution: ExecutionSettings) -> WorkerPool[RemoteCall] | None:
    """Workers; None where the workflow's own Ray did not start, and this process does as well."""
    try:
        connection = connect(execution, HEAD_TIMEOUT_S)
    except ray_head.RayUnavailableError:
        if has_cluster():
            raise
        return None
    return WorkerPool(connection, execution, Path(os.environ.get(BOARD, "")).parent, 1 if connection.own_head else EACH)


@dataclass(frozen=True)
class _CallHandler(JobHandler[RemoteCall]):
    """What a pool is told of calls."""

    spec: str
    loading: tuple[Any, ...]
    tally: Tally

    def send(self, actor: Any, job: RemoteCall) -> Any:
        return actor.call.remote(self.spec, self.loading, job.arguments)

    def ended(self, job: RemoteCall, others: Sequence[tuple[RemoteCall, int, int]]) -> None:
        self.tally.one()

    def lost(self, job: RemoteCall, error: Exception) -> list[RemoteCall]:
        """Other drivers use the same workers: it may have been one of their calls that took this one down."""
        if job.losses == RESTARTS:
            reason = str(error).splitlines()[0]
            raise WorkerDiedError(f"{job.about}: {RESTARTS + 1} workers died over it: {reason}") from error
        return [replace(job, losses=job.losses + 1)]
