"""Check that two methods were scored under the same protocol, and say what differs where they were not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from avatargen.config.errors import InputError, some_of
from eval.columns import column
from eval.results_file import LONG, shortened
from eval.runs import Run

NAMES = ("judge", "name", "subset", "pool", "pool_size", "truncated", "priors")
"""Facts of a protocol that follow from others, or are names."""
ASKED = ("items", "pools")
"""Facts about what was asked for; the rest decides what the score of one avatar means."""

LABELS = {
    "content": "judge's weights",
    "views.code": "code that renders",
    "views.latents.code": "code of the prior",
    "views.latents.decoder": "decoder's weights",
    "code": "code that embeds and retrieves",
    "views.numbers": "number format",
}
"""What a difference is called, where that is not its name."""


@dataclass(frozen=True)
class TrackPair:
    """The records of two methods in one track by one judge.

    Attributes:
        method_a, method_b: their names.
        judge, track: of the records.
        a, b: the records.
    """

    method_a: str
    method_b: str
    judge: str
    track: str
    a: pd.DataFrame
    b: pd.DataFrame

    @property
    def methods(self) -> tuple[str, str]:
        """Names of both methods."""
        return (self.method_a, self.method_b)


class Asked(NamedTuple):
    """What one prompt and seed is scored against: its own caption, and all captions of its pool."""

    caption: str
    pool: frozenset[str]


def same_protocol(a: Run, b: Run, pairs: Sequence[TrackPair], common: bool) -> tuple[list[TrackPair], list[str]]:
    """Return the records that have the same protocol, and notes on what they are a part of.

    Methods that were asked for different parts of an experiment have a protocol for each part; the largest that both
    have counts.

    Args:
        a, b: the runs.
        pairs: records of each judge and track.
        common: where only the prompts and seeds differ, keep those that both have.

    Raises:
        InputError: protocols differ, or there is nothing in common; all problems.
    """
    found, notes, problems = [], [], {}
    for pair in pairs:
        shared = _shared(a, pair)
        where = f"judge '{pair.judge}', track '{pair.track}'"
        if shared:
            kept, part = _part_of(pair, shared)
            found.append(kept)
            if part:
                notes.append(f"{pair.method_a} and {pair.method_b} are compared on subset {part}, which both have")
            continue
        one, other = (_widest(run, rows) for run, rows in ((a, pair.a), (b, pair.b)))
        lines = list(_differences(one, other, common))
        for line in lines:
            problems.setdefault(line, []).append(where)
        if not lines:
            units = asked(one).keys() & asked(other).keys()
            found.append(replace(pair, a=_only(pair.a, units), b=_only(pair.b, units)))
            notes.append(
                f"compared on the {_count(units)} that both have, of {_count(asked(one))} and {_count(asked(other))}"
            )
    if problems:
        raise InputError(_report(a, b, pairs, problems))
    return found, list(dict.fromkeys(notes))


def asked(protocol: Mapping[str, Any]) -> dict[tuple[str, int], Asked]:
    """Return what is asked for under a protocol, by prompt and seed.

    Example:
        >>> item = {"prompt": "a man", "seeds": [0, 1], "caption": "a man", "pool": 0}
        >>> list(asked({"items": [item], "pools": [["a man", "a girl"]]}))
        [('a man', 0), ('a man', 1)]
    """
    return {
        (item["prompt"], seed): Asked(item["caption"], frozenset(protocol["pools"][item["pool"]]))
        for item in protocol["items"]
        for seed in item["seeds"]
    }


def _shared(a: Run, pair: TrackPair) -> str | None:
    """Return the hash of the largest protocol that all records of a part of both methods have."""
    sides = [{name for cell in column(rows, "protocol") for name in str(cell).split()} for rows in (pair.a, pair.b)]
    return max(sides[0] & sides[1], key=lambda name: (len(asked(a.protocols[name])), name), default=None)


def _part_of(pair: TrackPair, protocol: str) -> tuple[TrackPair, str]:
    """Return the records that count under a protocol, and the name of their subset; empty where that is all."""
    parts = [rows.loc[[protocol in str(cell).split() for cell in rows["protocol"]], :] for rows in (pair.a, pair.b)]
    whole = all(len(part) == len(rows) for part, rows in zip(parts, (pair.a, pair.b), strict=True))
    first = parts[0].iloc[0]
    names = dict(zip(str(first["protocol"]).split(), str(first.get("subset", "")).split(), strict=False))
    return replace(pair, a=parts[0], b=parts[1]), "" if whole else names.get(protocol, protocol)


def _widest(run: Run, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the protocol that asks for the most."""
    names = {name for cell in column(rows, "protocol") for name in str(cell).split()}
    return max((run.protocols[name] for name in sorted(names)), key=lambda facts: len(asked(facts)))


def _only(rows: pd.DataFrame, units: set[tuple[str, int]]) -> pd.DataFrame:
    return rows.loc[[unit in units for unit in zip(rows["prompt"], rows["seed"], strict=True)], :]


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], common: bool) -> Iterator[str]:
    """Yield a line for each difference of two protocols that forbids to compare."""
    sides = [flat({name: value for name, value in side.items() if name not in (*NAMES, *ASKED)}) for side in (a, b)]
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        one, other = (side.get(name, "none") for side in sides)
        if one != other:
            shown = (a["judge"], b["judge"]) if name == "content" else (shortened(one), shortened(other))
            yield f"{LABELS.get(name, name.removeprefix('views.'))}: got {shown[0]} and {shown[1]}"
    units = asked(a), asked(b)
    both = units[0].keys() & units[1].keys()
    if not both:
        yield f"prompts and seeds: got {_count(units[0])} and {_count(units[1])}, none in common"
        return
    others = [unit for unit in sorted(both) if units[0][unit] != units[1][unit]]
    if others:
        sizes = " and ".join(str(len(side[others[0]].pool)) for side in units)
        changed = sorted(units[0][others[0]].pool ^ units[1][others[0]].pool)
        yield (
            f"pool of captions: differs for {len(others)} of {_count(both)} in common; that of '{others[0][0]}' has "
            f"{sizes} captions{f', such as ‘{changed[0]}’ in one of them only' if changed else ''}"
        )
    elif not common and units[0].keys() != units[1].keys():
        missing = sorted({prompt for prompt, _ in units[0].keys() ^ units[1].keys()})
        names = some_of([f"'{prompt}'" for prompt in missing])
        yield (
            f"prompts and seeds: got {_count(units[0])} and {_count(units[1])}, {len(both)} in common (not {names}); "
            "--common compares on those"
        )


def _report(a: Run, b: Run, pairs: Sequence[TrackPair], problems: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the problems, each with the judges and tracks that have it."""
    head = f"{a.name} and {b.name} have different protocols, so their scores do not compare"
    lines = []
    for line, places in problems.items():
        unique = list(dict.fromkeys(places))
        everywhere = len(unique) == len({(pair.judge, pair.track) for pair in pairs})
        lines.append(line if everywhere else f"{line} ({'; '.join(unique[:LONG])})")
    bad = {place for places in problems.values() for place in places}
    good = {pair.track for pair in pairs} - {
        pair.track for pair in pairs if f"judge '{pair.judge}', track '{pair.track}'" in bad
    }
    hint = [f"these tracks compare: --tracks {','.join(sorted(good))}"] if good else []
    return [head, *lines, *hint]


def _count(units: Any) -> str:
    """Return the number of prompts, and of seeds where there are several."""
    prompts = {prompt for prompt, _ in units}
    seeds = f" with {len(units)} seeds" if len(units) > len(prompts) else ""
    return f"{len(prompts)} prompt{'s' if len(prompts) != 1 else ''}{seeds}"


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one mapping with dotted names.

    Example:
        >>> flat({"prior": {"guidance": 12.0}, "threads": 1})
        {'prior.guidance': 12.0, 'threads': 1}
    """
    if not isinstance(value, dict):
        return {prefix[:-1]: value}
    found: dict[str, Any] = {}
    for name, part in value.items():
        found |= flat(part, f"{prefix}{name}.")
    return found
