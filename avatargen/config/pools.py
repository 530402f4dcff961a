"""Read pools files: ``NAME.pools.tsv`` beside a prompt list says which captions compete with each prompt's own.

A header ``id, track, caption`` and one caption a line, separated by tabs (in ``NAME.pools.csv`` by commas): the caption
competes with the own caption of the prompt `id` in `track`. With this file, the pool of a prompt in a track is its own
caption and exactly these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from avatargen.config.errors import InputError, some_of, unknown
from avatargen.config.prompts import quoted, text_problems
from avatargen.config.text_files import read_table

TRACKS = ("texture", "shape_in_colour", "geometry")
"""What is judged: colours in colour renders, shapes in colour renders, and shapes in clay renders."""
SMALL_POOL = 20
"""A pool of fewer captions is said: its chance level is above 0.05."""
COLUMNS = ("id", "track", "caption")
Rivals = dict[tuple[str, str], tuple[str, ...]]
"""The captions that compete with a prompt's own, by the prompt's id and the track."""


def read_rivals(path: Path, own: Mapping[tuple[str, str], str]) -> Rivals:
    """Read the pools file of a list.

    Args:
        path: of the pools file.
        own: the own caption of every prompt of the list in every track, by (id, track).

    Raises:
        InputError: not readable, or wrong lines, with their numbers; prompts without captions in a track.
    """
    rows, problems = read_table(path)
    if not rows:
        raise InputError(problems or [f"{path}: empty; expected the columns {', '.join(COLUMNS)}"])
    if tuple(rows[0].cells) != COLUMNS:
        got = f"{path}:{rows[0].line}: got the columns {quoted(', '.join(rows[0].cells))}"
        raise InputError([*problems, f"{got}; expected {', '.join(COLUMNS)}"])
    rivals: dict[tuple[str, str], dict[str, int]] = {key: {} for key in own}
    for number, cells in rows[1:]:
        if len(cells) != len(COLUMNS):
            problems.append(f"{path}:{number}: {len(cells)} columns; expected {len(COLUMNS)}")
            continue
        key, caption = (cells[0], cells[1]), cells[2]
        problems += [f"{path}:{number}: {problem}" for problem in _line_problems(key, caption, own, rivals)]
        if key in rivals:
            rivals[key].setdefault(caption, number)
    problems += _absent(path, rivals)
    if problems:
        raise InputError(problems)
    return {key: tuple(captions) for key, captions in rivals.items()}


def _line_problems(
    key: tuple[str, str],
    caption: str,
    own: Mapping[tuple[str, str], str],
    rivals: Mapping[tuple[str, str], Mapping[str, int]],
) -> Iterator[str]:
    """Yield what is wrong with one line, without the place."""
    id_, track = key
    if not any((id_, known) in own for known in TRACKS):
        yield unknown("id", id_, {name for name, _ in own}, "id")
    if track not in TRACKS:
        yield unknown("track", track, TRACKS, "track")
    yield from text_problems("caption", caption)
    if not caption:
        yield "the caption is empty"
    elif caption == own.get(key):
        yield f"got {quoted(caption)}, the own caption of '{id_}' in {track}; expected only others"
    elif first := rivals.get(key, {}).get(caption):
        yield f"duplicate caption {quoted(caption)} of '{id_}' in {track}; first on line {first}"


def _absent(path: Path, rivals: Mapping[tuple[str, str], Mapping[str, int]]) -> list[str]:
    """Return one line for each track in which prompts have no captions."""
    absent = {track: [id_ for (id_, of), found in rivals.items() if of == track and not found] for track in TRACKS}
    return [
        f"{path}: no captions in track '{track}' for {some_of(ids)}; expected at least one for each prompt"
        for track, ids in absent.items()
        if ids
    ]
