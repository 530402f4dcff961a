"""Find manifests that do not state what is asked, or that the files on disk do not bear out.

Snakemake decides by what it noted of earlier jobs. A lost folder, ``--touch`` or a stage that failed between two others
escapes it. So the Snakefile compares each manifest with the fingerprints of what is asked and with the avatars'
folders, and forces the jobs of those that disagree. Jobs make only what is missing, and later stages follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from avatargen.config.errors import NAMED
from avatargen.config.prompts import PromptItem
from avatargen.io.atomic import read_json
from avatargen.io.manifest import Row, read_rows
from avatargen.preflight.plan import Study
from avatargen.runtime.fingerprint import of_avatars
from avatargen.runtime.stages import embeddings_of, measures_of, renders_of
from avatargen.runtime.task import DONE_FILE, FINISHED, is_sound


class Lacking(NamedTuple):
    """Functions that say what an avatar's folder lacks of a stage, empty if nothing; see :mod:`eval.on_disk`."""

    render: Callable[[Path, str, str], str]
    embeddings: Callable[[Path, Mapping[str, str]], str]
    measures: Callable[[Path, Mapping[str, tuple[str, str]]], str]


class Stale(NamedTuple):
    """A manifest whose job has to run again.

    Attributes:
        manifest: its path.
        damage: what its avatars lack on disk, one line; empty if the manifest is missing or states something else.
    """

    manifest: str
    damage: str = ""


def stale_manifests(study: Study, results: str, lacking: Lacking) -> list[Stale]:
    """Return the earliest stale manifests of all chunks that were begun.

    Args:
        study: what is asked.
        results: folder of the experiment's results, as the workflow names it.
        lacking: what says whether a folder holds what a manifest states.
    """
    chunks = [
        (method, items, f"{results}/{name}/{method}/{{}}/{chunk}.jsonl")
        for method in study.runs
        for name in study.lists
        for chunk, items in study.chunks(name, method).items()
    ]
    return [stale for chunk in chunks for stale in _of_chunk(study, *chunk, lacking)]


class _Stage(NamedTuple):
    """A stage's manifest, the rows that it has to have, and what each avatar's folder lacks of it, found lazily."""

    manifest: str
    rows: Sequence[Mapping[str, Any]]
    lacks: Iterable[tuple[str, str]]


def _of_chunk(study: Study, method: str, items: Sequence[PromptItem], place: str, lacking: Lacking) -> list[Stale]:
    """Return the earliest stale manifests of a chunk; diagnostics do not depend on renders."""
    files = {name: place.format(name) for name in ("generate", "render", "embed", "diagnose")}
    if not any(Path(file).is_file() for file in files.values()):
        return []
    fingerprints = of_avatars(study.runs[method], items)
    wanted = [
        {"id": item.id, "fingerprint": one, **item.facts()} for item, one in zip(items, fingerprints, strict=True)
    ]
    rows = _rows(files["generate"])
    made = [Row.model_validate(row) for row in rows] if _has(rows, wanted) else []
    first = _first_stale(_Stage(files["generate"], wanted, ((row.id, _lacking_avatar(row)) for row in made)))
    if first:
        return first
    shown = renders_of(study, method, made)
    renders = ((row.id, lacking.render(Path(row.folder), row.render_fingerprint, truth)) for _, row, truth, _ in shown)
    embedded = embeddings_of(study, [one.row for one in shown])
    embeddings = ((row.id, lacking.embeddings(Path(row.folder), row.embedding_fingerprints)) for row in embedded)
    found = _first_stale(
        _Stage(files["render"], [one.row.model_dump() for one in shown], renders),
        _Stage(files["embed"], [row.model_dump() for row in embedded], embeddings),
    )
    if study.experiment.diagnose:
        measures = [(row, measures_of(study, method, row)) for row in made]
        stated = [{"id": row.id, "folder": row.folder, "fingerprints": both} for row, both in measures]
        measured = ((row.id, lacking.measures(Path(row.folder), both)) for row, both in measures)
        found += _first_stale(_Stage(files["diagnose"], stated, measured))
    return found


def _first_stale(*stages: _Stage) -> list[Stale]:
    """Return the first manifest that is missing, states something else, or is not borne out; none if all are well."""
    for stage in stages:
        if not _has(_rows(stage.manifest), stage.rows):
            return [Stale(stage.manifest)]
        if lost := [f"{name}: {text}" for name, text in stage.lacks if text]:
            more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
            return [Stale(stage.manifest, "; ".join(lost[:NAMED]) + more)]
    return []


def _has(rows: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether rows are as wanted, in order; they may state more."""
    have = [{key: row.get(key) for key in asked} for row, asked in zip(rows, wanted, strict=False)]
    return len(rows) == len(wanted) and have == json.loads(json.dumps(list(wanted)))


def _rows(manifest: str) -> list[dict[str, Any]]:
    """Return the rows of a manifest; none where it is missing or damaged."""
    try:
        return [row for row in read_rows(manifest) if isinstance(row, dict)]
    except (OSError, ValueError):
        return []


def _lacking_avatar(row: Row) -> str:
    folder, noted = Path(row.folder), read_json(Path(row.folder) / DONE_FILE)
    if row.status not in FINISHED:  # a failure, which may have left nothing
        return ""
    sound = noted.get("fingerprint") == row.fingerprint and is_sound(folder, row.fingerprint)
    return "" if sound else "the avatar is missing or damaged"
