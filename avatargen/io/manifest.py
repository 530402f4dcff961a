"""Manifests: JSON lines, one row per avatar, that a stage of the workflow declares as its output.

Generation writes a `Row` for each avatar that was asked for, failures included; evaluation reads it. Later stages
write rows of (id, folder, fingerprint of the stage).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from avatargen.config.errors import InputError
from avatargen.io.atomic import write_text


class Row(BaseModel):
    """One avatar that was asked for.

    Attributes:
        id: of the avatar, from prompt and seed.
        list, item: name of the prompt list, and the prompt's id in it.
        prompt, seed: what was asked for.
        tags: of the prompt, ``key=value``.
        geometry: caption for the geometry track that the list states; see :mod:`eval.pools`.
        method: name of the method.
        status: ``ok``, or what went wrong.
        message: what went wrong, in words.
        seconds, peak_memory_mb: cost, see :class:`avatargen.io.avatar_file.Avatar`; None where it is not known.
        truncated_by: the prior and the CLIP guide whose text encoder truncates the prompt.
        fingerprint: of the avatar, see :mod:`avatargen.runtime.fingerprint`.
        folder: of the avatar's files, relative to the working directory of the run, or absolute.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    list: str
    item: str
    prompt: str
    tags: tuple[str, ...] = ()
    geometry: str | None = None
    seed: int = 0
    method: str
    status: str = "ok"
    message: str = ""
    seconds: float | None = None
    peak_memory_mb: float | None = None
    truncated_by: tuple[str, ...] = ()
    fingerprint: str = ""
    folder: str

    @property
    def unit(self) -> tuple[str, str, int]:
        """What is compared between methods: (list, item, seed)."""
        return (self.list, self.item, self.seed)


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any] | Row]) -> None:
    """Write a manifest atomically.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    facts = [row.model_dump(mode="json") if isinstance(row, Row) else row for row in rows]
    write_text(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in facts))


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Return the rows of one manifest, as they are."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line]


def read_manifests(paths: Iterable[Path]) -> list[Row]:
    """Return all rows of generation's manifests, in order.

    Raises:
        InputError: files that are missing, lines that are not rows, an avatar that is listed twice; all problems.
    """
    rows, problems, seen = [], [], {}
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path}: not readable: {error}")
            continue
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = Row.model_validate(json.loads(line))
            except (ValueError, ValidationError) as error:
                problems.append(f"{path}:{number}: not a manifest row: {str(error).splitlines()[0]}")
                continue
            key = (row.method, *row.unit)
            if key in seen:
                problems.append(f"{path}:{number}: avatar {key} is already listed in {seen[key]}")
            seen[key] = f"{path}:{number}"
            rows.append(row)
    if problems:
        raise InputError(problems)
    return rows
