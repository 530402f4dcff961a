"""Answer: where does the span of the head model end, and what do offsets take over?

See :mod:`eval.diagnostics.shape` and :mod:`eval.feature_sweep` for what is measured. The sweep asks no prior: it takes
less than a minute of a core, and the head of the closed world.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pandas as pd
from matplotlib.figure import Figure

from avatargen.config.plugins import HEADS, load_class
from avatargen.heads.anny.head import AnnyHead
from eval.columns import column, groups, where
from eval.feature_sweep import Reached, sweep
from eval.plot_style import FAINT, PALETTE
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.statements import NOT_MEASURED, as_text, average, compared, distances, measured
from eval.tabulate import baseline_of_experiment

QUESTION = "Where does the span of the head model end, and what do offsets take over?"
SPAN = 0.05
"""A feature lies within the span where the distance left is at most this share of the feature."""
BOUNDS = 0.05
"""Share of the coefficients at a bound above which an avatar counts as at the edge of the model's span."""
KINDS = ("skin", "volumes")
COEFFICIENTS = 12
"""Coefficients that the table lists."""


def answer(evidence: Evidence) -> Answer:
    """Return the answer."""
    baseline = baseline_of_experiment(evidence.experiment)
    reached = _sweep(evidence, baseline)
    tables = (
        AnswerTable("Features by strength", SWEEP_TEXT, pd.DataFrame(reached, columns=list(Reached._fields))),
        AnswerTable("Methods", METHODS_TEXT, _methods(evidence)),
        AnswerTable("Coefficients", COEFFICIENTS_TEXT, _coefficients(evidence, baseline)),
    )
    plots = {}
    if reached:
        plots["features"] = (_sweep_plot(reached), SWEEP_TEXT)
    if any(
        run.method.optimises for name, run in evidence.runs.items() if name in _methods(evidence)["method"].tolist()
    ):
        plots["extreme_heads"] = (_extreme_plot(evidence), EXTREME_TEXT)
    return Answer(
        QUESTION,
        " ".join([_sweep_words(reached), _method_words(evidence, baseline)]),
        tuple(_statements(evidence, baseline)),
        tuple(table for table in tables if len(table.table)),
        plots,
    )


SWEEP_TEXT = (
    "How near the head model comes to one feature of a bald head, scaled (1: the ground truth's), by least squares and "
    "without any prior: distances over the surface that the feature moves. feature_mm: of the head without it."
)
METHODS_TEXT = (
    "Means over prompts. error_mm: distance to the ground truth, apart for skin and for volumes (hair, beards, horns), "
    "which coefficients do not make. span_mm, in the oracle's line: of the nearest head within the bounds."
)
COEFFICIENTS_TEXT = (
    "Deviation from the template as a fraction of the range, over prompts, for the coefficients that move most."
)
EXTREME_TEXT = (
    "Skin of each avatar: distance to the ground truth against that of the template. Below the diagonal, an avatar is "
    "nearer than the template."
)


def _sweep(evidence: Evidence, baseline: str) -> list[Reached]:
    """Return the sweep; none with another head model than the closed world's."""
    if evidence.experiment.head not in HEADS or baseline not in evidence.runs:
        return []
    head = load_class("head", evidence.experiment.head, HEADS).load() if evidence.experiment.head == "anny" else None
    return sweep(head, evidence.runs[baseline].method.offset_limit_mm / 1000) if isinstance(head, AnnyHead) else []


def _statements(evidence: Evidence, baseline: str) -> list[Statement]:
    """Return what offsets and coefficients bring, by parts of the surface, and whether coefficients are at bounds."""

    def error(method: str, kind: str) -> pd.Series:
        return measured(evidence, "shape", "error_mm", method, condition=kind)

    def against(text: str, first: str, second: str, kind: str) -> Statement:
        return compared(f"{text}, {kind}", error(first, kind), error(second, kind), (first, second), "mm")

    own, without = (distances(evidence, "geometry_mm", name) for name in (baseline, "no_offsets"))
    limit = measured(evidence, "shape", "span_mm", "no_offsets", condition="")
    bounds = measured(evidence, "shape", "at_bounds", baseline)
    names = (baseline, "no_offsets")
    return [
        compared("offsets bring extreme heads closer to the ground truth", own, without, names, "mm"),
        *(against("offsets bring extreme heads closer", baseline, "no_offsets", kind) for kind in KINDS),
        *(against("coefficients bring extreme heads closer", baseline, "no_shape", kind) for kind in KINDS),
        *(
            against("avatars are nearer to extreme heads than the template", baseline, "template", kind)
            for kind in KINDS
        ),
        compared(
            "without offsets, the span could come nearer than the method does",
            limit,
            error("no_offsets", ""),
            ("nearest head of the span", "no_offsets"),
            "mm",
        ),
        compared(
            f"fewer than {100 * BOUNDS:.0f} % of the coefficients are at a bound",
            bounds,
            BOUNDS,
            (baseline, "limit"),
            decimals=3,
        ),
    ]


def _methods(evidence: Evidence) -> pd.DataFrame:
    rows = []
    for method in evidence.runs:
        found = {
            f"{name}_{kind}" if kind else name: average(measured(evidence, "shape", name, method, condition=kind)).value
            for name, kinds in (
                ("error_mm", KINDS),
                ("span_mm", ("", *KINDS) if method == "oracle" else ()),
                ("by_coefficients_mm", ("",)),
                ("by_offsets_mm", ("",)),
                ("offsets_share", ("",)),
                ("at_bounds", ("",)),
            )
            for kind in kinds
        }
        if not pd.isna(found["at_bounds"]):
            rows.append({"method": method, **found})
    return pd.DataFrame(rows) if rows else pd.DataFrame({"method": []})


def _coefficients(evidence: Evidence, method: str) -> pd.DataFrame:
    """Return the distribution of the coefficients that deviate most."""
    lines = evidence.measures
    if lines.empty:
        return pd.DataFrame()
    rows = []
    for (name,), group in groups(where(lines, diagnostic="shape", measure="deviation", method=method), "condition"):
        values = column(group, "value").dropna()
        facts = {"mean": values.mean(), "sd": values.std(), "lowest": values.min(), "highest": values.max()}
        rows.append({"coefficient": name, **facts, "mean_size": values.abs().mean()})
    table = pd.DataFrame(rows)
    return table.sort_values("mean_size", ascending=False).head(COEFFICIENTS) if len(table) else table


def _sweep_words(reached: Sequence[Reached]) -> str:
    """Return up to which strength each feature lies within the span."""
    if not reached:
        return f"How far the model's span reaches is {NOT_MEASURED}: it takes the head model of the closed world."
    inside: dict[str, list[float]] = {one.feature: [] for one in reached}
    for one in reached:
        if one.without_offsets_mm <= SPAN * one.feature_mm:
            inside[one.feature].append(one.strength)
    parts = [
        f"{feature} up to strength {max(strengths):g}" if strengths else f"{feature} at no strength"
        for feature, strengths in inside.items()
    ]
    rest = max(one.with_offsets_mm for one in reached)
    return (
        f"Coefficients alone come within {100 * SPAN:.0f} % of a feature: {', '.join(parts)} (1: the ground truth's). "
        f"With offsets at most {rest:.2f} mm are left at any strength."
    )


def _method_words(evidence: Evidence, baseline: str) -> str:
    parts = [
        f"{kind}: {as_text(average(measured(evidence, 'shape', 'error_mm', baseline, condition=kind)), 'mm')} from the "
        f"ground truth, the template "
        f"{as_text(average(measured(evidence, 'shape', 'error_mm', 'template', condition=kind)), 'mm')}"
        for kind in KINDS
    ]
    share = as_text(average(measured(evidence, "shape", "offsets_share", baseline)))
    bounds = as_text(average(measured(evidence, "shape", "at_bounds", baseline)), decimals=3)
    return (
        f"Avatars of `{baseline}` are, over {'; over '.join(parts)}. Share of offsets in what coefficients and offsets "
        f"move: {share}; share of the coefficients at a bound: {bounds}."
    )


def _sweep_plot(reached: Sequence[Reached]) -> Figure:
    figure = Figure(figsize=(7.2, 3.6))
    axis = figure.subplots()
    table = pd.DataFrame(reached)
    looks = {"feature_mm": ":", "without_offsets_mm": "-", "with_offsets_mm": "--"}
    for number, ((feature,), part) in enumerate(groups(table, "feature")):
        for name, line in looks.items():
            axis.plot(part["strength"], part[name], line, color=PALETTE[number % len(PALETTE)])
        axis.plot([], [], "-", color=PALETTE[number % len(PALETTE)], label=str(feature))
    for line, words in zip(looks.values(), ("the feature itself", "by coefficients", "and by offsets"), strict=True):
        axis.plot([], [], line, color=FAINT, label=words)
    axis.set_xlabel("strength of the feature (1: ground truth)")
    axis.set_ylabel("distance left, mm")
    axis.legend(fontsize=9)
    return figure


def _extreme_plot(evidence: Evidence) -> Figure:
    figure = Figure(figsize=(5.2, 4.2))
    axis = figure.subplots()
    highest = 0.0
    methods = [name for name in _methods(evidence)["method"] if name not in ("template", "oracle")]
    for number, method in enumerate(methods):
        both = pd.DataFrame(
            {name: measured(evidence, "shape", name, method, condition="skin") for name in ("template_mm", "error_mm")}
        ).dropna()
        axis.plot(both["template_mm"], both["error_mm"], "o", color=PALETTE[number % len(PALETTE)], label=method)
        highest = max(highest, cast(float, both.to_numpy().max(initial=0.0)))
    axis.plot([0, highest], [0, highest], color=FAINT, lw=1)
    axis.set_xlabel("template to ground truth, skin, mm")
    axis.set_ylabel("avatar to ground truth, skin, mm")
    axis.legend()
    return figure
