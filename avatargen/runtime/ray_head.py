"""A Ray head for one run of the workflow: a small process that ends when its parent does.

``python -m avatargen.runtime.ray_head`` is started by the Snakefile's ``onstart`` (`spawn`) and writes how to reach it
into a file that only the user can read. It ignores SIGINT, so that Ctrl-C reaches the drivers first, and
watches its parent, so that killing Snakemake with SIGKILL leaves nothing behind.

The head asks for a token that is made for this run and kept out of ``~/.ray``: other users of the machine
cannot submit work, and other clusters of the same user are not affected.
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

from avatargen.config.places import ROOT
from avatargen.io.atomic import replacing
from avatargen.runtime import parent_watch

OBJECT_STORE_BYTES = 80 * 2**20
START_TIMEOUT_S = 240.0
ATTEMPTS = 3
HEAD_FILE = "AVATARGEN_RAY_HEAD"


class RayUnavailableError(RuntimeError):
    """Ray cannot be reached; says what to do."""


@dataclass(frozen=True)
class Head:
    """How to reach a head: address, token, and the host and process that it lives for."""

    address: str
    token: str
    host: str
    parent: str


def spawn(file: Path, cpus: int, with_gpus: bool, log: Path) -> subprocess.Popen[bytes]:
    """Start a head for this process. Returns at once; `reach` waits until it is ready.

    Args:
        file: where the head writes how to reach it.
        cpus: cores that Ray may give to workers.
        with_gpus: let Ray find and hand out the machine's GPUs.
        log: what the head prints.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    for old in (file, _failure(file)):
        old.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "avatargen.runtime.ray_head", "--file", str(file), "--cpus", str(cpus)]
    command += ["--parent", parent_watch.stamp(), *(["--gpus"] if with_gpus else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def reach(file: Path, timeout_s: int | float = START_TIMEOUT_S) -> Head | None:
    """Wait for the head that writes `file`; None where that head is another machine's.

    Raises:
        RayUnavailableError: it did not start in time.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if _failure(file).is_file():
            reason = _failure(file).read_text(encoding="utf-8")
            raise RayUnavailableError(f"Ray did not start: {reason} ('--config backend=serial' runs without it)")
        try:
            head = Head(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            time.sleep(0.1)
            continue
        if head.host != os.uname().nodename:
            return None
        if parent_watch.is_alive(head.parent):
            return head
        time.sleep(0.1)
    raise RayUnavailableError(
        f"Ray did not start within {timeout_s:.0f} s; see the log beside {file} "
        "('--config backend=serial' runs without it)"
    )


def environment(token: str | None = None) -> dict[str, str]:
    """Variables that Ray reads when it is imported, the same in the head and in every driver."""
    shared = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    shared["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    shared["RAY_worker_niceness"] = "0"  # Ray's 15 starves workers on a machine that others use too
    if token:
        shared |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    return shared


def main(arguments: list[str] | None = None) -> None:
    """Run a head until its parent ends or SIGTERM comes."""
    parser = argparse.ArgumentParser(prog="python -m avatargen.runtime.ray_head", description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, required=True, help="where to write how to reach the head")
    parser.add_argument("--cpus", type=int, required=True, help="cores to hand out")
    parser.add_argument("--gpus", action="store_true", help="find and hand out GPUs")
    parser.add_argument("--parent", required=True, help="stamp of the process that the head lives for")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    token = secrets.token_hex(24)
    os.environ.update(environment(token))
    folder = Path(tempfile.mkdtemp(prefix="ag-", dir=_short_temp()))
    try:
        _serve(options, token, folder, stop)
    except Exception as error:  # whatever Ray raises: the drivers that wait must hear of it
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
        _write(options.file, Head(address, token, os.uname().nodename, options.parent))
        parent_watch.wait_for_end(options.parent, stop)
    finally:
        ray.shutdown()


def _start(ray: ModuleType, options: argparse.Namespace, folder: Path) -> None:
    """Start Ray; again where it timed out, since its 30 s are short when others keep all cores busy."""
    for attempt in range(1, ATTEMPTS + 1):
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
            if attempt == ATTEMPTS or not parent_watch.is_alive(options.parent):
                raise
            traceback.print_exc()
            ray.shutdown()


def _write(file: Path, head: Head) -> None:
    """Write the file readable by the user only: it holds the token."""
    with replacing(file) as partial:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
            json.dump(asdict(head), output)


def _failure(file: Path) -> Path:
    """Where a head that could not start says why."""
    return file.with_suffix(".failed")


def _short_temp() -> str | None:
    """Ray's socket paths are limited to 107 bytes: leave long temporary folders aside."""
    return "/tmp" if len(tempfile.gettempdir()) > 30 and os.access("/tmp", os.W_OK) else None


if __name__ == "__main__":
    main()
