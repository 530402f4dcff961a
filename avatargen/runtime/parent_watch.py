"""Processes that end when the process they serve does, even if that one was killed with SIGKILL."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import psutil

PARENT = "AVATARGEN_PARENT"
PERIOD_S = 0.5


def stamp(pid: int | None = None) -> str:
    """What tells a process from a later one with the same pid: host, pid and time of start.

    Raises:
        psutil.NoSuchProcess: there is none with this pid.
    """
    pid = os.getpid() if pid is None else pid
    return f"{os.uname().nodename}|{pid}|{psutil.Process(pid).create_time():.2f}"


def is_alive(process: str) -> bool:
    """Whether the process with this stamp still runs; True for one on another host, which cannot be seen."""
    host, pid, started = process.split("|")
    if host != os.uname().nodename:
        return True
    try:
        found = psutil.Process(int(pid))
        same = abs(found.create_time() - float(started)) < 1.0
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(process: str, stop: threading.Event | None = None) -> None:
    """Return when the process with this stamp has ended, or when `stop` is set."""
    while is_alive(process) and not (stop and stop.wait(0)):
        time.sleep(PERIOD_S)


def end_with(process: str | None, act: Callable[[], None] | None = None) -> None:
    """From now on, end this process (at once, without clean-up) when another has ended.

    Args:
        process: its stamp; None or empty does nothing.
        act: called before the end.
    """
    if not process:
        return

    def watch() -> None:
        wait_for_end(process)
        if act:
            act()
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
