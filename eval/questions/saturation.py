"""Answer: which remedies take saturation away, and at what cost in colour and recognition?

Each method is a point: the saturated share of its pixels, its colour error and its texture margin. Methods that differ
in nothing but the guidance scale are one curve. The ground-truth head's share is the share of pixels that the prompts
want saturated, such as those of black hair: less is no better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from avatargen.config.experiment import RunConfig
from eval.plot_style import DASHES, FAINT, INK, MARKERS, PALETTE
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.statements import NOT_MEASURED, by_prompt, compared, distances, scores, values
from eval.statistics import bootstrap_mean
from eval.tabulate import baseline_of_experiment

QUESTION = "Which remedies take saturation away, and at what cost in colour and recognition?"


class Measured(NamedTuple):
    """A measure of a point: key, name, decimals and sign of better."""

    key: str
    name: str
    decimals: int
    better: int


MEASURES = (
    Measured("saturated", "saturated share", 3, -1),
    Measured("colour_error", "colour error", 4, -1),
    Measured("margin", "texture margin", 4, 1),
)


MM = "geometry_mm"
"""Shown beside the measures; no remedy is asked to better it."""
OUTLIER = 6.0
"""Points further than this many interquartile ranges from the middle half are named at the border of a plot."""
CONSTANT = "constant_guidance"
"""The method without the guidance interval, which is a remedy of ours."""
_ALL = "saturated share, colour error and margin"


class Point(NamedTuple):
    """A method, its guidance scale, the mean seconds of an avatar, and its measures by (list, item, seed)."""

    method: str
    guidance: float
    seconds: float
    found: dict[str, pd.Series]


Curves = dict[str, list[Point]]
"""Points that differ in the guidance scale alone, by the name of their method."""


def answer(evidence: Evidence) -> Answer:
    """Return the answer."""
    baseline = baseline_of_experiment(evidence.experiment)
    curves = _curves(evidence)
    points = [point for curve in curves.values() for point in curve]
    ours = next((point for point in points if point.method == baseline), None)
    if ours is None or any(found.empty for found in ours.found.values()):
        return Answer(QUESTION, f"The remedies cannot be compared: the measures of '{baseline}' are {NOT_MEASURED}.")
    common = _common(points)
    truth = _point(evidence, "oracle", float("nan"))
    return Answer(
        QUESTION,
        f"{_in_words(points, ours, common)} {_on_all_prompts(curves, ours, truth)}",
        tuple(_statements(curves, ours)),
        (
            AnswerTable("Remedies on all prompts", _TESTED_TEXT, _tested_table(curves, ours, truth)),
            AnswerTable(
                "Guidance scales", _TEXT.format(n=len(common), ours=baseline), _table(curves, ours, truth, common)
            ),
        ),
        {"curves": (_plot(curves, ours, truth, common), _CAPTION.format(n=len(common), ours=baseline))},
    )


_TESTED_TEXT = "Means over all prompts, at the guidance scale that the statements test."
_TEXT = (
    "Means over the {n} avatars (prompt and seed) that every method has. better: the measures in which the mean is "
    "better than {ours}'s. seconds: of one avatar."
)
_CAPTION = (
    "Colour error and texture margin over the saturated share, means over the {n} avatars that every method has. A "
    "line joins the guidance scales of one remedy. ring: {ours}; dotted: the share of the ground-truth heads."
)


def _curves(evidence: Evidence) -> Curves:
    """Return the methods that were measured, by what they are apart from their guidance scale."""
    found: dict[str, list[Point]] = {}
    for name, run in evidence.runs.items():
        point = _point(evidence, name, run.prior.guidance)
        if run.method.optimises and not any(series.empty for series in point.found.values()):
            found.setdefault(_apart_from_guidance(run), []).append(point)
    curves = (sorted(points, key=lambda point: point.guidance) for points in found.values())
    return {min((point.method for point in points), key=len).split("-")[0]: points for points in curves}


def _apart_from_guidance(run: RunConfig) -> str:
    """Return what decides the avatars of a method, but for its guidance scale, as text."""
    plain = run.prior.model_copy(update={"guidance": 1.0})
    return repr(run.model_copy(update={"prior": plain, "method_name": ""}).model_dump())


def _point(evidence: Evidence, method: str, guidance: float) -> Point:
    found = {
        "saturated": values(evidence.diagnoses, "saturated", method=method),
        "colour_error": distances(evidence, "colour_error", method),
        "margin": scores(evidence, "margin", method, "texture"),
        MM: distances(evidence, MM, method),
    }
    return Point(method, guidance, float(values(evidence.costs, "seconds", method=method).mean()), found)


def _common(points: Sequence[Point]) -> pd.Index:
    """Return the avatars, (list, item, seed), that all points have in all measures."""
    shared, *others = (series.index for point in points for series in point.found.values())
    for index in others:
        shared = shared.intersection(index)
    return shared


def _mean(point: Point, key: str, common: pd.Index) -> float:
    """Return a point's mean over the prompts that all points have; NaN where it has not all of them."""
    series = point.found[key]
    if not len(common) or not common.isin(series.index).all():
        return float("nan")
    return float(by_prompt(series.loc[common]).mean())


def _gains(point: Point, ours: Point, common: pd.Index) -> list[Measured]:
    """Return the measures in which the mean of a point is better than ours."""
    return [one for one in MEASURES if one.better * (_mean(point, one.key, common) - _mean(ours, one.key, common)) > 0]


def _in_words(points: Sequence[Point], ours: Point, common: pd.Index) -> str:
    others = [point for point in points if point is not ours]
    better = [point for point in others if len(_gains(point, ours, common)) == len(MEASURES)]
    if not better:
        found = f"No point of {len(others)} has better means than {ours.method} on all three measures."
    else:
        named = ", ".join(f"{point.method} (guidance {point.guidance:g})" for point in better)
        found = (
            f"{len(better)} of {len(others)} points have better means than {ours.method} on saturated share, colour "
            f"error and texture margin: {named}. The statements say which of these differences are beyond chance."
        )
    least = min(points, key=lambda point: _mean(point, "saturated", common))
    closest = min(points, key=lambda point: _mean(point, "colour_error", common))
    return (
        f"{found} The lowest saturated share is {least.method}'s ({_mean(least, 'saturated', common):.3f}, "
        f"{ours.method} {_mean(ours, 'saturated', common):.3f}), the lowest colour error {closest.method}'s "
        f"({_mean(closest, 'colour_error', common):.4f}, {ours.method} {_mean(ours, 'colour_error', common):.4f}); "
        f"means over {len(common)} avatars."
    )


def _on_all_prompts(curves: Curves, ours: Point, truth: Point) -> str:
    """Say which remedies lower the saturated share on all prompts, and what that costs."""
    tested = {name: _tested(points, ours) for name, points in curves.items()}
    means = {name: _means(point) for name, point in tested.items()}
    own = _means(ours)
    lower = sorted(
        (name for name in means if means[name]["saturated"] < own["saturated"]), key=lambda n: means[n]["saturated"]
    )

    def told(found: dict[str, float]) -> str:
        return f"{found['saturated']:.3f} (colour error {found['colour_error']:.4f}, {found[MM]:.2f} mm)"

    parts = [f"{name} {told(means[name])}" for name in lower] or ["none"]
    share = _means(truth)["saturated"]
    return (
        f"On all {len(by_prompt(ours.found['margin']))} prompts, these have a lower saturated share than "
        f"{ours.method}'s {told(own)}: {', '.join(parts)}"
        + ("." if np.isnan(share) else f"; ground-truth heads have {share:.3f}.")
    )


def _tested(points: Sequence[Point], ours: Point) -> Point:
    """Return the point of a curve that is tested, chosen without its values.

    Of those with the most prompts, it is the one nearest to our guidance.
    """
    return max(points, key=lambda p: (len(by_prompt(p.found["margin"])), -abs(p.guidance - ours.guidance)))


def _means(point: Point) -> dict[str, float]:
    """Return a point's means over all of its prompts."""
    return {key: float(by_prompt(series).mean()) for key, series in point.found.items()}


def _tested_table(curves: Curves, ours: Point, truth: Point) -> pd.DataFrame:
    points = {name: _tested(points, ours) for name, points in curves.items()} | {"ground truth": truth}
    about = {
        name: {"remedy": name, "guidance": point.guidance, "prompts": len(by_prompt(point.found["margin"]))}
        for name, point in points.items()
    }
    return pd.DataFrame([facts | _means(points[name]) for name, facts in about.items()])


def _statements(curves: Curves, ours: Point) -> Iterator[Statement]:
    """Yield, for the tested point of each other curve, whether it is better than ours on all measures."""
    for name, points in curves.items():
        if ours in points:
            continue
        if name == CONSTANT:
            same = next((point for point in points if point.guidance == ours.guidance), None)
            if same is not None:
                yield _on_all(f"{ours.method} is better than {name} in {_ALL}", ours, same)
        point = _tested(points, ours)
        yield _on_all(f"{name} is better than {ours.method} in {_ALL}", point, ours)


def _on_all(text: str, first: Point, second: Point) -> Statement:
    """Return the statement that a point is better in all measures: that of the measure which speaks most against it.

    All differences are real at a level if each of them is (intersection-union test; Berger 1982), so p is the largest.
    Where a difference has the wrong sign, p is that of the clearest such difference, times the number of measures.
    """
    tests = [
        compared(one.name, first.found[one.key], second.found[one.key], (first.method, second.method), sign=one.better)
        for one in MEASURES
    ]
    against = [test for test in tests if test.sign * test.difference <= 0]
    if against:  # the one that speaks most against it, of as many
        worst = min(against, key=lambda test: test.p)
        worst = worst._replace(p=min(1.0, len(tests) * worst.p), least_p=min(1.0, len(tests) * worst.least_p))
    else:
        worst = max(tests, key=lambda test: test.p)
    figure = "; ".join(
        f"{one.name} {bootstrap_mean(_differences(first, second, one.key)).value:+.{one.decimals}f}" for one in MEASURES
    )
    return worst._replace(text=text, figure=f"{figure}; tested: {worst.text}")


def _differences(first: Point, second: Point, key: str) -> np.ndarray:
    """Return first minus second, prompt by prompt."""
    return by_prompt((first.found[key] - second.found[key]).dropna()).to_numpy(np.float64)


def _table(curves: Curves, ours: Point, truth: Point, common: pd.Index) -> pd.DataFrame:
    rows = [
        {
            "remedy": name,
            "guidance": point.guidance,
            **{one.key: _mean(point, one.key, common) for one in MEASURES},
            "seconds": point.seconds,
            "better": ", ".join(one.name for one in _gains(point, ours, common)) if point is not ours else "",
        }
        for name, points in [*curves.items(), ("ground truth", [truth])]
        for point in points
    ]
    return pd.DataFrame(rows)


def _plot(curves: Curves, ours: Point, truth: Point, common: pd.Index) -> Figure:
    figure = Figure(figsize=(10.4, 5.6))
    for axis, one in zip(figure.subplots(1, 2), MEASURES[1:], strict=True):
        for number, (name, points) in enumerate(curves.items()):
            _draw(axis, one.key, name, points, number, common)
        place = (_mean(ours, "saturated", common), _mean(ours, one.key, common))
        axis.scatter(*place, s=190, facecolors="none", edgecolors=INK, linewidths=1.4, zorder=4)
        axis.axvline(_mean(truth, "saturated", common), color=FAINT, ls=":", label="ground truth")
        _focus(axis, one.key, [point for points in curves.values() for point in points], common)
        axis.set_title(one.name)
        axis.set_xlabel("saturated share of the head's pixels")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9)
    return figure


def _focus(axis: Axes, key: str, points: Sequence[Point], common: pd.Index) -> None:
    """Limit a plot to the points that are no outliers, and name these at its upper edge."""
    places = np.array([[_mean(point, one, common) for one in ("saturated", key)] for point in points])
    low, high = np.nanquantile(places, (0.25, 0.75), axis=0)
    reach = OUTLIER * (high - low)
    inside = ((places >= low - reach) & (places <= high + reach)).all(axis=1)
    shown = places[inside]
    room = 0.08 * np.ptp(shown, axis=0) + 1e-9
    axis.set_xlim(min(0.0, shown[:, 0].min()) - room[0], shown[:, 0].max() + 2 * room[0])
    axis.set_ylim(shown[:, 1].min() - room[1], shown[:, 1].max() + 2 * room[1])
    apart = [
        f"{point.method}: {x:.3f}, {y:.4f}"
        for point, (x, y), near in zip(points, places, inside, strict=True)
        if not near
    ]
    if apart:
        text = "\n".join(["not shown:", *apart])
        axis.text(
            0.99, 0.99, text, transform=axis.transAxes, ha="right", va="top", fontsize=8, color=INK, in_layout=False
        )


def _draw(axis: Axes, key: str, name: str, points: Sequence[Point], number: int, common: pd.Index) -> None:
    """Draw a curve, with the guidance scale at its points."""
    across, up = ([_mean(point, one, common) for point in points] for one in ("saturated", key))
    round_ = number // len(PALETTE)
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[round_ % len(MARKERS)]
    axis.plot(across, up, ls=DASHES[round_ % len(DASHES)], marker=marker, ms=5, color=colour, label=name, lw=1.3)
    for point, x, y in zip(points, across, up, strict=True) if len(points) > 1 else ():
        axis.annotate(f"{point.guidance:g}", (x, y), (4, 3), textcoords="offset points", fontsize=7, color=colour)
