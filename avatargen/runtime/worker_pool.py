"""Spread jobs over worker processes, which are Ray actors.

If RAY_ADDRESS names a cluster of the user, workers end with their driver. Otherwise the workflow's own head is used
(:mod:`avatargen.runtime.ray_head`): its workers are named and detached, so they keep their networks loaded for the next
driver and end with the head. Without either, a driver starts a Ray for itself.

When a worker dies, the pool hires another one and gives it the job. Ray itself restarts no actor and retries no task,
so the losses that a job counts are the processes that died while they ran it.
"""

from __future__ import annotations

import math
import os
import secrets
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from avatargen.config.experiment import RunConfig
from avatargen.config.places import ROOT
from avatargen.io.content_hash import digest
from avatargen.runtime import ray_head
from avatargen.runtime.ray_head import RayUnavailableError
from avatargen.runtime.worker import GENERATOR, Worker

ATTEMPTS = 3
"""Workers that run a job, one after the other, before its death is the job's failure."""
MAX_IDLE_DEATHS = 10
"""Workers in a row that may die before they begin a job. Then the machine is at fault, not a job."""
POLL_S = 1.0
HEARTBEATS = Path(".snakemake/avatargen/heartbeats")
"""Folder of the files that jobs write their steps to."""
CLUSTER_PATHS = ("AVATARGEN_CACHE", "AVATARGEN_FLAME", "HF_HOME", "HF_HUB_CACHE")
"""Variables that hold paths, which workers of a cluster need as the driver has them."""
CLUSTER_SETTINGS = ("HF_HUB_OFFLINE",)
"""Other variables that they need."""

Job = TypeVar("Job")


@dataclass(frozen=True)
class ExecutionSettings:
    """Where work runs.

    Attributes:
        backend: ``ray``, or ``serial`` for the driver's process.
        threads: torch threads, and Ray CPUs, of a worker.
        gpus: share of a GPU of a worker.
        cores: cores that Snakemake, and so a cluster's scheduler, gave to this job.
        head_file: file of the workflow's own Ray head, if there is one.
        spec: ``module:Class`` of the generator.
    """

    backend: Literal["ray", "serial"]
    threads: int
    gpus: float = 0.0
    cores: int = 1
    head_file: Path | None = None
    spec: str = GENERATOR

    @classmethod
    def of_job(cls, run: RunConfig, backend: Literal["ray", "serial"], gpus: float, cores: int) -> ExecutionSettings:
        """Return the settings of a job of the workflow, for the avatars of one method."""
        head = os.environ.get(ray_head.HEAD_FILE)
        return cls(backend, run.threads, gpus, cores, Path(head) if head else None)

    def fit(self, cpus: float, gpus: float) -> int:
        """Return how many workers a node holds. As Ray has it, a worker's share is of one GPU, or whole GPUs.

        Example:
            >>> [ExecutionSettings("ray", threads=2, gpus=share).fit(16.0, 2.0) for share in (0.0, 0.4, 1.0, 2.0)]
            [8, 4, 2, 1]
        """
        by_cpus = int(cpus // self.threads)
        if not self.gpus:
            return by_cpus
        by_gpus = int(gpus) * int(1 / self.gpus + 1e-9) if self.gpus <= 1 else int(gpus // self.gpus)
        return min(by_cpus, by_gpus)


class Progress(NamedTuple):
    """A running job, with its steps done and in all."""

    job: Any
    done: int
    total: int


class JobHandler(ABC, Generic[Job]):
    """One kind of work: how a job is submitted and how its outcome is handled."""

    @abstractmethod
    def submit(self, actor: Any, job: Job, heartbeat: Path) -> Any:
        """Submit a job to an actor, which creates `heartbeat` when it begins. Return Ray's reference to the result."""

    @abstractmethod
    def ended(self, job: Job, running: Sequence[Progress]) -> None:
        """Handle a job that has ended, while others are `running`."""

    @abstractmethod
    def lost(self, job: Job, error: Exception, running: Sequence[Progress]) -> list[Job]:
        """Return the jobs to do, before all others, instead of one whose worker died while it ran the job."""

    def poll(self, running: Sequence[Progress]) -> None:
        """Handle the progress of running jobs, every `POLL_S`."""


def has_cluster() -> bool:
    """Return whether the user names a Ray cluster."""
    return os.environ.get("RAY_ADDRESS", "local") not in ("", "local")


class _Busy(NamedTuple):
    slot: int
    actor: Any
    job: Any
    heartbeat: Path


@dataclass
class WorkerPool(Generic[Job]):
    """The workers of one driver; make one with `WorkerPool.join`.

    Several drivers may share a cluster, each with more actors than have room. A job is only given to an actor that has
    started, and actors without work make room. Were jobs bound to actors that wait for room, two drivers could wait for
    each other for ever.

    Attributes:
        ray: the imported module, which is connected.
        own_head: Ray is the workflow's own, whose workers stay for the next driver.
        execution: the workers' resources.
        min_jobs: minimum number of jobs per worker that is started for this driver alone.
        starting: (slot, actor) by the reference that is ready once the actor has started.
        idle: (slot, actor) of workers without work.
        busy: workers by the reference to their job's result.
    """

    ray: Any
    own_head: bool
    execution: ExecutionSettings
    min_jobs: int = 1
    starting: dict[Any, tuple[int, Any]] = field(default_factory=dict)
    idle: list[tuple[int, Any]] = field(default_factory=list)
    busy: dict[Any, _Busy] = field(default_factory=dict)
    _name: str = field(default_factory=lambda: secrets.token_hex(4))
    _submitted: int = 0
    _idle_deaths: int = 0

    @classmethod
    def join(
        cls, execution: ExecutionSettings, timeout_s: int | float = ray_head.START_TIMEOUT_S, min_jobs: int = 1
    ) -> WorkerPool[Job]:
        """Join the cluster of RAY_ADDRESS, else the workflow's head, else a Ray that is started for this process.

        Args:
            execution: where work runs.
            timeout_s: longest time to wait for the workflow's head, in seconds.
            min_jobs: see the class.

        Raises:
            RayUnavailableError: Ray cannot be joined.
        """
        address, token, head = os.environ.get("RAY_ADDRESS") or "local", None, None
        if not has_cluster() and execution.head_file:
            head = ray_head.reach(execution.head_file, timeout_s)
            address, token = head.address, head.token
        alone = address == "local"
        os.environ.update(ray_head.environment(secrets.token_hex(24) if alone else token))
        import ray  # reads the environment when it is imported

        options: dict[str, Any] = {"log_to_driver": False, "namespace": "avatargen", "logging_level": "warning"}
        if alone:
            options |= {"num_cpus": max(execution.threads, execution.cores), "num_gpus": None if execution.gpus else 0}
            options |= {"include_dashboard": False, "object_store_memory": ray_head.OBJECT_STORE_BYTES}
        elif not head:
            own = {name: str(Path(os.environ[name]).absolute()) for name in CLUSTER_PATHS if os.environ.get(name)}
            own |= {name: os.environ[name] for name in CLUSTER_SETTINGS if os.environ.get(name)}
            options |= {"runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT), **own}}}
        try:
            ray_head.connect(ray, address, options, execution.head_file if head else None)
        except RayUnavailableError:
            raise
        except (ConnectionError, RuntimeError, ValueError) as error:
            message = f"Ray at '{address}' cannot be joined: {str(error).splitlines()[0]}"
            if "uthenticat" in str(error):
                message += " (set RAY_AUTH_MODE and RAY_AUTH_TOKEN here as they are on the cluster)"
            raise RayUnavailableError(message) from error
        return cls(ray, head is not None, execution, min_jobs)

    def work(self, jobs: Sequence[Job], handler: JobHandler[Job]) -> None:
        """Do all jobs.

        Raises:
            RayUnavailableError: no worker fits or starts, or the workflow's own Ray lost its only node.
            Exception: what a job raised; workers of the workflow's own head finish what they have begun.
        """
        queue, min_jobs = deque(jobs), 1 if self.own_head else self.min_jobs
        for slot in range(min(math.ceil(len(queue) / min_jobs), self._capacity())):
            self._hire(slot)
        while queue or self.busy:
            while queue and self.idle:
                self._submit(*self.idle.pop(), queue.popleft(), handler)
            if not queue:
                self._dismiss_idle()
            ready, _ = self.ray.wait([*self.busy, *self.starting], timeout=POLL_S)
            for reference in ready:
                if reference in self.starting:
                    self._welcome(reference)
                else:
                    self._settle(reference, queue, handler)
            handler.poll(self._running())
            if self.own_head and not any(node["Alive"] for node in self.ray.nodes()):
                raise RayUnavailableError(f"the workflow's Ray lost its node (raylet died); {ray_head.AGAIN}")

    def close(self) -> None:
        """Leave Ray. Workers of the workflow's own head stay; others end with this connection."""
        self.ray.shutdown()
        for file in HEARTBEATS.glob(f"*{self._name}-*"):
            file.unlink(missing_ok=True)

    def _submit(self, slot: int, actor: Any, job: Job, handler: JobHandler[Job]) -> None:
        self._submitted += 1
        heartbeat = (HEARTBEATS / f"{self._name}-{self._submitted}").absolute()
        heartbeat.parent.mkdir(parents=True, exist_ok=True)
        self.busy[handler.submit(actor, job, heartbeat)] = _Busy(slot, actor, job, heartbeat)

    def _welcome(self, reference: Any) -> None:
        """Put a worker to use that has started, or replace it."""
        slot, actor = self.starting.pop(reference)
        try:
            self.ray.get(reference)
        except (*self._deaths(), self.ray.exceptions.ActorUnschedulableError) as error:
            self._replace(slot, error)
        else:
            self.idle.append((slot, actor))

    def _settle(self, reference: Any, queue: deque[Job], handler: JobHandler[Job]) -> None:
        """Handle a job that has ended, or whose worker has died."""
        slot, actor, job, heartbeat = self.busy.pop(reference)
        try:
            self.ray.get(reference)
        except self._deaths() as error:
            self.ray.kill(actor)  # it may only be out of reach, and must not go on with the job
            if not heartbeat.exists():  # the worker died over another driver's job, before it began this one
                queue.appendleft(job)
                self._replace(slot, error)
                return
            queue.extendleft(reversed(handler.lost(job, error, self._running())))
            self._hire(slot)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from error
        else:
            self.idle.append((slot, actor))
            handler.ended(job, self._running())
        self._idle_deaths = 0
        heartbeat.unlink(missing_ok=True)

    def _replace(self, slot: int, error: Exception) -> None:
        """Hire a worker instead of one that died before it began a job.

        Raises:
            RayUnavailableError: the last `MAX_IDLE_DEATHS` all did, and there is no other.
        """
        self._idle_deaths += 1
        if self._idle_deaths < MAX_IDLE_DEATHS:
            self._hire(slot)
        elif not (self.starting or self.idle or self.busy):
            reason = str(error).strip().splitlines()[0]
            raise RayUnavailableError(f"{self._idle_deaths} workers in a row died before they began a job: {reason}")

    def _deaths(self) -> tuple[type[Exception], ...]:
        """Return how Ray reports a dead worker: by itself, with its node, or killed when memory ran low."""
        errors = self.ray.exceptions
        return errors.RayActorError, errors.NodeDiedError, errors.OutOfMemoryError

    def _dismiss_idle(self) -> None:
        """Let go of workers without work once no job waits; those of the workflow's own head wait for other drivers."""
        if not self.own_head:
            for _, actor in (*self.idle, *self.starting.values()):
                self.ray.kill(actor)
            self.idle.clear()
        self.starting.clear()

    def _hire(self, slot: int) -> None:
        """Start an actor for a slot, or join the one that the workflow's own head has there."""
        execution = self.execution
        options = {"num_cpus": execution.threads, "num_gpus": execution.gpus}
        options |= {"max_restarts": 0, "max_task_retries": 0}
        if self.own_head:  # the name covers resources alone, since a worker loads what each job needs
            kind = digest(execution.threads, execution.gpus, execution.spec)
            options |= {"name": f"worker-{kind}-{slot}", "get_if_exists": True, "lifetime": "detached"}
        actor_class = self.ray.remote(Worker).options(**options)
        actor = actor_class.remote(execution.threads, execution.gpus, execution.spec, replaced=True)
        self.starting[actor.__ray_ready__.remote()] = (slot, actor)

    def _capacity(self) -> int:
        """Return how many workers fit into the cluster.

        Raises:
            RayUnavailableError: not even one does.
        """
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        fit = sum(self.execution.fit(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes)
        if not fit:
            have = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise RayUnavailableError(
                f"no node of the Ray cluster holds a worker of {self.execution.threads} CPUs and "
                f"{self.execution.gpus:g} GPUs (nodes: {have}); change cpus_per_worker or gpus_per_worker"
            )
        return fit

    def _running(self) -> list[Progress]:
        found = []
        for _, _, job, heartbeat in self.busy.values():
            with suppress(OSError, ValueError):
                done, total = map(int, heartbeat.read_text().split())
                found.append(Progress(job, done, total))
        return found
