"""Write files so that a reader never sees half of one, and tell a full disk from other errors."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

STALE_S = 600.0
"""Age at which a partial file belongs to no living process."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(OSError):
    """The disk is full. Finished work stands; the same command goes on once there is space."""

    def __init__(self, where: str):
        super().__init__(errno.ENOSPC, "no space left on the disk; free some and run the same command again", where)

    def __reduce__(self):
        return type(self), (self.filename,)


def is_full(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, says that the disk or the quota is used up."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(f"(os error {code})" in str(error) or os.strerror(code) in str(error) for code in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it to `path` when the block ends without an error.

    Old partial files, which killed processes left, are removed. Several processes may write the same file: the last
    one wins.

    Args:
        path: the file to write; its folder is created.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for partial in path.parent.glob(f".partial-*-{glob.escape(path.name)}"):
        with suppress(OSError):  # another process may remove it, too
            if time.time() - partial.stat().st_mtime > STALE_S:
                partial.unlink()
    partial = path.with_name(f".partial-{secrets.token_hex(4)}-{path.name}")  # keeps the suffix, which writers go by
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock beside a file to be made, so that parallel processes wait for the first instead of all making it.

    It only saves work: where locks fail (some network disks), all make the file and the last `replacing` wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically; raise as `replacing` does."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, atomically; raise as `replacing` does."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, atomically; raise as `replacing` does."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False))


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping that a small JSON file holds; an empty one where the file is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
