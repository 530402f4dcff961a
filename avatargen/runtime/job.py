"""Run a job of the workflow: end with its parent, write a log, and end with a status and a message."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from avatargen.io.atomic import DiskFullError, is_full
from avatargen.runtime import parent_watch
from avatargen.runtime.progress import Terminal

INTERRUPTED = 130
"""Exit status of a process that Ctrl-C ended, as shells have it."""


@contextmanager
def job(log: str, threads: int = 1) -> Iterator[None]:
    """Run the block as a job of the workflow.

    An exception goes to the log, its message to the terminal too, and ends the process with status 1; Ctrl-C ends it
    with status 130. The process also ends when Snakemake is killed.

    Args:
        log: file that receives all of stderr; stdout stays the terminal's.
        threads: torch threads, if torch is imported already.
    """
    parent_watch.end_with(os.environ.get(parent_watch.PARENT))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 2)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    try:
        yield
    except Exception as error:
        if is_full(error) and not isinstance(error, DiskFullError):
            error = DiskFullError(str(Path.cwd()))
        Terminal().line(f"{_name(log)} FAILED: {type(error).__name__}: {error}\n  log: {log}")
        with suppress(OSError):  # the log may be on the disk that is full
            traceback.print_exception(error)
            print(f"\n{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        print("Interrupted; what is finished stays, run the same command again.", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)


def _name(log: str) -> str:
    """Return the name of a job, from its log: the rule, and list, method and chunk where there are several jobs.

    Example:
        >>> _name("results/a/logs/render/few-full-0000.log"), _name("results/a/logs/collect.log")
        ('render few-full-0000', 'collect')
    """
    path = Path(log)
    return path.stem if path.parent.name == "logs" else f"{path.parent.name} {path.stem}"
