"""Collect the gallery of the report: one entry for each prompt and seed, with a cell for each method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from avatargen.io.manifest import Row
from eval.avatar_scores import AvatarScores, Ranked, scores_of
from eval.head_index import HeadFile
from eval.history_strip import HistoryStrip, history_strip
from eval.page_files import PageFiles
from eval.pools import Unit
from eval.thumbnails import SHEET_FILE, VIDEO, sheet_bytes, still, video_bytes

MAX_PROMPTS = 40
"""Prompts and seeds of the gallery; their avatars have 3D heads beside the report."""
FILES = {
    VIDEO: "MP4",
    "avatar.glb": "GLB, full size",
    "avatar.safetensors": "avatar file",
    "avatar.json": "its settings",
    "texture.png": "texture",
}
"""Files of an avatar that the report links to, and what it calls them."""


class Note(NamedTuple):
    """A few words under an avatar, and what they mean in this case."""

    text: str
    more: str = ""


class Link(NamedTuple):
    """A file, relative to the page."""

    text: str
    href: str


@dataclass(frozen=True)
class Pictures:
    """Pictures of an avatar as data URIs or relative addresses; None where one does not exist."""

    still: str | None
    sheet: str | None
    turntable: str | None
    strip: str | None


@dataclass(frozen=True)
class Cell:
    """One avatar.

    Attributes:
        method: its name.
        asked: whether the method was run on this prompt: a reduced method, or one that needs a ground-truth head, may
            leave it out.
        status, message: as in the manifest.
        name: for files that are saved from the page.
        pictures: None for an avatar that failed.
        notes: what stands under the picture.
        scores: ranks, distance and failure signatures.
        history: None for one that was not optimised.
        links: files of the avatar.
        head: the file of its 3D head.
    """

    method: str
    asked: bool
    status: str
    message: str = ""
    name: str = ""
    pictures: Pictures | None = None
    notes: Sequence[Note] = field(default_factory=tuple)
    scores: AvatarScores = field(default_factory=AvatarScores)
    history: HistoryStrip | None = None
    links: Sequence[Link] = field(default_factory=tuple)
    head: HeadFile | None = None

    @property
    def group(self) -> str:
        """Return what the filter of failures goes by: `made`, `failed` or `not asked for`."""
        return "not asked for" if not self.asked else "made" if self.status == "ok" else "failed"

    @property
    def taken(self) -> list[Ranked]:
        """Return the misses: where another caption ranks first."""
        return [rank for rank in self.scores.ranks if rank.taken_for]


@dataclass(frozen=True)
class Entry:
    """One prompt and seed, with a cell for each method."""

    prompt: str
    list: str
    item: str
    seed: int
    tags: Sequence[str]
    cells: Sequence[Cell]


def shown_units(rows: Sequence[Row]) -> list[Unit]:
    """Return the prompts and seeds of the gallery."""
    return list(dict.fromkeys(row.unit for row in rows))[:MAX_PROMPTS]


def gallery(
    rows: Sequence[Row],
    methods: Sequence[str],
    root: Path,
    tables: Path,
    files: PageFiles,
    heads: Mapping[str, HeadFile],
) -> list[Entry]:
    """Return the entries of the first MAX_PROMPTS prompts and seeds.

    Args:
        rows: of all manifests.
        methods: names, in the order of the cells.
        root: what the rows' folders are relative to.
        tables: folder of the tables, which hold ranks, distances and findings.
        files: of the page.
        heads: files of 3D heads, by the avatars' folders.
    """
    found = {(row.method, row.unit): row for row in rows}
    first = {row.unit: row for row in reversed(rows)}
    scores = scores_of(tables)
    return [
        Entry(
            first[unit].prompt,
            *unit,
            first[unit].tags,
            [_cell(found.get((method, unit)), method, root, scores, files, heads) for method in methods],
        )
        for unit in shown_units(rows)
    ]


def tag_values(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Return the values of each tag that tells entries apart.

    Example:
        >>> one, other = (Entry("a", "l", "1", 0, tags, ()) for tags in (("hair=bun", "age=old"), ("hair=bun",)))
        >>> tag_values([one, other])
        {'age': ['old']}
    """
    found: dict[str, list[str]] = {}
    for tag in dict.fromkeys(tag for entry in entries for tag in entry.tags):
        if any(tag not in entry.tags for entry in entries):
            name, _, value = tag.partition("=")
            found.setdefault(name, []).append(value)
    return {name: sorted(values) for name, values in sorted(found.items())}


def _cell(
    row: Row | None,
    method: str,
    root: Path,
    scores: Mapping[tuple[str, Unit], AvatarScores],
    files: PageFiles,
    heads: Mapping[str, HeadFile],
) -> Cell:
    if row is None:
        return Cell(method, asked=False, status="not asked for")
    folder, own = root / row.folder, scores.get((method, row.unit), AvatarScores())
    history = history_strip(folder) if row.status == "ok" else None
    return Cell(
        method,
        asked=True,
        status=row.status,
        message=row.message,
        name=f"{method}-{row.id}",
        pictures=_pictures(folder, history, files) if row.status == "ok" else None,
        notes=list(_notes(own, row)),
        scores=own,
        history=history,
        links=[Link(text, href) for file, text in FILES.items() if (href := files.href(folder / file))],
        head=heads.get(row.folder),
    )


def _pictures(folder: Path, history: HistoryStrip | None, files: PageFiles) -> Pictures:
    return Pictures(
        still(folder),
        files.either(sheet_bytes(folder), "image/webp", folder / SHEET_FILE),
        files.either(video_bytes(folder), "video/mp4", folder / VIDEO),
        files.embedded(history.strip, "image/webp") if history else None,
    )


def _notes(scores: AvatarScores, row: Row) -> Iterator[Note]:
    """Yield what stands under an avatar: ranks by its first judge, distance, findings."""
    judge = scores.ranks[0].judge if scores.ranks else ""
    for rank in scores.ranks:
        if rank.judge == judge:
            taken = f"taken for: {rank.taken_for}" if rank.taken_for else ""
            yield Note(f"{rank.track.replace('_', ' ')} #{rank.rank}", taken)
    if scores.geometry_mm is not None:
        yield Note(f"{scores.geometry_mm:.1f} mm")
    for name in scores.findings:
        yield Note(name.replace("_", " "))
    if row.truncated_by:
        yield Note("prompt truncated", f"{', '.join(row.truncated_by)} read only its beginning")


def sort_keys(entries: Sequence[Entry]) -> list[str]:
    """Return what avatars can be sorted by."""
    return list(dict.fromkeys(key for entry in entries for cell in entry.cells for key in cell.scores.keys))


def findings_of(entries: Sequence[Entry]) -> list[str]:
    """Return the findings that some avatar has."""
    return sorted({name for entry in entries for cell in entry.cells for name in cell.scores.findings})
