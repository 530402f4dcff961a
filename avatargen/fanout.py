"""Fans the avatars of a chunk out to workers: Ray actors, or this process (the `serial` back end).

Only this module and ``rayhead`` import Ray. Where ``RAY_ADDRESS`` names a cluster, that cluster is used and
the driver of a chunk owns its actors. With the workflow's own head, actors are named and detached: they
outlive a chunk and keep the model loaded for the next method, and end with the head.

A failing avatar is recorded and the rest go on. A worker that is killed is restarted by Ray and resumes from
the avatars' checkpoints. A full disk stops the chunk; everything finished stands.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from avatargen import rayhead
from avatargen.config import ROOT, RunConfig
from avatargen.fingerprint import digest, of_avatars, shared_phase1
from avatargen.progress import Board, Made, Running
from avatargen.prompts import PromptItem
from avatargen.worker import FINISHED, GENERATOR, Task, Worker, is_done, read_facts

RESTARTS = 2
POLL_S = 1.0
PHASE1 = ".phase1"
"""Folder of kept phases 1, beside the methods' folders."""
PASSED_ON = ("AVATARGEN_CACHE", "AVATARGEN_FLAME")
"""Variables that say where files lie, which workers of a cluster need as well."""


class TooManyFailuresError(RuntimeError):
    """More avatars of a chunk failed than the experiment permits."""


@dataclass(frozen=True)
class Fanout:
    """How a chunk is spread.

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


def make_chunk(
    run: RunConfig, items: Sequence[PromptItem], avatars: Path, how: Fanout, beside: Iterable[RunConfig] = ()
) -> list[dict[str, Any]]:
    """Make what is missing of a chunk, and list all of it.

    Args:
        run: the method.
        items: the chunk's prompts and seeds.
        avatars: folder of the avatars' folders.
        how: where to run.
        beside: the experiment's methods; phase 1 is made once for those that share it, see `avatargen.shared_start`.

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
        board = Board.shared(avatars.parent / ".board.jsonl", [run] * len(waiting))
        batches = [waiting[i : i + run.batch_size] for i in range(0, len(waiting), run.batch_size)]
        spread = _serial if how.backend == "serial" else _ray
        spread(run, batches, how, board)
    return [row(run, task, avatars / task.item.id) for task in tasks]


def starts_of(
    run: RunConfig, items: Sequence[PromptItem], folder: Path, beside: Iterable[RunConfig]
) -> Sequence[Path | None]:
    """Where the phase 1 of each avatar is kept below `folder` (of a list), if another method has the same."""
    phase1 = shared_phase1(run, beside)
    if phase1 is None:
        return [None] * len(items)
    return [(folder / PHASE1 / print_).absolute() for print_ in of_avatars(phase1, items)]


def row(run: RunConfig, task: Task, folder: Path) -> dict[str, Any]:
    """An avatar's row of the manifest."""
    facts = read_facts(task.folder / "done.json")
    return {
        "id": task.item.id,
        **task.item.facts(),
        "method": run.method_name,
        "status": facts.get("status", "error"),
        "message": facts.get("message", "no record was written"),
        "seconds": facts.get("seconds"),
        "peak_memory_mb": facts.get("peak_memory_mb"),
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


def _serial(run: RunConfig, batches: list[list[Task]], how: Fanout, board: Board) -> None:
    """All batches in this process."""
    worker = Worker(how.threads, how.gpus, how.spec)
    for batch in batches:
        avatars = len(batch)
        worker.steps = lambda done, total, avatars=avatars: board.steps(run, [Running(avatars, done, total)])
        worker.make(run, batch)
        _report(run, batch, board)


def _ray(run: RunConfig, batches: list[list[Task]], how: Fanout, board: Board) -> None:
    """All batches on Ray actors.

    Where the workflow's own Ray did not start (it gives up on a machine that is too busy) and the machine
    holds only one worker anyway, this process is that worker: the results are the same.
    """
    try:
        connection = _connect(how)
    except rayhead.RayUnavailableError as error:
        if os.environ.get("RAY_ADDRESS") or how.gpus or how.cores >= 2 * how.threads:
            raise
        board.say(f"{error}; going on without it, which one worker can")
        _serial(run, batches, how, board)
        return
    crew = _Crew(connection, run, how, board.path.parent)
    try:
        crew.work(run, batches, board)
    finally:
        crew.dismiss()


def _report(run: RunConfig, batch: list[Task], board: Board, others: Sequence[Running] = ()) -> None:
    """Tell the board of a batch that ended, beside `others` that run."""
    facts = [(task.item.prompt, read_facts(task.folder / "done.json")) for task in batch]
    made = [Made(prompt, one.get("status", "error"), one.get("seconds") or 0.0) for prompt, one in facts]
    board.finished(run, made, others)


@dataclass(frozen=True)
class _Ray:
    """A connection: the imported module, and whether actors may outlive the driver."""

    ray: Any
    own_head: bool


def _connect(how: Fanout) -> _Ray:
    """Connect to RAY_ADDRESS, else to the workflow's head, else start a Ray for this process alone."""
    address, token = os.environ.get("RAY_ADDRESS") or "local", None
    head = rayhead.reach(how.head_file) if address == "local" and how.head_file else None
    if head:
        address, token = head.address, head.token
    alone = address == "local"
    os.environ.update(rayhead.environment(secrets.token_hex(24) if alone else token))
    import ray  # reads the environment when it is imported

    options: dict[str, Any] = {"log_to_driver": False, "namespace": "avatargen", "logging_level": "warning"}
    if alone:
        options |= {"num_cpus": max(how.threads, how.cores), "num_gpus": None if how.gpus else 0}
        options |= {"include_dashboard": False, "object_store_memory": rayhead.OBJECT_STORE_BYTES}
    elif not head:
        own = {name: str(Path(os.environ[name]).absolute()) for name in PASSED_ON if os.environ.get(name)}
        options |= {"runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT), **own}}}
    try:
        ray.init(address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise rayhead.RayUnavailableError(_advice(address, error)) from error
    return _Ray(ray, own_head=bool(head))


def _advice(address: str, error: Exception) -> str:
    """What to do about a Ray that cannot be joined."""
    text = f"Ray at '{address}' cannot be joined: {str(error).splitlines()[0]}"
    if "uthenticat" in str(error):
        text += " (set RAY_AUTH_MODE and RAY_AUTH_TOKEN here as they are on the cluster)"
    return text


@dataclass
class _Crew:
    """The actors of a chunk, and what each is doing.

    Other drivers may share the cluster, each with more actors than have room: only those that have started get work,
    and those that are not needed any more make room. Were batches bound to actors that wait for room, two drivers
    could wait for each other for ever.
    """

    connection: _Ray
    run: RunConfig
    how: Fanout
    folder: Path
    name: str = field(default_factory=lambda: secrets.token_hex(4))
    starting: dict[Any, tuple[int, Any]] = field(default_factory=dict)
    idle: list[tuple[int, Any]] = field(default_factory=list)
    busy: dict[Any, tuple[int, Any, list[Task]]] = field(default_factory=dict)

    def work(self, run: RunConfig, batches: list[list[Task]], board: Board) -> None:
        """Make all batches; one that loses its worker for good is tried one avatar at a time.

        Raises:
            RayUnavailableError: no worker fits or starts, or the workflow's own Ray lost its only node.
        """
        ray = self.connection.ray
        queue = deque(batches)
        for slot in range(min(len(batches), self._room())):
            self._hire(slot)
        while queue or self.busy:
            while queue and self.idle:
                slot, actor = self.idle.pop()
                batch = queue.popleft()
                self._heartbeat(slot).unlink(missing_ok=True)  # of the batch before
                self.busy[actor.make.remote(run, batch)] = (slot, actor, batch)
            if not queue:
                self._make_room()
            ready, _ = ray.wait([*self.busy, *self.starting], timeout=POLL_S)
            for reference in ready:
                if reference in self.starting:
                    self._welcome(reference)
                else:
                    self._settle(run, reference, queue, board)
            board.steps(run, self._running())
            if self.connection.own_head and not any(node["Alive"] for node in ray.nodes()):
                raise rayhead.RayUnavailableError(
                    "the workflow's Ray lost its node (raylet died); finished avatars stand, run the same command again"
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
        except ray.exceptions.RayActorError as error:
            if not (self.starting or self.idle or self.busy):
                reason = str(error).splitlines()[0]
                raise rayhead.RayUnavailableError(f"no worker starts: {reason}; finished avatars stand") from error
            return
        self.idle.append((slot, actor))

    def _settle(self, run: RunConfig, reference: Any, queue: deque, board: Board) -> None:
        """A worker has ended its batch, or died."""
        ray = self.connection.ray
        slot, actor, batch = self.busy.pop(reference)
        try:
            ray.get(reference)
            self.idle.append((slot, actor))
        except ray.exceptions.RayActorError as error:
            self._lost(run, slot, batch, queue, error)
        _report(run, [task for task in batch if _is_recorded(task)], board, self._running())

    def _lost(self, run: RunConfig, slot: int, batch: list[Task], queue: deque, error: Exception) -> None:
        """A worker is dead for good: hire another; split its batch, or record a single avatar's failure."""
        actor = self._hire(slot)
        if len(batch) > 1:
            queue.extendleft([task] for task in reversed(batch) if not _is_recorded(task))
            return
        message = f"the worker died {RESTARTS + 1} times: {str(error).splitlines()[0]}"
        self.connection.ray.get(actor.fail.remote(run, batch[0], "error", message))

    def _make_room(self) -> None:
        """Nothing waits: let go of workers without work. Those of the workflow's own head wait for the next chunk."""
        if not self.connection.own_head:
            for _, actor in (*self.idle, *self.starting.values()):
                self.connection.ray.kill(actor)
            self.idle.clear()
        self.starting.clear()

    def _hire(self, slot: int) -> Any:
        """An actor for a slot, the one that is there already or a new one, which `starting` then holds."""
        how = self.how
        options = {"num_cpus": how.threads, "num_gpus": how.gpus, "max_restarts": RESTARTS}
        options |= {"max_task_retries": RESTARTS}
        if self.connection.own_head:
            kept = digest(how.threads, how.gpus, how.spec)  # not of the run: a worker loads what each one asks for
            options |= {"name": f"worker-{kept}-{slot}", "get_if_exists": True, "lifetime": "detached"}
        hired = self.connection.ray.remote(Worker).options(**options)
        actor = hired.remote(how.threads, how.gpus, how.spec, self._heartbeat(slot))
        self.starting[actor.__ray_ready__.remote()] = (slot, actor)
        return actor

    def _room(self) -> int:
        """How many workers fit into the cluster.

        Raises:
            RayUnavailableError: not even one does.
        """
        nodes = [node["Resources"] for node in self.connection.ray.nodes() if node["Alive"]]
        room = sum(int(min(_fit(node, "CPU", self.how.threads), _fit(node, "GPU", self.how.gpus))) for node in nodes)
        if not room:
            have = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise rayhead.RayUnavailableError(
                f"no node of the Ray cluster holds a worker of {self.how.threads} CPUs and "
                f"{self.how.gpus:g} GPUs (nodes: {have}); change cpus_per_worker or gpus_per_worker"
            )
        return room

    def _heartbeat(self, slot: int) -> Path:
        """Where the worker of a slot says how far it is; workers of the workflow's own head outlive a crew."""
        owner = "" if self.connection.own_head else f"{self.name}-"
        return (self.folder / f".steps-{owner}{slot}").absolute()

    def _running(self) -> list[Running]:
        """How far the batches are that have begun."""
        found = []
        for slot, _, batch in self.busy.values():
            with suppress(OSError, ValueError):
                done, total = map(int, self._heartbeat(slot).read_text().split())
                found.append(Running(len(batch), done, total))
        return found


def _is_recorded(task: Task) -> bool:
    """Whether an avatar ended in this run, well or not."""
    facts = read_facts(task.folder / "done.json")
    return facts.get("fingerprint") == task.fingerprint and facts.get("status") in (
        *FINISHED,
        "error",
        "out_of_memory",
    )


def _fit(node: dict[str, float], kind: str, need: int | float) -> float:
    return node.get(kind, 0.0) // need if need else float("inf")
