"""Check the files that say which captions compete, and tell the user of pools that are small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from avatargen.config.errors import InputError, Problems
from avatargen.config.pools import SMALL_POOL, Rivals
from avatargen.config.prompts import POOLS, PromptItem, negatives_of, pools_of, read_captions
from avatargen.config.text_files import is_file
from avatargen.headworld.phrases import geometry_caption
from avatargen.headworld.pools import read_rivals_of


def check_pools(
    lists: Mapping[str, tuple[PromptItem, ...]], files: Mapping[str, Path], problems: Problems
) -> list[str]:
    """Read what lies beside the lists, and return one note for each small pool.

    Args:
        lists: prompts × seeds that are asked for, by list.
        files: the file of each list.
        problems: collects what is wrong.
    """
    notes: list[str] = []
    classical: list[PromptItem] = []
    negatives: list[str] = []
    for name, file in files.items():
        if pools_of(file).is_file():
            rivals = problems.of(partial(_rivals, file))
            notes += _notes_on_stated(name, lists[name], rivals or {})
            continue
        classical += lists[name]
        if negatives_of(file).is_file():
            negatives += problems.of(partial(read_captions, negatives_of(file))) or ()
    return notes + _notes_on_classical(classical, negatives)


def _rivals(file: Path) -> Rivals:
    """Return what the pools file of a list states.

    Raises:
        InputError: it is wrong, or there are hard negatives beside it.
    """
    stated = [file.with_name(f"{file.stem}{suffix}") for suffix in POOLS]
    if all(map(is_file, stated)):
        both = f"got both {stated[0].name} and {stated[1].name}"
        raise InputError([f"{file.stem}: {both}; expected one of them"])
    if negatives_of(file).is_file():
        both = f"got both {pools_of(file).name} and {negatives_of(file).name}"
        raise InputError([f"{file.stem}: {both}; expected one of them: a pools file states every caption"])
    return read_rivals_of(file)


def _notes_on_stated(name: str, items: tuple[PromptItem, ...], rivals: Rivals) -> list[str]:
    asked = {item.item for item in items}
    sizes = {1 + len(captions) for (id_, _), captions in rivals.items() if id_ in asked}
    return _note(name, min(sizes)) if sizes else []


def _notes_on_classical(items: list[PromptItem], negatives: list[str]) -> list[str]:
    texts: dict[str, Callable[[PromptItem], str]] = {
        "texture": lambda item: item.prompt,
        "geometry": lambda item: geometry_caption(item.prompt, item.tags, item.geometry),
    }
    name = "+".join(dict.fromkeys(item.list for item in items))
    return [
        note
        for track, text in texts.items()
        if items
        for note in _note(name, len({*map(text, items), *(negatives if track == "texture" else ())}), track)
    ]


def _note(name: str, size: int, track: str | None = None) -> list[str]:
    """Return a note on a small pool.

    Example:
        >>> _note("mine", 3, "texture")
        ["mine: pool of 3 captions in track 'texture': chance level 0.33"]
    """
    where = f" in track '{track}'" if track else ""
    return [f"{name}: pool of {size} captions{where}: chance level {1 / size:.2f}"] if size < SMALL_POOL else []
