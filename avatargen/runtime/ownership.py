"""Know which processes run the workflow in a folder, and end one as Ctrl-C does.

A run notes its process and its experiment. The note tells the lock of a killed run from that of a living one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import psutil

from avatargen.io.atomic import write_text
from avatargen.runtime import parent_watch
from avatargen.runtime.worker_pool import HEARTBEATS

STATE = Path(".snakemake/avatargen")
LOCKS = Path(".snakemake/locks")


def clear_after_crash(state: Path = STATE, locks: Path = LOCKS) -> bool:
    """Remove the lock of a Snakemake that was killed; return whether there was one.

    A run notes its process (`note_owner`) and removes the note when it ends. So a note whose process no longer runs on
    this machine means a crash. The lock stays while another experiment runs here, whose lock is in the same folder.

    Args:
        state: folder of the notes.
        locks: Snakemake's folder of locks.
    """
    if not any(state.glob("owner-*")):
        return False
    with guard(state):
        notes = list(state.glob("owner-*"))
        if any(map(_runs, notes)):
            return False
        for file in (*notes, *state.glob(f"{HEARTBEATS.name}/*")):
            file.unlink(missing_ok=True)
        if not notes or not locks.is_dir() or not any(locks.iterdir()):
            return False
        shutil.rmtree(locks, ignore_errors=True)
        locks.mkdir(parents=True, exist_ok=True)
        note_owner(state)
        return True


def running_already(experiment: str, state: Path = STATE) -> str | None:
    """Return a message if another process runs an experiment in this folder; None if none does.

    Args:
        experiment: its name.
        state: folder of the notes.
    """
    for note in state.glob("owner-*"):
        stamp, _, name = _read_note(note).partition("\n")
        if name == experiment and stamp != parent_watch.stamp() and _runs(note):
            host, pid, started = stamp.split("|")
            since = datetime.fromtimestamp(float(started)).strftime("%Y-%m-%d %H:%M")
            return (
                f"'{experiment}' is being run in this folder already: process {pid} on {host}, since {since}. "
                f"Wait until it ends, or end it (kill {pid}); another experiment may run here meanwhile."
            )
    return None


def note_owner(state: Path = STATE, experiment: str = "") -> None:
    """Note that this process runs an experiment here."""
    write_text(_note(state), f"{parent_watch.stamp()}\n{experiment}")


def forget_owner(state: Path = STATE) -> None:
    """Remove the note of this process, whose run has ended in an orderly way."""
    _note(state).unlink(missing_ok=True)


def end_on_sigterm(head: int | None) -> None:
    """Let SIGTERM, which `timeout` and schedulers send, end this process and its jobs as Ctrl-C does.

    Snakemake's own handler waits until the running jobs have ended, which may take hours.

    Args:
        head: process of the Ray head, which ends by itself.
    """

    def end(*_: object) -> None:
        for job in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):  # it ends by itself meanwhile
                for process in (job, *job.children(recursive=True)) if job.pid != head else ():
                    process.send_signal(signal.SIGINT)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


def _note(state: Path) -> Path:
    return state / f"owner-{os.getpid()}"


def _runs(note: Path) -> bool:
    """Return whether the process of a note runs; True if that is not known."""
    try:
        return parent_watch.is_alive(_read_note(note).partition("\n")[0])
    except ValueError:
        return True


def _read_note(note: Path) -> str:
    """Return what a note says; empty if its process has just removed it."""
    try:
        return note.read_text(encoding="utf-8")
    except OSError:
        return ""


@contextmanager
def guard(state: Path) -> Iterator[None]:
    """Let one process at a time run the block."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "guard").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
