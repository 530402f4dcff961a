"""Check the folders that a run writes into: that they are folders, can be written, and have file locks."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

_WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


def folder_problems(folders: Iterable[Path]) -> list[str]:
    """Return what is in the way of folders; one that is not there yet is made when a run starts."""
    found = []
    for folder in folders:
        taken = next((path for path in (folder, *folder.parents) if os.path.lexists(path) and not path.is_dir()), None)
        if taken:
            kind = "a link to nothing" if taken.is_symlink() else "a file"
            found.append(f"{taken}: got {kind}; expected a folder to write to; move it away, or use --directory")
    return found


def writing_problems(folders: Iterable[Path]) -> list[str]:
    """Return why a run cannot write into folders, or lock files in them; those that are missing are made.

    Locks keep drivers from writing over each other, so they are not done without.
    """
    found = []
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno in _WITHOUT_LOCKS:
                found.append(
                    f"{folder}: got a file system without file locks ({error.strerror}); expected one with them; mount "
                    "it with locks (NFS: lockd), or use --directory on another disk"
                )
            else:
                found.append(f"{folder}: cannot be written ({error.strerror}); change its owner, or use --directory")
    return found
