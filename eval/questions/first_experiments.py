"""Answer: does the shading cue align facial features, and does the segmentation loss align outlines?

See :mod:`eval.diagnostics.features` for what is measured.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import pandas as pd
from matplotlib.figure import Figure

from eval.columns import UNIT
from eval.plot_style import PALETTE, name_lines
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.statements import as_text, average, compared, distances, measured
from eval.questions.verdicts import verdicts_in_words
from eval.tabulate import baseline_of_experiment

QUESTION = "Does the shading cue align facial features, and does the segmentation loss align outlines?"
FEATURES = ("right eye", "left eye", "nose", "mouth")


class Quantity(NamedTuple):
    """What methods are compared by: column of the table, name, unit, decimals, sign of better."""

    column: str
    name: str
    unit: str
    decimals: int
    better: int


OFFSET = Quantity("offset_mm", "offset of painted features", "mm", 2, -1)
IN_PLACE = Quantity("in_place", "correlation in place", "", 3, 1)
IOU = Quantity("outline_iou", "overlap with the prior's foreground", "", 3, 1)
OUTLINE = Quantity("outline_mm", "distance to the prior's outline", "mm", 2, -1)
GEOMETRY = Quantity("geometry_mm", "geometry error", "mm", 2, -1)
COLOUR = Quantity("colour_error", "colour error", "", 3, -1)
FOUND = Quantity("found", "features found", "", 2, 1)
SHOWN = (OFFSET, FOUND, IN_PLACE, IOU, OUTLINE, GEOMETRY, COLOUR)
PLOTTED = (IN_PLACE, OFFSET, IOU)
ASKED = (
    ("the shading cue aligns painted features with the mesh", "no_shading_cue", (OFFSET, IN_PLACE)),
    ("a cue of 0.5 aligns features better than one of 0.3", "alpha_30", (IN_PLACE,)),
    ("a cue of 0.5 aligns features better than one of 0.7", "alpha_70", (IN_PLACE,)),
    ("a cue until 0.6 of phase 1 aligns features better than one over all of it", "alpha_long", (IN_PLACE,)),
    ("the segmentation loss aligns outlines with the prior's foreground", "no_segmentation", (IOU, OUTLINE)),
    ("moving geometry aligns outlines with the prior's foreground", "texture_only", (IOU,)),
    ("moving geometry aligns painted features with the mesh", "texture_only", (OFFSET, IN_PLACE)),
    ("geometry needs a texture to follow", "geometry_only", (GEOMETRY,)),
    ("texture and geometry gain from moving together", "frozen_texture", (IN_PLACE, GEOMETRY)),
)
"""Statements: the baseline is better than a method in some quantities."""


def answer(evidence: Evidence) -> Answer:
    """Return the answer."""
    baseline = baseline_of_experiment(evidence.experiment)
    statements = tuple(
        _statement(evidence, f"{text}: {quantity.name}", baseline, method, quantity)
        for text, method, quantities in ASKED
        for quantity in quantities
    )
    title = "Features and outlines"
    table = _table(evidence)
    tables = (AnswerTable(title, TABLE_TEXT, table),) if len(table) else ()
    plots = {"alignment": (_plot(evidence), PLOT_TEXT)} if len(table) else {}
    words = f"{verdicts_in_words(statements)} {_in_words(evidence, baseline)}"
    return Answer(QUESTION, words, statements, tables, plots)


TABLE_TEXT = (
    "Means over prompts. offset_mm: from the mesh's eyes, nose and mouth to the painted ones, over those found (found: "
    "their share). in_place: correlation at the mesh's own features with an aligned texture. outline_iou, "
    "outline_mm: the silhouette against the foreground of what the prior makes of the render."
)
PLOT_TEXT = "Means over prompts with 95 % intervals. Offsets are of features that are found, which differ by method."


def _statement(evidence: Evidence, text: str, baseline: str, method: str, quantity: Quantity) -> Statement:
    """Return the statement that the baseline is better than a method."""
    if quantity == OFFSET:
        first, second = common_features(evidence, baseline, method)
    else:
        first, second = (values_of(evidence, quantity, name) for name in (baseline, method))
    names = (baseline, method)
    return compared(text, first, second, names, quantity.unit, quantity.decimals, sign=quantity.better)


def values_of(evidence: Evidence, quantity: Quantity, method: str) -> pd.Series:
    """Return a quantity of a method by (list, item, seed); the mean over the features that it is measured on."""
    if quantity in (GEOMETRY, COLOUR):
        return distances(evidence, quantity.column, method)
    return measured(evidence, "features", quantity.column, method)


def common_features(evidence: Evidence, first: str, second: str) -> tuple[pd.Series, pd.Series]:
    """Return the offsets of two methods, each the mean over the features that both methods' textures show.

    Otherwise a method that shows only the features that it places well would look better than one that shows all.
    """
    pairs = [
        pd.DataFrame(
            {name: measured(evidence, "features", OFFSET.column, name, condition=feature) for name in (first, second)}
        ).dropna()
        for feature in FEATURES
    ]
    empty = pd.DataFrame({first: [], second: []}, index=pd.MultiIndex.from_tuples([], names=UNIT))
    table = pd.concat([part for part in pairs if len(part)] or [empty])
    means = cast(pd.DataFrame, table.groupby(level=UNIT, sort=False).mean())
    return cast(pd.Series, means[first]), cast(pd.Series, means[second])


def _table(evidence: Evidence) -> pd.DataFrame:
    """Return the mean of each quantity of each method that was measured."""
    rows = []
    for method in evidence.runs:
        found = {one.column: average(values_of(evidence, one, method)).value for one in SHOWN}
        if not pd.isna(found[IOU.column]):
            rows.append({"method": method, **found})
    return pd.DataFrame(rows, columns=["method", *(one.column for one in SHOWN)])


def _plot(evidence: Evidence) -> Figure:
    methods = list(_table(evidence)["method"])
    figure = Figure(figsize=(9.6, 1.2 + 0.32 * max(len(methods), 3)))
    axes = figure.subplots(1, len(PLOTTED), sharey=True)
    for axis, quantity in zip(axes, PLOTTED, strict=True):
        for number, method in enumerate(methods):
            found = average(values_of(evidence, quantity, method))
            axis.plot([found.low, found.high], [number, number], color=PALETTE[0], lw=1.5)
            axis.plot([found.value], [number], "o", color=PALETTE[0])
        axis.set_xlabel(quantity.name + (f", {quantity.unit}" if quantity.unit else ""))
    name_lines(axes[0], methods)
    return figure


def _in_words(evidence: Evidence, baseline: str) -> str:
    """Return the figures of the cue and of the segmentation loss in sentences."""
    cue, loss = (
        " and ".join(f"{as_text(average(values_of(evidence, quantity, name)))} of {name}" for name in (baseline, other))
        for quantity, other in ((IN_PLACE, "no_shading_cue"), (IOU, "no_segmentation"))
    )
    share, ceiling = (average(values_of(evidence, FOUND, name)) for name in (baseline, "oracle"))
    return (
        f"At the mesh's own features, textures correlate with aligned ones by {cue}. "
        f"{baseline}'s textures show {as_text(share)} of the features within 15 mm, ground-truth heads "
        f"{as_text(ceiling)}. Silhouettes overlap with the foreground that the prior sees by {loss}."
    )
