"""What generation says it made: the rows of its manifests, one an avatar, failures included."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avatargen.errors import InputError
from avatargen.headworld.phrases import caption, described

GEOMETRY_TAG = "geometry="


class Row(BaseModel):
    """One avatar that was asked for.

    Attributes:
        id: of the avatar, from prompt and seed; item: of the prompt in its list.
        tags: of the prompt; ``geometry=<caption>`` says what a textureless render of it can show.
        status: ``ok``, or what went wrong.
        cut_by: the prior, and the CLIP that guides, where they did not read the prompt to its end; of avatars that an
            older version made nothing is known.
        folder: where its files lie, relative to the repository or absolute.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    item: str
    prompt: str
    tags: tuple[str, ...] = ()
    seed: int = 0
    list: str
    method: str
    status: str = "ok"
    message: str = ""
    seconds: float | None = None
    peak_memory_mb: float | None = None
    cut_by: tuple[str, ...] = ()
    fingerprint: str = ""
    folder: str
    geometry: str | None = Field(None, description="caption for the geometry track; see `geometry_caption`")

    @property
    def geometry_caption(self) -> str:
        """What a textureless render of this head can be asked for: what its list says, its tag, or the prompt itself.

        A prompt whose words the closed world knows loses those of colour, which no such render can show.
        """
        tagged = [tag.removeprefix(GEOMETRY_TAG) for tag in self.tags if tag.startswith(GEOMETRY_TAG)]
        if self.geometry or tagged:
            return self.geometry or tagged[0]
        known = described(self.prompt, self.tags)
        return caption(known, colours=False) if known else self.prompt

    @property
    def unit(self) -> tuple[str, str, int]:
        """What is compared between methods: (list, item, seed)."""
        return (self.list, self.item, self.seed)


def read_manifests(paths: Iterable[Path]) -> list[Row]:
    """All rows of some manifests, in order.

    Raises:
        InputError: files that are missing, lines that are not rows, an avatar that is listed twice.
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
