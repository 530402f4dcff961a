"""Read prompt lists: one file in ``prompts/`` is one list.

``NAME.txt``  one prompt a line; empty lines and lines that start with ``#`` are skipped.
``NAME.tsv``  a header ``id, prompt[, tags, geometry]`` and one prompt a line, separated by tabs, in ``NAME.csv`` by
              commas. `tags` are ``key=value`` separated by ``;``. `geometry` is what a render without texture shows of
              the prompt (its caption in the geometry track); empty or absent means the prompt itself, less the
              colours where the closed world knows all its words (see `eval.pools`).

Text comes from outside: everything is checked here, and all problems are reported at once.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from avatargen.config.errors import InputError, unknown
from avatargen.config.text_files import Row, is_file, read_lines, read_table

MAX_PROMPT = 300
COLUMNS = ("id", "prompt", "tags", "geometry")
FORMATS = (".tsv", ".csv", ".txt")
NEGATIVES, POOLS = ".negatives.txt", (".pools.tsv", ".pools.csv")
_REQUIRED = COLUMNS[:2]
MAX_NAME = 100
"""Bytes of a list's name, which names a folder and begins names of files."""
_LIST_NAME = re.compile(r"\w([\w .+-]*[\w+-])?")
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}


@dataclass(frozen=True)
class PromptItem:
    """One avatar to make: a prompt of a list, with a seed.

    Attributes:
        list: name of the list; item: id within the list.
        prompt: the text; tags: ``key=value`` each; geometry: caption of a render without texture.
        seed: of the avatar's random numbers, with the prompt (`key`).
    """

    list: str
    item: str
    prompt: str
    tags: tuple[str, ...] = ()
    geometry: str | None = None
    seed: int = 0

    @cached_property
    def id(self) -> str:
        """Slug of the prompt and a short hash of prompt and seed; safe as a file name."""
        digest = hashlib.sha256(f"{self.prompt}\n{self.seed}".encode()).hexdigest()
        return f"{slug(self.prompt)}-{digest[:8]}"

    @property
    def key(self) -> int:
        """Key of the avatar's random numbers; see `draw_key`."""
        return draw_key(self.prompt, self.seed)

    def facts(self) -> dict[str, Any]:
        """Return the item as JSON-ready values; `from_facts` is the inverse."""
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**facts, "tags": list(self.tags)}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> PromptItem:
        """Return the item that `facts` describes."""
        return cls(**{**facts, "tags": tuple(facts["tags"])})


def draw_key(prompt: str, seed: int) -> int:
    """Return the key of an avatar's random numbers: a hash of prompt and seed, in [0, 2^63).

    Noise, cameras, backgrounds, timesteps and the offset MLP's first weights are functions of it. So prompts of one
    seed have draws of their own, and a mean over prompts averages over draws, too. The list, the method and the place
    in a batch do not count: methods of one prompt and seed share their draws, as paired comparisons and a shared phase
    1 need.

    Example:
        >>> draw_key("an old man", 0) == draw_key("an old man", 0) != draw_key("an old woman", 0)
        True
        >>> 0 <= draw_key("an old man", 1) < 2**63
        True
    """
    digest = hashlib.sha256(f"{prompt}\n{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def slug(text: str, length: int = 40) -> str:
    """Return lower-case ASCII words joined by ``-``, cut at a word where possible.

    Example:
        >>> slug("A smiling old man, green!")
        'a-smiling-old-man-green'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(words) > length:
        words = words[: length + 1].rpartition("-")[0] or words[:length]
    return words or "avatar"


def find_list(name: str, folders: Sequence[Path], field: str = "list") -> Path:
    """Return the file of a list, in the first of some folders that has it.

    Args:
        name: of the list.
        folders: where to look, in this order.
        field: what names the list, for messages.

    Raises:
        InputError: no folder has the list, one has it in two formats, or no file can have that name.
    """
    if problem := _name_problem(name):
        raise InputError([f"{field}: {problem}"])
    for folder in folders:
        found = [path for path in (folder / f"{name}{suffix}" for suffix in FORMATS) if is_file(path)]
        if len(found) > 1:
            both = f"got both {found[0].name} and {found[1].name} in {folder}"
            raise InputError([f"{field}: '{name}': {both}; expected one of them"])
        if found:
            return found[0]
    known = list_names(folders)
    where = " or ".join(str(folder) for folder in folders)
    strange = [path for folder in folders for path in folder.glob("*") if path.name in {f"{name}{s}" for s in FORMATS}]
    if strange:
        raise InputError([f"{field}: {strange[0]}: got a folder, a pipe or a broken link; expected a file"])
    if not known:
        formats = f"{', '.join(name + suffix for suffix in FORMATS[:-1])} or {name}{FORMATS[-1]}"
        raise InputError([f"{field}: '{name}': got no lists in {where}; expected {formats}"])
    raise InputError([unknown("list", name, known, field)])


def list_names(folders: Sequence[Path]) -> list[str]:
    """Return the names of all lists in some folders."""
    files = {path for folder in folders for path in folder.glob("*") if path.suffix in FORMATS and is_file(path)}
    return sorted({path.stem for path in files if not path.name.endswith((NEGATIVES, *POOLS))})


def _name_problem(name: str) -> str | None:
    """Return what is wrong with the name of a list, which is part of paths; None if nothing is."""
    if _LIST_NAME.fullmatch(name) and len(name.encode()) <= MAX_NAME:
        return None
    return f"got the name {quoted(name)}; expected at most {MAX_NAME} letters, digits, blanks and ._+-"


def read_list(path: Path, check: Callable[[tuple[str, ...]], list[str]] | None = None) -> tuple[PromptItem, ...]:
    """Read the prompts of a list, in order, with seed 0.

    Args:
        path: of the list.
        check: returns what else is wrong with a prompt's tags, such as `headworld.phrases.tag_problems`.

    Raises:
        InputError: not readable (see `text_files.read_text`), empty, or wrong lines; one problem for each.
    """
    items, problems = _read_txt(path) if path.suffix == ".txt" else _read_table(path)
    problems += _problems(path, items)
    problems += [f"{path}:{number}: {each}" for number, item in items if check for each in check(item.tags)]
    if not items and not problems:
        problems.append(f"{path}: empty; expected at least one prompt")
    if problems:
        raise InputError(problems)
    return tuple(item for _, item in items)


def read_captions(path: Path) -> tuple[str, ...]:
    """Read captions of a text file, one per line; blank lines and lines that start with # are skipped.

    Raises:
        InputError: not readable, see `text_files.read_text`.
    """
    return tuple(line.strip() for _, line in read_lines(path))


def negatives_of(file: Path) -> Path:
    """Return where the hard negatives of a list would lie: beside its file."""
    return file.with_name(f"{file.stem}{NEGATIVES}")


def pools_of(file: Path) -> Path:
    """Return where the pools of a list would lie: beside its file; see :mod:`avatargen.config.pools`."""
    tabs, commas = (file.with_name(f"{file.stem}{suffix}") for suffix in POOLS)
    return commas if is_file(commas) and not is_file(tabs) else tabs


def first_prompts(items: Sequence[PromptItem], limit: int | None) -> tuple[PromptItem, ...]:
    """Return the first `limit` prompts of a list; all where there is no limit."""
    return tuple(items[:limit])


def with_seeds(items: Iterable[PromptItem], seeds: Sequence[int]) -> tuple[PromptItem, ...]:
    """Return each item once per seed, seeds outermost, so that a first pass covers every prompt."""
    items = tuple(items)
    return tuple(replace(item, seed=seed) for seed in seeds for item in items)


Numbered = list[tuple[int, PromptItem]]


def _read_txt(path: Path) -> tuple[Numbered, list[str]]:
    items = []
    for number, line in read_lines(path):
        prompt = line.strip()
        digest = hashlib.sha256(prompt.encode()).hexdigest()[:6]
        items.append((number, PromptItem(path.stem, f"{slug(prompt, 24)}-{digest}", prompt)))
    return items, []


def _read_table(path: Path) -> tuple[Numbered, list[str]]:
    rows, problems = read_table(path)
    if not rows:
        return [], problems
    columns = rows[0].cells
    if wrong := _header_problems(path, rows[0]):
        return [], problems + wrong
    items = []
    for number, cells in rows[1:]:
        cells = cells + [""] * (len(columns) - len(cells))
        while len(cells) > len(columns) and not cells[-1]:  # spreadsheets end every row where the longest one does
            cells.pop()
        if len(cells) > len(columns):
            problems.append(f"{path}:{number}: {len(cells)} columns; expected {len(columns)}")
            continue
        row = dict(zip(columns, cells, strict=True))
        tags = tuple(tag.strip() for tag in row.get("tags", "").split(";") if tag.strip())
        geometry = row.get("geometry") or None
        items.append((number, PromptItem(path.stem, row["id"], row["prompt"], tags, geometry)))
    return items, problems


def _header_problems(path: Path, header: Row) -> list[str]:
    """Return what is wrong with the names of a list's columns, one line each."""
    columns, where = header.cells, f"{path}:{header.line}"
    while columns and not columns[-1]:
        columns.pop()
    lines = [unknown("column", name, COLUMNS, where) for name in columns if name not in COLUMNS]
    lines += [f"{where}: missing column '{name}'" for name in _REQUIRED if name not in columns]
    return lines + ([f"{where}: duplicate column"] if len(set(columns)) < len(columns) else [])


def _problems(path: Path, items: Numbered) -> list[str]:
    """Return what is wrong with single items, and duplicates."""
    problems: list[str] = []
    ids: dict[str, int] = {}
    prompts: dict[str, int] = {}
    for number, item in items:
        where = f"{path}:{number}"
        problems += [f"{where}: {problem}" for problem in item_problems(item)]
        for kind, seen, value in (("id", ids, item.item), ("prompt", prompts, item.prompt)):
            first = seen.setdefault(value.casefold(), number)
            if value and first != number and not (kind == "id" and path.suffix == ".txt"):
                problems.append(f"{where}: duplicate {kind} {quoted(value)}; first on line {first}")
    return problems


def item_problems(item: PromptItem) -> list[str]:
    """Return what is wrong with one item, without the place."""
    problems = []
    if not _SAFE_ID.fullmatch(item.item) or item.item.split(".")[0].lower() in _RESERVED:
        problems.append(
            f"id {quoted(item.item)} is not safe as a file name; expected 1 to 64 of "
            "A-Z a-z 0-9 . _ -, starting with a letter or digit"
        )
    if not item.prompt:
        problems.append("the prompt is empty")
    for name, text in (
        ("prompt", item.prompt),
        ("geometry", item.geometry or ""),
        *(("tag", t) for t in item.tags),
    ):
        problems += text_problems(name, text)
    problems += [f"tag {quoted(tag)}: expected key=value" for tag in item.tags if not re.match(r"[\w-]+=\S", tag)]
    truths = [tag for tag in item.tags if tag.startswith("truth=")]
    expected = "expected 'truth=none' or 'truth=tags', or no such tag"
    problems += [f"tag {quoted(tag)}: {expected}" for tag in truths if tag not in ("truth=none", "truth=tags")]
    problems += [f"tags {' and '.join(truths)}: expected one of them"] if len(truths) > 1 else []
    return problems


def text_problems(name: str, text: str) -> list[str]:
    """Return what is wrong with a text: its length, control characters.

    Example:
        >>> text_problems("prompt", "a bell \\x07")
        ['prompt holds the control character U+0007']
    """
    problems = [f"{name} of {len(text)} characters; expected at most {MAX_PROMPT}"] if len(text) > MAX_PROMPT else []
    suspects = "" if text.isprintable() else text  # a long list has a million characters
    bad = [char for char in suspects if unicodedata.category(char) in ("Cc", "Cs", "Co", "Zl", "Zp")]
    return problems + [f"{name} holds the control character U+{ord(char):04X}" for char in bad[:1]]


def quoted(text: str) -> str:
    """Return a text for messages: quoted, escaped, shortened."""
    return repr(text if len(text) <= 60 else text[:57] + "…")
