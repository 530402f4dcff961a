"""Something that is loaded and called: it leaves a line for each, and does what its word says."""

import os
import signal
from pathlib import Path

from avatargen.config.errors import InputError


class Noting:
    """Notes its loading and its calls: (process, word)."""

    def __init__(self, log: Path, threads: int = 1):
        self._note(log, "loaded")

    def __call__(self, log: Path, word: str) -> None:
        if word == "wrong":
            raise InputError(["the word is wrong"])
        if word == "die always" or (word == "die once" and word not in log.read_text()):
            self._note(log, word)
            os.kill(os.getpid(), signal.SIGKILL)
        self._note(log, word)

    @staticmethod
    def _note(log: Path, word: str) -> None:
        with log.open("a") as file:
            file.write(f"{os.getpid()} {word}\n")
