"""A class that is loaded and called: it logs (process, word) and does what its word says."""

import os
import signal
import time
from pathlib import Path

from avatargen.config.errors import InputError


class FakeCalls:
    """Logs that it is loaded and each call.

    Words: ``wrong`` raises; ``die once`` and ``die always`` kill the process, the latter after a second; ``linger``
    takes 0.2 s; ``meet`` waits until two processes have loaded it.
    """

    def __init__(self, log: Path, threads: int = 1):
        _write(log, "loaded")

    def __call__(self, log: Path, word: str) -> None:
        if word == "wrong":
            raise InputError(["the word is wrong"])
        if word == "linger":
            time.sleep(0.2)
        while word == "meet" and log.read_text().count("loaded") < 2:
            time.sleep(0.05)
        first = word not in log.read_text()
        _write(log, word)
        if word == "die always" or (word == "die once" and first):
            time.sleep(1 if word == "die always" else 0)
            os.kill(os.getpid(), signal.SIGKILL)


class SeenGpus:
    """Logs the GPUs that its process may use, and waits until `count` processes have."""

    def __call__(self, log: Path, count: int) -> None:
        _write(log, os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
        while len(log.read_text().splitlines()) < count:
            time.sleep(0.05)


def read_log(log: Path) -> list[tuple[str, str]]:
    """Return (process, word) of each line."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [tuple(line.split(" ", 1)) for line in lines]


def _write(log: Path, word: str) -> None:
    with log.open("a") as file:
        file.write(f"{os.getpid()} {word}\n")
