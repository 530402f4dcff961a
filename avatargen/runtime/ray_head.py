"""Run a Ray head for one run of the workflow: a small process that ends when its parent does.

The Snakefile's ``onstart`` starts ``python -m avatargen.runtime.ray_head`` (`spawn`). It writes its address into a file
that only the user can read. It ignores SIGINT, so Ctrl-C reaches the drivers first. It watches its parent, so killing
Snakemake with SIGKILL leaves no process behind.

The head requires a token that is made for this run and stays out of ``~/.ray``: other users of the machine cannot
submit work, and other clusters of the same user are not affected.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from avatargen.config.places import ROOT
from avatargen.io.atomic import replacing
from avatargen.runtime import parent_watch

OBJECT_STORE_BYTES = 80 * 2**20
START_TIMEOUT_S = 240.0
START_ATTEMPTS = 3
CONNECT_ATTEMPTS = 20
"""Tries to reach the workflow's own head, as many as Ray's; one takes half a minute where nothing answers."""
TRIES_OF_RAY = "RAY_gcs_server_port_wait_time_s"
"""Variable that states how often ``ray.init`` itself tries."""
HEAD_FILE = "AVATARGEN_RAY_HEAD"
AGAIN = "what is finished stays, run the same command again"


class RayUnavailableError(RuntimeError):
    """Ray cannot be reached; the message says what to do."""


@dataclass(frozen=True)
class Head:
    """What a driver needs to join a head.

    Attributes:
        address: address of the head.
        token: token that it requires.
    """

    address: str
    token: str


def spawn(file: Path, cpus: int, with_gpus: bool, log: Path) -> subprocess.Popen[bytes]:
    """Start a head that ends with this process. Return at once; `reach` waits until the head is ready.

    Args:
        file: file that the head writes for `reach`.
        cpus: cores that Ray may give to workers.
        with_gpus: let Ray find the machine's GPUs and give them to workers.
        log: file for the head's output.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    for old in (file, _failure(file), _process(file)):
        old.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "avatargen.runtime.ray_head", "--file", str(file), "--cpus", str(cpus)]
    command += ["--parent", parent_watch.stamp(), *(["--gpus"] if with_gpus else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as output:
        head = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    with replacing(_process(file)) as partial:
        partial.write_text(parent_watch.stamp(head.pid), encoding="utf-8")
    return head


def reach(file: Path, timeout_s: int | float = START_TIMEOUT_S) -> Head:
    """Wait for the head that writes `file` and return how to join it.

    Args:
        file: see `spawn`.
        timeout_s: longest wait, in seconds.

    Raises:
        RayUnavailableError: the head could not start, or not in time, or has ended.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        check(file)
        try:
            return Head(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            time.sleep(0.1)
    raise RayUnavailableError(
        f"Ray did not start within {timeout_s:.0f} s; see the log beside {file} "
        "('--config backend=serial' runs without it)"
    )


def check(file: Path) -> None:
    """Check that the head of a file starts or runs.

    Args:
        file: see `spawn`; a head without a note of its process may run.

    Raises:
        RayUnavailableError: the head could not start, or has ended.
    """
    note = _process(file)
    runs = not note.is_file() or parent_watch.is_alive(note.read_text(encoding="utf-8"))
    if _failure(file).is_file():
        reason = _failure(file).read_text(encoding="utf-8")
        raise RayUnavailableError(f"Ray did not start: {reason} ('--config backend=serial' runs without it)")
    if not runs:
        raise RayUnavailableError(f"the workflow's Ray has ended; {AGAIN}")


def connect(ray: ModuleType, address: str, options: dict[str, Any], head_file: Path | None) -> None:
    """Connect to Ray; look after the workflow's own head at each try, since Ray tries a lost one for 12 minutes.

    Args:
        ray: the imported module.
        address: of the head.
        options: of ``ray.init``.
        head_file: of the workflow's own head; None for any other.

    Raises:
        RayUnavailableError: the workflow's head has ended.
        ConnectionError, RuntimeError, ValueError: what the last try raised.
    """
    if not head_file:
        ray.init(address, **options)
        return
    os.environ[TRIES_OF_RAY] = "1"
    for left in reversed(range(CONNECT_ATTEMPTS)):
        try:
            ray.init(address, **options)
            return
        except (ConnectionError, RuntimeError):
            check(head_file)
            ray.shutdown()
            if not left:
                raise


def environment(token: str | None = None) -> dict[str, str]:
    """Return the variables that Ray reads when it is imported: the same in the head and in every driver."""
    shared = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    shared["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    shared["RAY_worker_niceness"] = "0"  # Ray's 15 starves workers on a machine that others use too
    if token:
        shared |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    return shared


def main(arguments: list[str] | None = None) -> None:
    """Run a head until its parent ends or SIGTERM arrives."""
    parser = argparse.ArgumentParser(
        prog="python -m avatargen.runtime.ray_head", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--file", type=Path, required=True, help="file to write the address and the token to")
    parser.add_argument("--cpus", type=int, required=True, help="cores to give to workers")
    parser.add_argument("--gpus", action="store_true", help="give the machine's GPUs to workers")
    parser.add_argument("--parent", required=True, help="stamp of the process that the head ends with")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    token = secrets.token_hex(24)
    os.environ.update(environment(token))
    folder = Path(tempfile.mkdtemp(prefix="ag-", dir=_short_temp()))
    try:
        _serve(options, token, folder, stop)
    except Exception as error:  # Ray raises plain ones; the waiting drivers must hear of it
        _failure(options.file).write_text(str(error).strip().splitlines()[0], encoding="utf-8")
        raise
    finally:
        options.file.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _serve(options: argparse.Namespace, token: str, folder: Path, stop: threading.Event) -> None:
    import ray  # after the environment is set: Ray reads it when it is imported

    _start(ray, options, folder)
    try:
        signal.signal(signal.SIGTERM, lambda *_: stop.set())  # ray.init replaces it
        address = ray.get_runtime_context().gcs_address
        _write(options.file, Head(address, token))
        parent_watch.wait_for_end(options.parent, stop)
    finally:
        ray.shutdown()


def _start(ray: ModuleType, options: argparse.Namespace, folder: Path) -> None:
    """Start Ray; retry if it times out, since its 30 s are short when other processes keep all cores busy."""
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            ray.init(
                "local",
                num_cpus=options.cpus,
                num_gpus=None if options.gpus else 0,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                namespace="avatargen",
                _temp_dir=str(folder),
            )
            return
        except Exception:  # Ray raises plain ones
            if attempt == START_ATTEMPTS or not parent_watch.is_alive(options.parent):
                raise
            traceback.print_exc()
            ray.shutdown()


def _write(file: Path, head: Head) -> None:
    """Write a file that only the user can read, since it holds the token."""
    with (
        replacing(file) as partial,
        os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output,
    ):
        json.dump(asdict(head), output)


def _failure(file: Path) -> Path:
    """Return the file in which a head that could not start says why."""
    return file.with_suffix(".failed")


def _process(file: Path) -> Path:
    """Return the file that holds the stamp of the head's process."""
    return file.with_suffix(".process")


def _short_temp() -> str | None:
    """Return ``/tmp`` instead of a long temporary folder, since Ray's socket paths are limited to 107 bytes."""
    return "/tmp" if len(tempfile.gettempdir()) > 30 and os.access("/tmp", os.W_OK) else None


if __name__ == "__main__":
    main()
