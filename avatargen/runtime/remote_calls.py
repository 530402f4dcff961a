"""Call loaded networks once for each avatar, spread over workers.

Evaluation renders and judges this way. The workers that made the avatars have the libraries imported already, which
takes longer than rendering an avatar; and on a cluster, all its machines take part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avatargen.runtime.progress import Tally
from avatargen.runtime.ray_head import RayUnavailableError
from avatargen.runtime.worker import Worker
from avatargen.runtime.worker_pool import (
    ATTEMPTS,
    ExecutionSettings,
    JobHandler,
    Progress,
    WorkerPool,
    has_cluster,
)

CALLS_PER_WORKER = 8
"""Minimum number of calls per cluster worker, which is started for this driver alone."""
HEAD_TIMEOUT_S = 60.0
"""Longest wait for the workflow's own Ray; generation has waited for its start before."""


class WorkerDiedError(RuntimeError):
    """`ATTEMPTS` workers died over a call."""


@dataclass(frozen=True)
class RemoteCall:
    """One call.

    Attributes:
        about: name of the avatar, for messages.
        arguments: arguments of the call.
        losses: workers that died while they ran it.
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
    """Make all calls, on workers if they are faster than this process.

    Args:
        spec: ``module:name`` of a class or function that loads what is called; nothing is loaded without calls.
        loading: its arguments; the number of torch threads is added as the last one.
        calls: the calls, one for each avatar.
        execution: where the avatars were made; its cores are those of this process.
        tally: counts the calls that have ended.
        gpu: calls use the workers' GPUs if they have some.

    Raises:
        WorkerDiedError: `ATTEMPTS` workers died over a call.
        Exception: what a call raised; no further calls are made then.
    """
    workers = _faster_workers(execution, gpu)
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
        pool.close()


def _faster_workers(execution: ExecutionSettings, gpu: bool) -> ExecutionSettings | None:
    """Return the workers that are faster than this process, if there are some.

    A call takes one CPU thread. On this machine Snakemake runs a job on each core, so workers of several threads, or
    with GPUs, would leave most cores idle.
    """
    if execution.backend == "serial":
        return None
    if has_cluster():
        return execution if gpu and execution.gpus else replace(execution, threads=1, gpus=0.0)
    return execution if execution.head_file and execution.threads == 1 and not execution.gpus else None


def _join(execution: ExecutionSettings) -> WorkerPool[RemoteCall] | None:
    """Return the workers; None if the workflow's own Ray did not start, since this process can do without."""
    try:
        return WorkerPool.join(execution, HEAD_TIMEOUT_S, CALLS_PER_WORKER)
    except RayUnavailableError:
        if has_cluster():
            raise
        return None


@dataclass(frozen=True)
class _CallHandler(JobHandler[RemoteCall]):
    spec: str
    loading: tuple[Any, ...]
    tally: Tally

    def submit(self, actor: Any, job: RemoteCall, heartbeat: Path) -> Any:
        return actor.call.remote(self.spec, self.loading, job.arguments, heartbeat)

    def ended(self, job: RemoteCall, running: Sequence[Progress]) -> None:
        self.tally.one()

    def lost(self, job: RemoteCall, error: Exception, running: Sequence[Progress]) -> list[RemoteCall]:
        losses = job.losses + 1
        if losses == ATTEMPTS:
            reason = str(error).splitlines()[0]
            raise WorkerDiedError(f"{job.about}: {losses} workers died over it: {reason}") from error
        return [replace(job, losses=losses)]
