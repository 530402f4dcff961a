"""Make a batch of avatars with a loaded generator: record each, and keep one failure from failing the others."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from avatargen.config.experiment import RunConfig
from avatargen.io.atomic import is_full, write_text
from avatargen.io.hardware import hardware
from avatargen.preflight.mesh_structure import malformed_meshes
from avatargen.runtime.faults import is_lasting, status_of
from avatargen.runtime.task import DONE_FILE, ERROR_FILE, FINISHED, Task, made_files

OnStep = Callable[[int, int], None]


def make_batch(generator: Any, run: RunConfig, tasks: Sequence[Task], on_step: OnStep | None = None) -> None:
    """Make avatars together and record each, failures included.

    Args:
        generator: see :class:`avatargen.method.generator.Generator`.
        run: the method.
        tasks: avatars whose folders are prepared.
        on_step: receives (steps done, steps in all) of the batch.

    Raises:
        Exception: the disk is full (`is_full`), or the GPU has a lasting fault (`is_lasting`); nothing is recorded of
            the avatars that are not finished.
    """
    tasks = _without_malformed(generator, run, tasks)
    waiting = {task.item.id: task for task in tasks}
    items, folders = [task.item for task in tasks], [task.folder for task in tasks]
    shared = [task.phase1 for task in tasks if task.phase1]
    phase1_folders = shared if len(shared) == len(tasks) else None
    try:
        for avatar in generator.run(run, items, folders, on_step=on_step, phase1_folders=phase1_folders):
            _record(waiting[avatar.id], run, avatar, generator.truncated_by(run, avatar.prompt))
            del waiting[avatar.id]
    except Exception as error:  # safetensors has an exception of its own for a full disk
        if is_full(error) or is_lasting(error):
            raise
        _isolate(generator, run, list(waiting.values()), error, on_step)


def record_failure(generator: Any, run: RunConfig, task: Task, status: str, message: str) -> None:
    """Record an avatar that could not be made: the grey template head, with `status` and `message`."""
    from avatargen.io.avatar_file import Avatar, zero_avatar_tensors  # drivers import this module without torch

    avatar = Avatar(
        id=task.item.id,
        prompt=task.item.prompt,
        seed=task.item.seed,
        method=run.method_name,
        head_id=generator.head.id,
        prior_id=generator.prior.id,
        status=status,
        message=message,
        **zero_avatar_tensors(generator.head.template(1), run.prior.texture_size),
    )
    _record(task, run, avatar)


def _without_malformed(generator: Any, run: RunConfig, tasks: Sequence[Task]) -> Sequence[Task]:
    """Record avatars whose meshes are malformed as failures, and return the others."""
    if run.method.meshes is None:
        return tasks
    failures = malformed_meshes(run.method.meshes, [task.item for task in tasks])
    for task in tasks:
        if task.item in failures:
            record_failure(generator, run, task, "error", failures[task.item])
    return [task for task in tasks if task.item not in failures]


def _isolate(generator: Any, run: RunConfig, tasks: list[Task], error: Exception, on_step: OnStep | None) -> None:
    """Retry the avatars of a failed batch one at a time, so that only those that cause the error are failures.

    If memory ran out, the generator has halved its batches down to one avatar before it gave up.
    """
    status = status_of(error)
    if len(tasks) > 1:
        for task in tasks:
            make_batch(generator, run, [task], on_step)
        return
    advice = _memory_advice() if status == "out_of_memory" else ""
    for task in tasks:
        write_error(task, error)
        record_failure(generator, run, task, status, f"{advice}{type(error).__name__}: {error}"[:500])


def write_error(task: Task, error: Exception) -> None:
    """Write the traceback of an error into the avatar's folder."""
    write_text(task.folder / ERROR_FILE, "".join(traceback.format_exception(error)))


def _record(task: Task, run: RunConfig, avatar: Any, truncated_by: Sequence[str] = ()) -> None:
    """Write the avatar file, then ``done.json``."""
    from avatargen.io.avatar_file import save_avatar  # drivers import this module without torch

    provenance = {**avatar.provenance, "fingerprint": task.fingerprint, "hardware": hardware()}
    save_avatar(task.folder, replace(avatar, provenance=provenance, config=run.model_dump(mode="json")))
    if avatar.status in FINISHED:
        (task.folder / ERROR_FILE).unlink(missing_ok=True)
    facts = {
        "fingerprint": task.fingerprint,
        "status": avatar.status,
        "message": avatar.message,
        "seconds": avatar.cost.get("seconds"),
        "peak_memory_mb": avatar.cost.get("peak_memory_mb"),
        "truncated_by": list(truncated_by),
        "files": made_files(task.folder),
    }
    write_text(task.folder / DONE_FILE, json.dumps(facts, indent=1, sort_keys=True))


def _memory_advice() -> str:
    from avatargen.method.cost import peak_memory_mb  # imports torch, which drivers do without

    return (
        f"one avatar at a time needs more than {peak_memory_mb():.0f} MB; use a machine with more memory, or lower the "
        "prior's texture_size or the method's views. "
    )
