"""Compare two runs, or two methods, on the same prompts and seeds.

Differences are B minus A. Scores are compared only under the same protocol; :mod:`eval.same_protocol` checks that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from avatargen.config.errors import InputError, Problems, unknown
from eval.columns import column, groups, means, numbers, where
from eval.families import LEVEL
from eval.images import TRACKS
from eval.metrics import METRICS, TRUTH, Metric
from eval.runs import Run, load_run
from eval.same_protocol import TrackPair, flat, same_protocol
from eval.statistics import benjamini_hochberg, bootstrap_mean, differs, least_p, paired_p

KEY = ["prompt", "seed"]
"""What avatars are paired by."""


class Difference(NamedTuple):
    """One metric of two methods, in one track by one judge; B minus A.

    Attributes:
        judge: its name; ``truth`` for a distance to the ground-truth head.
        track: of the metric.
        metric: what is compared.
        n: prompts; seeds of a prompt are averaged.
        differ: prompts whose difference is not 0.
        a, b: means over the prompts.
        difference, low, high: mean difference and its 95 % bootstrap interval.
        p: of a paired permutation test.
        least_p: the least that p could be with as many prompts that differ.
        q: after Benjamini and Hochberg, over all rows of the comparison.
        least_q: the least that q could be.
    """

    judge: str
    track: str
    metric: Metric
    n: int
    differ: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    least_p: float
    q: float = float("nan")
    least_q: float = float("nan")

    @property
    def side(self) -> str:
        """The better side, A or B, where q is below LEVEL; else empty."""
        if not self.q < LEVEL:
            return ""
        return "B" if (self.difference > 0) == self.metric.higher_is_better else "A"

    @property
    def verdict(self) -> str:
        """Which side is better; ``same`` or ``untestable`` where no or too few prompts differ for a p below LEVEL."""
        if not self.differ:
            return "same"
        if self.least_q >= LEVEL:
            return "untestable"
        return f"{self.side} better" if self.side else ""


@dataclass(frozen=True)
class Pair:
    """Two methods that are compared.

    Attributes:
        a, b: their names in their runs.
        values: one line for each judge, track, metric, prompt and seed: `a` and `b`.
        differences: a row for each judge, track and metric.
        settings: (name, value of A, value of B) of the settings that differ.
    """

    a: str
    b: str
    values: pd.DataFrame
    differences: Sequence[Difference]
    settings: Sequence[tuple[str, str, str]]

    @property
    def name(self) -> str:
        """The two names; one where they are the same."""
        return self.a if self.a == self.b else f"{self.a} → {self.b}"


@dataclass(frozen=True)
class Comparison:
    """Two runs and the methods that were compared.

    Attributes:
        a, b: the runs.
        pairs: of methods.
        notes: what a reader should know: what was left out, and what else differs between the runs.
    """

    a: Run
    b: Run
    pairs: Sequence[Pair]
    notes: Sequence[str]

    @property
    def inverted(self) -> set[tuple[str, str]]:
        """Judges and tracks whose ceiling is inverted in either run, of those compared."""
        shown = {(row.judge, row.track) for pair in self.pairs for row in pair.differences}
        return (self.a.inverted | self.b.inverted) & shown


def compare_runs(a: str, b: str, common: bool = False, tracks: Sequence[str] | None = None) -> Comparison:
    """Compare two runs.

    Args:
        a, b: each a folder ``results/{experiment}``, or ``FOLDER:METHOD``.
        common: compare on the prompts and seeds that both have, where these differ.
        tracks: compare only these.

    Raises:
        InputError: a run is missing, unknown or of another version, or scores have different protocols; all problems.
    """
    problems = Problems()
    first, second = problems.of(lambda: load_run(a)), problems.of(lambda: load_run(b))
    first, second = problems.checked(first), problems.checked(second)
    for run in (first, second):
        known = column(run.records, "track").unique().tolist()
        problems.add(unknown("track", name, known, "--tracks") for name in tracks or () if name not in known)
    problems.check()
    names = method_pairs(first, second)
    scored = [track for pair in names for track in tracks_of(first, second, *pair, tracks)]
    if not scored:
        raise InputError([f"{first.name} and {second.name}: no judge and track has scores of both sides"])
    compared, notes = same_protocol(first, second, scored, common)
    pairs = [
        _pair(first, second, *pair, [track for track in compared if track.methods == pair], tracks) for pair in names
    ]
    return Comparison(first, second, _with_q(pairs), [*notes, *other_notes(first, second, names)])


def method_pairs(a: Run, b: Run) -> list[tuple[str, str]]:
    """Return the methods to compare: those asked for, or all that both runs have.

    Raises:
        InputError: both sides are the same, or no method is in both runs.
    """
    if a.method or b.method:
        asked = (cast(str, a.method or b.method), cast(str, b.method or a.method))
        problems = [
            unknown("method", name, run.methods, str(run.folder))
            for run, name in zip((a, b), asked, strict=True)
            if name not in run.methods
        ]
        if not problems and a.folder.resolve() == b.folder.resolve() and asked[0] == asked[1]:
            problems = [f"{a.folder}: got method '{asked[0]}' twice; expected two methods, or two runs"]
        if problems:
            raise InputError(problems)
        return [asked]
    if a.folder.resolve() == b.folder.resolve():
        names = ", ".join(a.methods)
        raise InputError([f"{a.folder}: got one run twice; name two of its methods, as {a.folder}:METHOD ({names})"])
    both = [(name, name) for name in a.methods if name in b.methods]
    if not both:
        has = " and ".join(f"{run.folder} has {', '.join(run.methods)}" for run in (a, b))
        raise InputError([f"no method is in both runs: {has}; name one of each, as {a.folder}:METHOD"])
    return both


def tracks_of(a: Run, b: Run, method_a: str, method_b: str, tracks: Sequence[str] | None = None) -> list[TrackPair]:
    """Return the judges and tracks in which both methods have scores, in the order of the records."""
    found = [
        {(judge, track): rows for (judge, track), rows in groups(where(run.records, method=name), "judge", "track")}
        for run, name in ((a, method_a), (b, method_b))
    ]
    return [
        TrackPair(method_a, method_b, judge, track, rows, found[1][judge, track])
        for (judge, track), rows in found[0].items()
        if (judge, track) in found[1] and (tracks is None or track in tracks)
    ]


def other_notes(a: Run, b: Run, names: Sequence[tuple[str, str]]) -> list[str]:
    """Return what else differs: judges and tracks of one side alone, how avatars were made, versions."""
    notes = []
    if a.truth_protocol and b.truth_protocol and a.truth_protocol != b.truth_protocol:
        notes.append("distances to the ground truth are left out, since other code measured them")
    for method_a, method_b in names:
        for kind in ("judge", "track"):
            one, other = (set(column(where(run.records, method=m), kind)) for run, m in ((a, method_a), (b, method_b)))
            notes += [f"{kind} '{name}' scores only one of {method_a} and {method_b}" for name in sorted(one ^ other)]
    for name in ("batch_size", "number_format", "torch", "cpu", "gpu"):
        sides = [run.made(name, [pair[side] for pair in names]) for side, run in enumerate((a, b))]
        if sides[0] != sides[1]:
            notes.append(f"{name.replace('_', ' ')} of the optimisation: {sides[0]} → {sides[1]}")
    versions = [run.file.versions for run in (a, b)]
    for name in dict.fromkeys([*versions[0], *versions[1]]):
        one, other = (side.get(name, "none") for side in versions)
        if one != other:
            notes.append(f"{name}: {one} → {other}")
    return list(dict.fromkeys(notes))


def _pair(
    a: Run, b: Run, method_a: str, method_b: str, scored: Sequence[TrackPair], tracks: Sequence[str] | None
) -> Pair:
    """Compare two methods: by their records of the same protocol, and by distances of the tracks asked for."""
    frames = [_values(pair.a, pair.b, pair.judge, pair.track, truth=False) for pair in scored]
    one, other = a.distances(method_a), b.distances(method_b)
    if len(one) and len(other) and a.truth_protocol == b.truth_protocol:
        asked = tracks or TRACKS
        wanted = dict.fromkeys(metric.track for metric in METRICS if metric.track and metric.track in asked)
        frames += [_values(one, other, TRUTH, track, truth=True) for track in wanted]
    frames = [frame for frame in frames if len(frame)]
    values = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    found = groups(values, "judge", "track", "metric") if frames else ()
    differences = [_difference(rows) for _, rows in found]
    return Pair(method_a, method_b, values, differences, settings_that_differ(a, b, method_a, method_b))


def _values(a: pd.DataFrame, b: pd.DataFrame, judge: str, track: str, truth: bool) -> pd.DataFrame:
    """Return the values of every metric that both tables hold, paired by prompt and seed."""
    frames = []
    for metric in METRICS:
        if truth != (metric.track == track) or not {metric.record} <= {*a.columns} & {*b.columns}:
            continue
        sides = [_series(table, metric) for table in (a, b)]
        both = pd.concat(sides, axis=1, keys=["a", "b"], join="inner").dropna().reset_index()
        if len(both):
            frames.append(both.assign(judge=judge, track=track, metric=metric.name))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _series(table: pd.DataFrame, metric: Metric) -> pd.Series:
    """Return a metric by prompt and seed; a prompt that two lists hold is averaged."""
    values = numbers(column(table, metric.record), errors="coerce")
    if metric.first:
        values = cast(pd.Series, values.eq(1).astype(float).where(values.notna()))
    return means(table.assign(value=values), "value", by=KEY)


def _difference(rows: pd.DataFrame) -> Difference:
    first, (one, other) = rows.iloc[0], (means(rows, side, by=["prompt"]).to_numpy(np.float64) for side in "ab")
    differences = other - one
    mean = bootstrap_mean(differences)
    return Difference(
        judge=first["judge"],
        track=first["track"],
        metric=next(metric for metric in METRICS if metric.name == first["metric"]),
        n=len(differences),
        differ=int(differs(differences).sum()),
        a=float(one.mean()),
        b=float(other.mean()),
        difference=mean.value,
        low=mean.low,
        high=mean.high,
        p=paired_p(differences),
        least_p=least_p(differences),
    )


def _corrected(row: Difference, q: float, least_q: float) -> Difference:
    return row._replace(q=q, least_q=least_q)


def _with_q(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs with q-values; all rows of the comparison are one family."""
    found = [row for pair in pairs for row in pair.differences]
    corrected = (benjamini_hochberg(np.array([getattr(row, of) for row in found])) for of in ("p", "least_p"))
    q = iter(zip(*(values.tolist() for values in corrected), strict=True))
    return [replace(pair, differences=[_corrected(row, *next(q)) for row in pair.differences]) for pair in pairs]


def settings_that_differ(a: Run, b: Run, method_a: str, method_b: str) -> list[tuple[str, str, str]]:
    """Return the resolved settings in which two methods differ, nested ones dotted."""
    sides = [flat(run.file.config.runs.get(name, {})) for run, name in ((a, method_a), (b, method_b))]
    return [
        (name, str(sides[0].get(name, "–")), str(sides[1].get(name, "–")))
        for name in dict.fromkeys([*sides[0], *sides[1]])
        if name != "method_name" and sides[0].get(name) != sides[1].get(name)
    ]
