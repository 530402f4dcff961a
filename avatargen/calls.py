"""Calls that need loaded networks, one for each avatar, spread over the workers that made the avatars.

Evaluation renders and judges with them: the workers of the workflow's own Ray have the libraries imported already,
which takes longer than to render an avatar; and on a cluster, all its machines take part.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avatargen import rayhead
from avatargen.crew import RESTARTS, Crew, Duty, Fanout, connect, has_cluster
from avatargen.progress import BOARD, Tally
from avatargen.worker import Worker


class WorkerDiedError(RuntimeError):
    """The worker of a call died each time it was tried."""


@dataclass(frozen=True)
class Call:
    """One call: its arguments, and what it is about, for messages."""

    about: str
    arguments: tuple[Any, ...]


def call_each(spec: str, loading: tuple[Any, ...], calls: Sequence[Call], how: Fanout, tally: Tally) -> None:
    """Make all calls; in this process where no Ray is at hand, see `_has_workers`.

    Args:
        spec: ``module:name`` of what to load, a class or a function; what it returns is called.
        loading: its arguments. Workers keep what was loaded for as long as they are asked for the same.
        calls: nothing is loaded if there are none.
        how: where to run.
        tally: told of each call that has ended.

    Raises:
        WorkerDiedError: one takes its worker down.
        Exception: what a call raised; no more are made then.
    """
    if not calls:
        return
    crew = _crew(how) if _has_workers(how) else None
    if crew is None:
        worker = Worker(how.threads, how.gpus)
        for call in calls:
            worker.call(spec, loading, call.arguments)
            tally.one()
        return
    try:
        crew.work(calls, _Calling(spec, loading, tally))
    finally:
        crew.dismiss()


def _has_workers(how: Fanout) -> bool:
    """Whether there are workers that would be faster than this process.

    Of this machine's cores, workers that hold GPUs leave most idle, and most of a render is not the GPU's: there each
    job works by itself, and Snakemake runs several.
    """
    return how.backend == "ray" and (has_cluster() or (how.head_file is not None and not how.gpus))


def _crew(how: Fanout) -> Crew[Call] | None:
    """Workers; None where the workflow's own Ray did not start, and this process does as well."""
    try:
        connection = connect(how)
    except rayhead.RayUnavailableError:
        if has_cluster():
            raise
        return None
    return Crew[Call](connection, how, Path(os.environ.get(BOARD, "")).parent)


@dataclass(frozen=True)
class _Calling(Duty[Call]):
    """What a crew is told of calls."""

    spec: str
    loading: tuple[Any, ...]
    tally: Tally

    def send(self, actor: Any, job: Call) -> Any:
        return actor.call.remote(self.spec, self.loading, job.arguments)

    def ended(self, job: Call, others: Sequence[tuple[Call, int, int]]) -> None:
        self.tally.one()

    def lost(self, job: Call, error: Exception) -> list[Call]:
        reason = str(error).splitlines()[0]
        raise WorkerDiedError(f"{job.about}: its worker died {RESTARTS + 1} times: {reason}") from error
