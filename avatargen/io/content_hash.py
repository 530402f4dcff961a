"""Hash values and the contents of files and folders of weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avatargen.config.experiment import JudgeSettings
from avatargen.config.places import ROOT, cache_folder
from avatargen.io.atomic import read_json, write_json

CACHE = "weights.json"
"""Remembered hashes, in the cache folder: by path, size and time of change, since weights can be large."""


def digest(*values: Any) -> str:
    """Return a hash of JSON-ready values, 20 hexadecimal digits.

    Example:
        >>> digest("full", {"seed": 0}) == digest("full", {"seed": 0})
        True
    """
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def clip_id(settings: JudgeSettings, root: Path = ROOT) -> list[str]:
    """Return hashes of what a CLIP is loaded from: its model, and its weights where they are a file of their own."""
    return [weights_id(source, root) for source in (settings.model, settings.pretrained) if source]


def weights_id(path: str, root: Path = ROOT) -> str:
    """Return a hash of the content of a folder or file of weights; `path` itself where there is none (a hub id).

    Args:
        path: absolute, or relative to `root`. Where it lies is no part of the hash.
        root: the repository.
    """
    place = root / path
    if place.is_file():
        files = [place]
    elif place.is_dir():
        files = sorted(file for file in place.rglob("*") if file.is_file() and not file.name.startswith("."))
    else:
        return path
    names = [f"/{file.relative_to(place)}" for file in files]
    return digest(list(zip(names, file_hashes(files), strict=True)))


def file_hashes(files: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of the content of each file, as remembered where its size and time of change are the same.

    Raises:
        OSError: a file cannot be read.
    """
    known, found = read_json(cache_folder() / CACHE), {}
    for file in files:
        facts = file.stat()
        key = f"{file.absolute()}:{facts.st_size}:{facts.st_mtime_ns}"
        found[key] = known.get(key) or file_hash(file)
    if not found.keys() <= known.keys():
        _remember({**known, **found})
    return list(found.values())


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remember(hashes: dict[str, str]) -> None:
    """Write the hashes of files that are still there; work is only slower where the cache cannot be written."""
    try:
        there = {key: value for key, value in hashes.items() if Path(key.rsplit(":", 2)[0]).is_file()}
        write_json(cache_folder() / CACHE, there)
    except OSError:
        return
