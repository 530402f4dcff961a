"""What one worker does: makes a batch of avatars, records each, and lets one failure stay one failure.

The same class runs as a Ray actor and, in the serial back end, in the driver's process. The work folder of
an avatar holds ``work.json`` (the fingerprint its checkpoints belong to), the generator's checkpoints while
it runs, then the avatar file, and last ``done.json``.

What evaluation keeps networks loaded for, it calls too: see :mod:`avatargen.runtime.remote_calls`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from avatargen.config.errors import InputError
from avatargen.config.experiment import RunConfig
from avatargen.config.prompts import PromptItem
from avatargen.io.atomic import DiskFullError, is_full, read_json, write_text
from avatargen.runtime.truncated_prompts import notice_cuts

GENERATOR = "avatargen.method.generator:Generator"
FINISHED = ("ok", "diverged")
MEMORY = ("out of memory", "failed to allocate", "alloc_failed")
"""How torch, Warp and cuBLAS say that there is not enough memory."""
LASTING = (
    *("illegal memory access", "misaligned address", "illegal instruction", "device-side assert", "launch failure"),
    *("launch timed out", "ecc error", "cudnn_status_execution_failed"),
)
"""Faults of a GPU after which a process cannot use it any more, as CUDA says them."""
HEARTBEAT_S = 1.0
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Task:
    """One avatar to make: what, where, and the fingerprint it will carry.

    Attributes:
        start: where its phase 1 is kept, if methods share it; see `avatargen.method.phase1_cache`.
    """

    item: PromptItem
    folder: Path
    fingerprint: str
    start: Path | None = None


@dataclass
class Worker:
    """Holds a generator (loaded at first use) and makes batches with it.

    Attributes:
        threads: torch threads, fixed since results depend on them.
        gpus: share of a GPU; 0 keeps to the CPU.
        spec: ``module:Class`` of the generator.
        steps: told (steps done, steps in all) of the running batch: a function, or a file to write.
        replaced: whether another process takes this one's place if it ends, as Ray's actors have it.
    """

    threads: int
    gpus: float = 0.0
    spec: str = GENERATOR
    steps: OnStep | Path | None = None
    replaced: bool = False
    _loaded: dict[str, tuple[tuple[Any, ...], Any]] = field(default_factory=dict)

    def make(self, run: RunConfig, tasks: list[Task]) -> int:
        """Make avatars, all but those that are done. Returns how many it worked on.

        Raises:
            DiskFullError: no space left; finished avatars and checkpoints stand.
            InputError: there is no GPU where one was asked for, or the generator has nothing to load.
        """
        waiting = [task for task in tasks if not is_done(task)]
        try:
            for task in waiting:
                prepare(task)
                (task.folder / "error.txt").unlink(missing_ok=True)  # of an attempt before
            if waiting:
                self._make(run, waiting)
            self._give_back_memory()
        except Exception as error:  # safetensors has an exception of its own
            if is_full(error):
                raise DiskFullError(str(tasks[0].folder.parent)) from error
            if is_lost(error) and self.replaced:
                self._end(waiting, error)
            raise
        return len(waiting)

    def call(self, spec: str, loading: tuple[Any, ...], arguments: tuple[Any, ...]) -> None:
        """RemoteCall what ``module:name`` makes of `loading` with `arguments`, in the place of a generator.

        It is kept as a generator is: loaded networks serve all calls, and all drivers, that load the same.
        """
        try:
            self._load(spec, loading, alone=False)(*arguments)
        except Exception as error:
            if is_lost(error) and self.replaced:
                self._end([], error)
            raise

    def fail(self, run: RunConfig, task: Task, status: str, message: str) -> None:
        """Record that an avatar could not be made: a template avatar with a status."""
        generator = self._generator(run)
        prepare(task)
        record(task, run, failed_avatar(generator, run, task.item, status, message))

    def _make(self, run: RunConfig, tasks: list[Task]) -> None:
        generator = self._generator(run)
        waiting = {task.item.id: task for task in tasks}
        items, folders = [task.item for task in tasks], [task.folder for task in tasks]
        try:
            with notice_cuts() as noticed:
                for avatar in generator.run(run, items, folders, self._shared(run, tasks)):
                    named = {f"prior {generator.prior.id}": f"prior '{run.prior_name}'"}
                    truncated_by = [named.get(reader, reader) for reader in noticed.of(avatar.prompt)]
                    record(waiting.pop(avatar.id), run, avatar, truncated_by)
        except Exception as error:
            if is_full(error) or is_lost(error):
                raise
            self._isolate(run, list(waiting.values()), error)

    def _isolate(self, run: RunConfig, tasks: list[Task], error: Exception) -> None:
        """A batch failed: try its avatars one at a time, so that only the cause is recorded as failed.

        Where memory ran out all have failed: one avatar is padded to the batch's size, and needs as much.
        """
        status = _status(error)
        if len(tasks) > 1 and status != "out_of_memory":
            for task in tasks:
                self._make(run, [task])
            return
        message = f"{_hint(run) if status == 'out_of_memory' else ''}{type(error).__name__}: {error}"[:500]
        for task in tasks:
            write_text(task.folder / "error.txt", "".join(traceback.format_exception(error)))
            self.fail(run, task, status, message)

    def _generator(self, run: RunConfig) -> Any:
        return self._load(f"{self.spec}.load", (run.head, run.renderer, run.prior, self.threads), alone=True)

    def _load(self, spec: str, arguments: tuple[Any, ...], alone: bool) -> Any:
        """What ``module:name`` makes of `arguments`, kept for the next time: one for each `spec`, a generator `alone`.

        A generator needs a batch's memory; what is called can stay beside each other, since drivers take turns.
        """
        if self._loaded.get(spec, (None, None))[0] != arguments:
            if not self.gpus:
                os.environ["CUDA_VISIBLE_DEVICES"] = ""
            elif alone:
                self._find_gpu()
            for other in [*self._loaded] if alone else [spec, f"{self.spec}.load"]:
                self._loaded.pop(other, None)  # before the next one takes memory
            module, _, name = spec.partition(":")
            self._loaded[spec] = (arguments, attrgetter(name)(import_module(module))(*arguments))
        return self._loaded[spec][1]

    def _end(self, tasks: list[Task], error: Exception) -> None:
        """End the process, in which all that is asked of the GPU fails from now on; the next one goes on."""
        try:
            for task in tasks:
                if not is_done(task):
                    write_text(task.folder / "error.txt", "".join(traceback.format_exception(error)))
        finally:
            os._exit(1)

    def _find_gpu(self) -> None:
        """Torch must see the GPU that the worker was given: with too old a driver all would run on the CPU, unnoticed.

        Raises:
            InputError: it sees none.
        """
        import torch  # see `record`

        if not torch.cuda.is_available():
            raise InputError(
                [
                    f"gpus_per_worker: got {self.gpus:g}, but torch {torch.__version__} finds no GPU on "
                    f"{os.uname().nodename}; expected an NVIDIA driver that is new enough for it (see "
                    "nvidia-smi), or gpus_per_worker: 0"
                ]
            )

    def _give_back_memory(self) -> None:
        """What torch holds of a GPU without using it: others, who render what was made here, may need it."""
        torch = sys.modules.get("torch")
        if self.gpus and torch and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def _shared(self, run: RunConfig, tasks: list[Task]) -> OnStep | None:
        """Begin where another method ended phase 1, or keep this one's: what the generator calls does that."""
        told, starts = self._on_step(), [task.start for task in tasks if task.start]
        if len(starts) < len(tasks):
            return told
        from avatargen.method import phase1_cache  # imports torch, which a driver does without

        folders, last = [task.folder for task in tasks], run.method.phase1_steps
        phase1_cache.begin(folders, starts)

        def on_step(done: int, total: int) -> None:
            if done == last + 1:  # the checkpoint at the end of phase 1 is written after that step was told
                phase1_cache.keep(folders, starts, last)
            if told:
                told(done, total)

        return on_step

    def _on_step(self) -> OnStep | None:
        """What the generator calls; a file is written at most once a second."""
        if not isinstance(self.steps, Path):
            return self.steps
        last = 0.0

        def on_step(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > HEARTBEAT_S:
                last = time.monotonic()
                write_text(self.steps, f"{done} {total}")

        return on_step


def is_done(task: Task) -> bool:
    """Whether an avatar is there, made by the present code and configuration, and not to be tried again."""
    facts = read_json(task.folder / "done.json")
    current = facts.get("fingerprint") == task.fingerprint and facts.get("status") in FINISHED
    return current and (task.folder / "avatar.json").is_file()


def prepare(task: Task) -> None:
    """A folder for an avatar, without checkpoints of another fingerprint.

    Only a folder that was made here, which ``work.json`` tells, is ever emptied.
    """
    work = task.folder / "work.json"
    if work.is_file() and read_json(work).get("fingerprint") != task.fingerprint:
        shutil.rmtree(task.folder)
    (task.folder / "done.json").unlink(missing_ok=True)
    write_text(task.folder / "work.json", json.dumps({"fingerprint": task.fingerprint}))


def record(task: Task, run: RunConfig, avatar: Any, truncated_by: Sequence[str] = ()) -> None:
    """Write an avatar, then what says that it is done, and who did not read its prompt to the end."""
    from avatargen.io.avatar_file import save_avatar  # imports torch, which a driver does without

    provenance = {**avatar.provenance, "fingerprint": task.fingerprint}
    config = run.model_dump(mode="json")
    save_avatar(task.folder, replace(avatar, provenance=provenance, config=config))
    if avatar.status in FINISHED:
        (task.folder / "error.txt").unlink(missing_ok=True)
    facts = {
        "fingerprint": task.fingerprint,
        "status": avatar.status,
        "message": avatar.message,
        "seconds": avatar.cost.get("seconds"),
        "peak_memory_mb": avatar.cost.get("peak_memory_mb"),
        "truncated_by": list(truncated_by),
    }
    write_text(task.folder / "done.json", json.dumps(facts, indent=1, sort_keys=True))


def failed_avatar(generator: Any, run: RunConfig, item: PromptItem, status: str, message: str) -> Any:
    """A template avatar, grey, that says what went wrong."""
    from avatargen.io.avatar_file import Avatar, zero_avatar_tensors  # see `record`

    return Avatar(
        id=item.id,
        prompt=item.prompt,
        seed=item.seed,
        method=run.method_name,
        head_id=generator.head.id,
        prior_id=generator.prior.id,
        status=status,
        message=message,
        **zero_avatar_tensors(generator.head.template(1), run.prior.texture_size),
    )


def _status(error: Exception) -> str:
    """Which status an error stands for."""
    memory = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
    said = any(text in str(error).lower() for text in MEMORY)
    return "out_of_memory" if memory or said else "error"


def is_lost(error: Exception | str) -> bool:
    """Whether it is, or names, one of the faults that are LASTING."""
    return any(text in str(error).lower() for text in LASTING)


def cause(told: str) -> str:
    """The line of an error's text that names a fault of the GPU, after which torch adds advice; else the last one."""
    lines = told.strip().splitlines()
    return next(filter(is_lost, lines), lines[-1])


def _hint(run: RunConfig) -> str:
    """How much memory a batch had got when it was too much, and what to change."""
    from avatargen.method.cost import peak_memory_mb  # see `record`

    return f"batch_size {run.batch_size} got to {peak_memory_mb():.0f} MB; expected a lower batch_size to fit. "
