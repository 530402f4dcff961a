"""What every job of the workflow does around its work: end with its parent, log, and fail with a message."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from avatargen.config.places import ROOT
from avatargen.io.atomic import DiskFullError, is_full, write_text
from avatargen.runtime import parent_watch

PACKAGES = ("torch", "warp-lang", "anny", "diffusers", "transformers", "open_clip_torch", "snakemake", "ray")
INTERRUPTED = 130
"""Exit status of what Ctrl-C ended, as shells have it."""


@contextmanager
def job(log: str, threads: int = 1) -> Iterator[None]:
    """Run a job's work, with as many threads as it was given.

    The log gets everything that goes to stderr; stdout stays the terminal's. An error is written in full to
    the log (which Snakemake shows) and ends the process with status 1; Ctrl-C is no error. A killed Snakemake
    ends it too.
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
        _tell(error)
        sys.stderr.flush()
        sys.exit(1)
    except KeyboardInterrupt:
        print("Interrupted; what is finished stands, run the same command again.", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a manifest."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line]


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a manifest: JSON lines, atomically."""
    write_text(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def versions() -> dict[str, str]:
    """Of the code, the packages that results depend on, and the machine."""
    found = {"code": _commit(), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}


def _commit() -> str:
    """The checkout's commit, with a mark where it was changed since."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _tell(error: Exception) -> None:
    """The traceback into the log, and what matters last."""
    print("".join(traceback.format_exception(error)), file=sys.stderr)
    print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
