"""Find the texts of a report that text encoders truncate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avatargen.io.manifest import Row


class Truncated(NamedTuple):
    """The texts that a text encoder truncates: how many of how many, and one of them."""

    reader: str
    count: int
    total: int
    what: str
    example: str


def truncated_texts(rows: Sequence[Row], protocols: Sequence[Mapping[str, Any]]) -> list[Truncated]:
    """Return the prompts and captions that were truncated, for each text encoder that did."""
    total = len({row.prompt for row in rows})
    found = []
    for reader in dict.fromkeys(reader for row in rows for reader in row.truncated_by):
        prompts = list(dict.fromkeys(row.prompt for row in rows if reader in row.truncated_by))
        found.append(Truncated(reader, len(prompts), total, "prompts", prompts[0]))
    for facts in protocols:
        captions = facts["truncated"]
        if captions:
            what = f"captions of the {facts['track']} pool"
            every = {caption for pool in facts["pools"] for caption in pool}
            found.append(Truncated(f"judge '{facts['name']}'", len(captions), len(every), what, captions[0]))
    return found
