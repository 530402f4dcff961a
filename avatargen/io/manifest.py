"""Read and write manifests: JSON lines, one row for each avatar, that a stage of the workflow declares as its output.

Generation writes a `Row` for each avatar that was asked for, failures included. The rule `render` writes a `RenderRow`,
the rule `embed` an `EmbedRow`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from avatargen.config.errors import InputError, Problems
from avatargen.io.atomic import write_text


class Row(BaseModel):
    """One avatar that was asked for.

    Attributes:
        id: of the avatar, from prompt and seed.
        list: name of the prompt list.
        item: id of the prompt in its list.
        prompt: text of the prompt.
        tags: of the prompt, ``key=value``.
        geometry: caption for the geometry track that the list states; see :mod:`eval.pools`.
        seed: of noise and cameras.
        method: name of the run: the method's, or ``{method}@{prior}`` (:mod:`avatargen.config.crossing`).
        prior: name of the diffusion prior that made the avatar; empty for methods that use none.
        status: ``ok``, or the kind of failure.
        message: what went wrong, in words.
        seconds, peak_memory_mb: cost, see :class:`avatargen.io.avatar_file.Avatar`; None where unknown.
        truncated_by: the prior and the CLIP guide whose text encoder truncates the prompt.
        fingerprint: of the avatar, see :mod:`avatargen.runtime.fingerprint`.
        folder: of the avatar's files, relative to the working directory of the run, or absolute.
        taken_from: the experiment that made the avatar; empty for this one.
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
    prior: str = ""
    status: str = "ok"
    message: str = ""
    seconds: float | None = None
    peak_memory_mb: float | None = None
    truncated_by: tuple[str, ...] = ()
    fingerprint: str = ""
    folder: str
    taken_from: str = ""

    @property
    def unit(self) -> tuple[str, str, int]:
        """What methods are compared on: (list, item, seed)."""
        return (self.list, self.item, self.seed)


class RenderRow(BaseModel):
    """One avatar that was rendered.

    Attributes:
        id: of the avatar.
        folder: of its files.
        render_fingerprint: of its renders.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    folder: str
    render_fingerprint: str


class EmbedRow(BaseModel):
    """One avatar whose renders were embedded.

    Attributes:
        id: of the avatar.
        folder: of its files.
        embedding_fingerprints: of its embeddings, by judge.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    folder: str
    embedding_fingerprints: dict[str, str]


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any] | BaseModel]) -> None:
    """Write a manifest atomically.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    facts = [row.model_dump(mode="json") if isinstance(row, BaseModel) else row for row in rows]
    write_text(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in facts))


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Return the rows of one manifest, unchecked."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line]


def read_manifests(paths: Iterable[Path]) -> list[Row]:
    """Return all rows of generation's manifests, in order.

    Raises:
        InputError: a file is missing, a line is not a row, or an avatar is listed twice; all problems.
    """
    rows, problems, seen = [], Problems(), {}
    for path in paths:
        for place, line in problems.of(lambda path=path: list(_lines(path))) or ():
            row = problems.of(lambda place=place, line=line: _row(place, line))
            if row is None:
                continue
            key = (row.method, *row.unit)
            if key in seen:
                problems.add([f"{place}: duplicate avatar {key}, also in {seen[key]}"])
            seen[key] = place
            rows.append(row)
    problems.check()
    return rows


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each line that is not blank."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # no splitlines: a prompt may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([f"{path}: not readable: {error}"]) from error
    yield from ((f"{path}:{number}", line) for number, line in enumerate(lines, start=1) if line.strip())


def _row(place: str, line: str) -> Row:
    try:
        return Row.model_validate(json.loads(line))
    except ValueError as error:  # pydantic's and json's errors are such
        raise InputError([f"{place}: not a manifest row: {str(error).splitlines()[0]}"]) from error
