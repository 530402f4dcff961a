"""Workers and the jobs that are spread over them: Ray actors that keep what they have loaded.

Only this module and ``rayhead`` import Ray. Where ``RAY_ADDRESS`` names a cluster, that cluster is used and
a driver owns its actors. With the workflow's own head, actors are named and detached: they outlive a driver
and keep the networks loaded for the next one, and end with the head.

A worker that is killed is restarted by Ray and is given its job again.
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
from typing import Any, Generic, Literal, TypeVar

from avatargen.config.experiment import RunConfig
from avatargen.config.places import ROOT
from avatargen.io.content_hash import digest
from avatargen.runtime import ray_head
from avatargen.runtime.worker import GENERATOR, Worker

RESTARTS = 2
POLL_S = 1.0
PLACES = ("AVATARGEN_CACHE", "AVATARGEN_FLAME", "HF_HOME", "HF_HUB_CACHE")
"""Variables that say where files lie, which workers of a cluster need as well."""
PASSED_ON = ("HF_HUB_OFFLINE",)
"""Others that they need."""

Job = TypeVar("Job")


@dataclass(frozen=True)
class ExecutionSettings:
    """How work is spread.

    Attributes:
        backend: `ray` or `serial`.
        threads: torch threads, and Ray CPUs, of a worker; gpus: its share of a GPU.
        cores: of this machine that a Ray of one's own may use: what Snakemake, and so a cluster's scheduler, gave.
        head_file: file of the workflow's own Ray head; None looks at RAY_ADDRESS, else starts a local Ray.
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
        """How a job of the workflow spreads the avatars of a method."""
        head = os.environ.get(ray_head.HEAD_FILE)
        return cls(backend, run.threads, gpus, cores, Path(head) if head else None)


class JobHandler(ABC, Generic[Job]):
    """One kind of work: how a worker is told a job, and what comes of it."""

    @abstractmethod
    def send(self, actor: Any, job: Job) -> Any:
        """Give an actor a job. Returns Ray's reference to its end."""

    @abstractmethod
    def ended(self, job: Job, others: Sequence[tuple[Job, int, int]]) -> None:
        """A job has ended, `others` run: each with how many of how many steps it has done."""

    @abstractmethod
    def lost(self, job: Job, error: Exception) -> list[Job]:
        """A job's worker died each time it was tried. Returns what to do instead, before all else."""

    def look(self, running: Sequence[tuple[Job, int, int]]) -> None:
        """A second has passed."""


def has_cluster() -> bool:
    """Whether the user points to a Ray cluster."""
    return os.environ.get("RAY_ADDRESS", "local") not in ("", "local")


@dataclass(frozen=True)
class Connection:
    """Ray, joined: the imported module, and whether actors may outlive the driver."""

    ray: Any
    own_head: bool


def connect(execution: ExecutionSettings, timeout_s: int | float = ray_head.START_TIMEOUT_S) -> Connection:
    """Connect to RAY_ADDRESS, else to the workflow's head, else start a Ray for this process alone.

    Args:
        timeout_s: how long the workflow's head may take to start.

    Raises:
        RayUnavailableError: Ray cannot be reached; says what to do.
    """
    address, token = os.environ.get("RAY_ADDRESS") or "local", None
    head = ray_head.reach(execution.head_file, timeout_s) if address == "local" and execution.head_file else None
    if head:
        address, token = head.address, head.token
    alone = address == "local"
    os.environ.update(ray_head.environment(secrets.token_hex(24) if alone else token))
    import ray  # reads the environment when it is imported

    options: dict[str, Any] = {"log_to_driver": False, "namespace": "avatargen", "logging_level": "warning"}
    if alone:
        options |= {"num_cpus": max(execution.threads, execution.cores), "num_gpus": None if execution.gpus else 0}
        options |= {"include_dashboard": False, "object_store_memory": ray_head.OBJECT_STORE_BYTES}
    elif not head:
        own = {name: str(Path(os.environ[name]).absolute()) for name in PLACES if os.environ.get(name)}
        own |= {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
        options |= {"runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT), **own}}}
    try:
        ray.init(address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ray_head.RayUnavailableError(_advice(address, error)) from error
    return Connection(ray, own_head=bool(head))


def _advice(address: str, error: Exception) -> str:
    """What to do about a Ray that cannot be joined."""
    text = f"Ray at '{address}' cannot be joined: {str(error).splitlines()[0]}"
    if "uthenticat" in str(error):
        text += " (set RAY_AUTH_MODE and RAY_AUTH_TOKEN here as they are on the cluster)"
    return text


@dataclass
class WorkerPool(Generic[Job]):
    """A driver's actors, and what each is doing.

    Other drivers may share the cluster, each with more actors than have room: only those that have started get work,
    and those that are not needed any more make room. Were jobs bound to actors that wait for room, two drivers could
    wait for each other for ever.

    Attributes:
        folder: where workers say how far they are.
        each: jobs that make another worker worth its start.
    """

    connection: Connection
    execution: ExecutionSettings
    folder: Path
    each: int = 1
    name: str = field(default_factory=lambda: secrets.token_hex(4))
    starting: dict[Any, tuple[int, Any]] = field(default_factory=dict)
    idle: list[tuple[int, Any]] = field(default_factory=list)
    busy: dict[Any, tuple[int, Any, Job]] = field(default_factory=dict)

    def work(self, jobs: Sequence[Job], handler: JobHandler[Job]) -> None:
        """Do all jobs.

        Raises:
            RayUnavailableError: no worker fits or starts, or the workflow's own Ray lost its only node.
            Exception: what a job raised; others that run go on to their end where actors are kept.
        """
        ray = self.connection.ray
        queue = deque(jobs)
        for slot in range(min(math.ceil(len(queue) / self.each), self._room())):
            self._hire(slot)
        while queue or self.busy:
            while queue and self.idle:
                slot, actor = self.idle.pop()
                job = queue.popleft()
                self._heartbeat(slot).unlink(missing_ok=True)  # of the job before
                self.busy[handler.send(actor, job)] = (slot, actor, job)
            if not queue:
                self._make_room()
            ready, _ = ray.wait([*self.busy, *self.starting], timeout=POLL_S)
            for reference in ready:
                if reference in self.starting:
                    self._welcome(reference)
                else:
                    self._settle(reference, queue, handler)
            handler.look(self._running())
            if self.connection.own_head and not any(node["Alive"] for node in ray.nodes()):
                raise ray_head.RayUnavailableError(
                    "the workflow's Ray lost its node (raylet died); what is finished stands, run the same command "
                    "again"
                )

    def dismiss(self) -> None:
        """Leave the cluster. Detached actors stay with the head; others end with this connection."""
        self.connection.ray.shutdown()
        if not self.connection.own_head:
            for file in self.folder.glob(f".steps-{self.name}-*"):
                file.unlink(missing_ok=True)

    def _welcome(self, reference: Any) -> None:
        """A worker has started, or cannot.

        Raises:
            RayUnavailableError: it cannot, and there is no other.
        """
        ray = self.connection.ray
        slot, actor = self.starting.pop(reference)
        try:
            ray.get(reference)
        except (*self._deaths(), ray.exceptions.ActorUnschedulableError) as error:
            if not (self.starting or self.idle or self.busy):
                reason = str(error).splitlines()[0]
                raise ray_head.RayUnavailableError(f"no worker starts: {reason}; what is finished stands") from error
            return
        self.idle.append((slot, actor))

    def _settle(self, reference: Any, queue: deque[Job], handler: JobHandler[Job]) -> None:
        """A worker has ended its job, or died for good: then another is hired."""
        ray = self.connection.ray
        slot, actor, job = self.busy.pop(reference)
        try:
            ray.get(reference)
            self.idle.append((slot, actor))
        except self._deaths() as error:
            queue.extendleft(reversed(handler.lost(job, error)))
            self._hire(slot)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from error
        handler.ended(job, self._running())

    def _deaths(self) -> tuple[type[Exception], ...]:
        """How Ray says that a worker is dead for good: by itself, with its node, or by Ray's own watch on memory."""
        errors = self.connection.ray.exceptions
        return errors.RayActorError, errors.NodeDiedError, errors.OutOfMemoryError

    def _make_room(self) -> None:
        """Nothing waits: let go of workers without work. Those of the workflow's own head wait for the next driver."""
        if not self.connection.own_head:
            for _, actor in (*self.idle, *self.starting.values()):
                self.connection.ray.kill(actor)
            self.idle.clear()
        self.starting.clear()

    def _hire(self, slot: int) -> None:
        """An actor for a slot, the one that is there already or a new one, which `starting` then holds."""
        execution = self.execution
        options = {"num_cpus": execution.threads, "num_gpus": execution.gpus, "max_restarts": RESTARTS}
        options |= {"max_task_retries": RESTARTS}
        if self.connection.own_head:
            kept = digest(
                execution.threads, execution.gpus, execution.spec
            )  # not of the work: a worker loads what each job asks for
            options |= {"name": f"worker-{kept}-{slot}", "get_if_exists": True, "lifetime": "detached"}
        hired = self.connection.ray.remote(Worker).options(**options)
        actor = hired.remote(execution.threads, execution.gpus, execution.spec, self._heartbeat(slot), True)
        self.starting[actor.__ray_ready__.remote()] = (slot, actor)

    def _room(self) -> int:
        """How many workers fit into the cluster.

        Raises:
            RayUnavailableError: not even one does.
        """
        nodes = [node["Resources"] for node in self.connection.ray.nodes() if node["Alive"]]
        room = sum(
            int(min(_fit(node, "CPU", self.execution.threads), _fit(node, "GPU", self.execution.gpus)))
            for node in nodes
        )
        if not room:
            have = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise ray_head.RayUnavailableError(
                f"no node of the Ray cluster holds a worker of {self.execution.threads} CPUs and "
                f"{self.execution.gpus:g} GPUs (nodes: {have}); change cpus_per_worker or gpus_per_worker"
            )
        return room

    def _heartbeat(self, slot: int) -> Path:
        """Where the worker of a slot says how far it is; workers of the workflow's own head outlive a pool."""
        owner = "" if self.connection.own_head else f"{self.name}-"
        return (self.folder / f".steps-{owner}{slot}").absolute()

    def _running(self) -> list[tuple[Job, int, int]]:
        """How far the jobs are that have begun: steps done, and in all."""
        found = []
        for slot, _, job in self.busy.values():
            with suppress(OSError, ValueError):
                done, total = map(int, self._heartbeat(slot).read_text().split())
                found.append((job, done, total))
        return found


def _fit(node: dict[str, float], kind: str, need: int | float) -> float:
    return node.get(kind, 0.0) // need if need else float("inf")
