"""End a process when the process that it serves ends, even if that one was killed with SIGKILL."""

from __future__ import annotations

import os
import threading
import time

import psutil

PARENT = "AVATARGEN_PARENT"
PERIOD_S = 0.5


def stamp(pid: int | None = None) -> str:
    """Return host, pid and start time of a process, which tell it from a later process with the same pid.

    Args:
        pid: the process; None is this one.

    Raises:
        psutil.NoSuchProcess: no process has this pid.
    """
    pid = os.getpid() if pid is None else pid
    return f"{os.uname().nodename}|{pid}|{psutil.Process(pid).create_time():.2f}"


def is_alive(process: str) -> bool:
    """Return whether the process with this stamp runs; True for a process on another host, which is out of sight."""
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
    """Return when the process with this stamp has ended, or `stop` is set."""
    while is_alive(process) and not (stop and stop.wait(0)):
        time.sleep(PERIOD_S)


def end_with(process: str | None) -> None:
    """End this process at once, without clean-up, as soon as another one has ended.

    Args:
        process: stamp of the other one; None or empty does nothing.
    """
    if not process:
        return

    def watch() -> None:
        wait_for_end(process)
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
