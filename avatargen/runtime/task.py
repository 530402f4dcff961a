"""An avatar to make, and its folder.

The folder holds ``work.json`` (the fingerprint that checkpoints belong to), the generator's checkpoints while it runs,
then the avatar file, and last ``done.json``. A failed avatar also has ``error.txt``.

A driver imports this module, so it imports no torch.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avatargen.config.prompts import PromptItem
from avatargen.io.atomic import read_json, write_text
from avatargen.io.whole_files import is_whole

FINISHED = ("ok", "diverged")
"""Statuses of avatars that are not tried again."""
REQUIRED = ("avatar.json", "avatar.safetensors")
MADE = (*REQUIRED, "texture.png", "frames.npz", "history.npz")
"""Files that generation writes and no later stage makes again; a damaged one makes the avatar useless."""
DONE_FILE, WORK_FILE, ERROR_FILE = "done.json", "work.json", "error.txt"


@dataclass(frozen=True)
class Task:
    """One avatar to make.

    Attributes:
        item: prompt and seed.
        folder: folder of the avatar's files, absolute.
        fingerprint: fingerprint that the avatar will carry.
        phase1: folder of the phase 1 that several methods share; None if no other method shares it.
    """

    item: PromptItem
    folder: Path
    fingerprint: str
    phase1: Path | None = None


def outcome(task: Task) -> dict[str, Any]:
    """Return what ``done.json`` says; an empty mapping if it is missing or belongs to another fingerprint."""
    facts = read_json(task.folder / DONE_FILE)
    return facts if facts.get("fingerprint") == task.fingerprint else {}


def is_done(task: Task) -> bool:
    """Return whether the avatar exists whole, made with the present code and settings, and is not to be tried again."""
    return outcome(task).get("status") in FINISHED and is_sound(task.folder, task.fingerprint)


def is_sound(folder: Path, fingerprint: str) -> bool:
    """Return whether a folder holds a whole avatar with this fingerprint: all files that ``done.json`` states."""
    files = read_json(folder / DONE_FILE).get("files") or made_files(folder)
    stated = read_json(folder / "avatar.json").get("provenance", {})
    whole = all(is_whole(folder / name) for name in {*REQUIRED, *files})
    return whole and stated.get("fingerprint") == fingerprint


def made_files(folder: Path) -> list[str]:
    """Return the names of the files of `MADE` that a folder holds."""
    return [name for name in MADE if (folder / name).exists()]


def has_phase1(task: Task) -> bool:
    """Return whether another method has made the avatar's phase 1."""
    return task.phase1 is not None and task.phase1.is_dir()


def is_recorded(task: Task) -> bool:
    """Return whether an outcome is recorded, be it a failure."""
    return bool(outcome(task))


def prepare(task: Task) -> None:
    """Create the avatar's folder, without an outcome and without the checkpoints of another fingerprint.

    A folder without ``work.json`` was not made by this project and is never emptied.
    """
    work = task.folder / WORK_FILE
    if work.is_file() and read_json(work).get("fingerprint") != task.fingerprint:
        shutil.rmtree(task.folder)
    (task.folder / DONE_FILE).unlink(missing_ok=True)
    write_text(work, json.dumps({"fingerprint": task.fingerprint}))
