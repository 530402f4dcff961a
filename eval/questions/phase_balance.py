"""Answer: how should steps be split between texture and geometry, and how few steps are enough?

A method of the experiment is a point of a response surface: the steps of phases 1 and 2 together, the share of phase 1,
the period of the masks, and whether the rates of the geometry are scaled up by what its phase loses in steps. Rates are
root mean square steps that decay over phase 2, so the geometry of a run of half the steps can travel half as far.

A schedule keeps the baseline's scores if no headline score is worse than the baseline's 95 % interval, nor worse prompt
by prompt: the 95 % interval of the paired differences reaches zero. Both are looser where prompts are few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isclose
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from avatargen.config.experiment import RunConfig
from eval.plot_style import INK, PALETTE
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.statements import NOT_MEASURED, Score, average, compared, values
from eval.statistics import Interval
from eval.tabulate import baseline_of_experiment

QUESTION = "How should steps be split between texture and geometry, and how few are enough?"


HEADLINES = (
    Score("geometry_mm", "geometry error, mm", "mm", 2, -1),
    Score("colour_error", "colour error", "", 4, -1),
    Score("margin_texture", "margin, texture", "", 4, 1, "texture"),
    Score("margin_shape_in_colour", "margin, shape in colour", "", 4, 1, "shape_in_colour"),
    Score("margin_geometry", "margin, geometry", "", 4, 1, "geometry"),
)


@dataclass(frozen=True)
class Schedule:
    """Where a method lies on the response surface.

    Attributes:
        steps: of phases 1 and 2 together.
        share: of phase 1.
        mask_period: steps between refreshes of the masks.
        reach: what the rate of shape times the steps of phase 2 is, relative to the baseline's.
    """

    steps: int
    share: float
    mask_period: int
    reach: float

    @classmethod
    def of(cls, run: RunConfig, baseline: RunConfig) -> Schedule:
        """Return the schedule of a method."""
        method, other = run.method, baseline.method
        steps = method.phase1_steps + method.phase2_steps
        way = method.lr_shape * method.phase2_steps / (other.lr_shape * other.phase2_steps or np.nan)
        return cls(steps, method.phase1_steps / max(steps, 1), method.mask_period, way)

    def is_near(self, other: Schedule) -> bool:
        """Return whether two schedules are the same up to the rounding of steps."""
        return (
            abs(self.steps - other.steps) <= 1
            and abs(self.share - other.share) <= 0.02
            and self.mask_period == other.mask_period
            and isclose(self.reach, other.reach, rel_tol=0.05)
        )


class Point(NamedTuple):
    """A method: its schedule, its seconds for an avatar, and its headline scores; NaN where not measured.

    `behind` is by how much each score is worse than the baseline's, prompt by prompt.
    """

    method: str
    at: Schedule
    seconds: float
    scores: dict[str, Interval]
    behind: dict[str, Interval]


def answer(evidence: Evidence) -> Answer:
    """Return the answer."""
    baseline = baseline_of_experiment(evidence.experiment)
    points = list(_points(evidence, baseline))
    base = next((point for point in points if point.method == baseline), None)
    if base is None or all(np.isnan(found.value) for found in base.scores.values()):
        return Answer(QUESTION, f"The schedules cannot be compared: the scores of '{baseline}' are {NOT_MEASURED}.")
    kept = [point for point in points if _keeps(point, base)]
    return Answer(
        QUESTION,
        _in_words(points, base, kept),
        tuple(_statements(evidence, points, base)),
        (AnswerTable("Schedules", _TABLE_TEXT.format(baseline=baseline), _table(points, kept)),),
        _plots(points, base),
    )


_TABLE_TEXT = (
    "Means over prompts. keeps: no headline score is worse than the 95 % interval of {baseline}'s, nor prompt by "
    "prompt (paired 95 % interval). reach: how far the rates let shape travel, relative to {baseline}. seconds: of one "
    "avatar; they depend on what else the machine did."
)


def _points(evidence: Evidence, baseline: str) -> Iterator[Point]:
    runs = evidence.runs
    for name, run in runs.items():
        if run.method.optimises and baseline in runs and _same_but_for_schedule(run, runs[baseline]):
            series = {one: (one.of(evidence, name), one.of(evidence, baseline)) for one in HEADLINES}
            found = {one.column: average(own) for one, (own, _) in series.items()}
            behind = {one.column: average((-one.better * (own - base)).dropna()) for one, (own, base) in series.items()}
            seconds = average(values(evidence.costs, "seconds", method=name)).value
            yield Point(name, Schedule.of(run, runs[baseline]), seconds, found, behind)


def _same_but_for_schedule(run: RunConfig, baseline: RunConfig) -> bool:
    """Return whether a method differs from the baseline in nothing but its schedule."""
    varied = ("phase1_steps", "phase2_steps", "mask_period", "lr_shape", "lr_expression", "lr_offsets")
    own = {name: getattr(baseline.method, name) for name in varied}
    return run.method.model_copy(update=own) == baseline.method and run.prior == baseline.prior


def _keeps(point: Point, base: Point) -> bool:
    """Return whether a schedule keeps every headline score that the baseline has; see the module."""
    for one in HEADLINES:
        own, bound, behind = point.scores[one.column].value, base.scores[one.column], point.behind[one.column]
        if np.isnan(bound.value):
            continue
        within = own <= bound.high if one.better < 0 else own >= bound.low
        if not (within and behind.low <= 0):
            return False
    return True


def _table(points: Sequence[Point], kept: Sequence[Point]) -> pd.DataFrame:
    rows = [
        {
            "method": point.method,
            "steps": point.at.steps,
            "share_of_phase_1": round(point.at.share, 2),
            "mask_period": point.at.mask_period,
            "reach": round(point.at.reach, 2),
            "seconds": point.seconds,
            **{one.column: point.scores[one.column].value for one in HEADLINES},
            "keeps": "yes" if point in kept else "no",
        }
        for point in points
    ]
    return pd.DataFrame(rows)


def _in_words(points: Sequence[Point], base: Point, kept: Sequence[Point]) -> str:
    cheapest = min(kept, key=_cost, default=base)
    lines = []
    if _cost(cheapest) < _cost(base):
        lines.append(
            f"The cheapest schedule that keeps every headline score of {base.method} is "
            f"{cheapest.method}: {_described(cheapest)}, against {_described(base)}."
        )
    else:
        lines.append(f"No schedule that is cheaper than {base.method} ({_described(base)}) keeps every headline score.")
    near = [one for one in HEADLINES if _is_best_within_error(points, base, one)]
    far = [one for one in HEADLINES if one not in near and not np.isnan(base.scores[one.column].value)]
    best = {one.name: _best(points, one) for one in far}
    lines.append(
        f"{base.method} is best within error in: {'; '.join(one.name for one in near) or 'no score'}"
        + (f". Not in: {'; '.join(f'{name} (best: {point.method})' for name, point in best.items())}." if best else ".")
    )
    return " ".join(lines)


def _cost(point: Point) -> tuple[int, int]:
    """Return what orders schedules by cost: steps, then refreshes of masks; seconds depend on a machine's load."""
    return point.at.steps, -point.at.mask_period


def _best(points: Sequence[Point], one: Score) -> Point:
    known = [point for point in points if not np.isnan(point.scores[one.column].value)]
    return max(known, key=lambda point: one.better * point.scores[one.column].value)


def _is_best_within_error(points: Sequence[Point], base: Point, one: Score) -> bool:
    """Return whether the best schedule's mean lies within the baseline's interval, or is the baseline's."""
    own = base.scores[one.column]
    return not np.isnan(own.value) and own.low <= _best(points, one).scores[one.column].value <= own.high


def _described(point: Point) -> str:
    at = point.at
    scaled = f", {at.reach:.1f} times the reach" if not isclose(at.reach, 1, rel_tol=0.05) else ""
    return f"{at.steps} steps, {100 * at.share:.0f} % of them phase 1, masks every {at.mask_period} steps{scaled}"


def _statements(evidence: Evidence, points: Sequence[Point], base: Point) -> Iterator[Statement]:
    """Yield what is tested: one change of the baseline's schedule at a time, and scaled rates at half the steps."""
    at, names = base.at, [point.method for point in points]
    half = _nearest(points, replace(at, steps=at.steps // 2, reach=at.reach / 2))
    quarter = _nearest(points, replace(at, steps=at.steps // 4, reach=at.reach / 4))
    scaled = _nearest(points, replace(at, steps=at.steps // 2))
    plain = [point for point in points if point.at.steps == at.steps and point.at.mask_period == at.mask_period]
    shares = sorted(plain, key=lambda point: point.at.share)
    masks = [point for point in points if replace(point.at, mask_period=at.mask_period).is_near(at)]
    masks.sort(key=lambda point: point.at.mask_period)
    tests = [
        ("half the steps leave the geometry further from the truth", half, base, 0, 1),
        ("half the steps leave the colours further from the truth", half, base, 1, 1),
        ("half the steps lower the margin of texture", half, base, 2, -1),
        ("a quarter of the steps leaves the geometry further from the truth", quarter, base, 0, 1),
        ("a quarter of the steps lowers the margin of texture", quarter, base, 2, -1),
        ("rates scaled to half the steps bring the geometry closer than rates as they are", scaled, half, 0, -1),
        ("a shorter phase 1 brings the geometry closer to the truth", shares[0], base, 0, -1),
        ("a longer phase 1 brings the colours closer to the truth", shares[-1], base, 1, -1),
        ("masks refreshed more often bring the geometry closer to the truth", masks[0], base, 0, -1),
        ("masks refreshed less often leave the geometry further from the truth", masks[-1], base, 0, 1),
    ]
    for text, first, second, which, sign in tests:
        one = HEADLINES[which]
        if first is None or second is None or first is second:
            yield Statement(text, f"{NOT_MEASURED}: no such schedule among {len(names)}", sign=sign)
            continue
        pair = (one.of(evidence, first.method), one.of(evidence, second.method))
        sides = (_label(first, base), _label(second, base))
        yield compared(text, *pair, sides, one.unit, one.decimals, sign)


def _label(point: Point, base: Point) -> str:
    """Return what differs from the baseline's schedule; the baseline's name for nothing."""
    at, own = point.at, base.at
    parts = [f"{at.steps} steps"] * (at.steps != own.steps)
    parts += [f"{100 * at.share:.0f} % phase 1"] * (abs(at.share - own.share) > 0.02)
    parts += [f"masks every {at.mask_period}"] * (at.mask_period != own.mask_period)
    parts += ["scaled rates"] * (not isclose(_way(point), _way(base), rel_tol=0.05))
    return " and ".join(parts) or base.method


def _nearest(points: Sequence[Point], at: Schedule) -> Point | None:
    return next((point for point in points if point.at.is_near(at)), None)


def _plots(points: Sequence[Point], base: Point) -> dict[str, tuple[Figure, str]]:
    """Return the response surface: lines over the steps for each share, and for each mask period."""
    if len(points) < 2:
        return {}
    at, plots = base.at, {}
    natural = [point for point in points if isclose(_way(point), _way(base), rel_tol=0.05)]
    shares = [point for point in natural if point.at.mask_period == at.mask_period]
    masks = [point for point in natural if abs(point.at.share - at.share) <= 0.02]
    scaled = [point for point in points if point not in natural]
    by_share = _lines(shares, lambda at: f"{100 * at.share:.0f} % phase 1", lambda at: round(at.share, 1))
    by_mask = _lines(masks, lambda at: f"masks every {at.mask_period}", lambda at: at.mask_period)
    ring = f"ring: {base.method}; bars: 95 % intervals over prompts"
    if by_share:
        text = f"Scores over the steps, by the share of phase 1 ({ring})."
        plots["by_share"] = (_surface(by_share, base), text)
    if len(by_mask) > 1 or scaled:
        lines = by_mask | ({"rates scaled": sorted(scaled, key=lambda point: point.at.steps)} if scaled else {})
        text = f"The same by the period of the masks, and with rates of the geometry scaled to the steps ({ring})."
        plots["by_masks"] = (_surface(lines, base), text)
    return plots


def _way(point: Point) -> float:
    """Return the reach for each step of phase 2, which is the rate."""
    return point.at.reach / max((1 - point.at.share) * point.at.steps, 1e-9)


def _lines(
    points: Sequence[Point], label: Callable[[Schedule], str], key: Callable[[Schedule], float]
) -> dict[str, list[Point]]:
    """Return the points of each line in the order of their steps, by the label of the line."""
    found: dict[float, list[Point]] = {}
    for point in sorted(points, key=lambda point: (key(point.at), point.at.steps)):
        found.setdefault(key(point.at), []).append(point)
    return {label(line[0].at): line for line in found.values()}


def _surface(lines: dict[str, list[Point]], base: Point) -> Figure:
    figure = Figure(figsize=(9.6, 6.4))
    shown = (*HEADLINES[:3], HEADLINES[4])
    for axis, one in zip(figure.subplots(2, 2).flat, shown, strict=True):
        for number, (label, points) in enumerate(lines.items()):
            _draw(axis, one, points, label, PALETTE[number % len(PALETTE)], 3 * (number - len(lines) / 2))
        own = base.scores[one.column].value
        axis.scatter([base.at.steps], [own], s=130, facecolors="none", edgecolors=INK, linewidths=1.3, zorder=4)
        axis.set_title(one.name)
        axis.set_xlabel("steps")
        axis.set_xticks(sorted({point.at.steps for points in lines.values() for point in points}))
        axis.set_xlim(left=0)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), fontsize=9)
    return figure


def _draw(axis: Axes, one: Score, points: Sequence[Point], label: str, colour: str, shift: float) -> None:
    steps = [point.at.steps + shift for point in points]
    found = [point.scores[one.column] for point in points]
    middle = [interval.value for interval in found]
    spread = [[i.value - i.low for i in found], [i.high - i.value for i in found]]
    axis.errorbar(steps, middle, spread, fmt="o-", color=colour, ms=5, elinewidth=1.2, label=label)
