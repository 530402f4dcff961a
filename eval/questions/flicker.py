"""Answer: does the texture flicker when the head moves, and what removes it?

See :mod:`eval.diagnostics.flicker` for what is measured.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from avatargen.io.hardware import hardware
from eval.families import is_control
from eval.plot_style import PALETTE
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.pictures import first_pictures
from eval.questions.statements import (
    NOT_MEASURED,
    as_text,
    average,
    by_prompt,
    compared,
    scores,
    seldom_lost,
    values,
    without_failures,
)

NAME = "flicker"
QUESTION = "Does the texture flicker when the head turns or blinks, and does baking remove it, at what frame rate?"
TRUTH, UNREFINED = "oracle", "no_refine"
MODES = {"neural": "decoded", "exported": "exported"}
BAKING = ("exported", "neural")
"""Modes with and without baking."""
SEQUENCES = {"turntable": "on a turntable", "blink": "in a blink"}
"""Beginning of the conditions of a sequence, and its name for people."""
LOST, LOWER = 0.05, 0.01
"""Share of the prompts that may lose their hit, and loss of CLIP score, that still count as not lower."""
COLUMNS = {
    "change": ("change_{mode}", "turntable"),
    "swim, mm": ("swim_{mode}_mm", "turntable"),
    "change in a blink": ("change_{mode}", "blink"),
    "of points at rest": ("still_{mode}", "blink"),
    "seconds a frame": ("frame_{mode}_s", ""),
}
"""Columns of the table: measure, and beginning of its conditions."""


def answer(evidence: Evidence) -> Answer:
    """Return the answer; see :class:`eval.questions.base.Question`."""
    subject = next((name for name in evidence.runs if not is_control(name)), "")
    table = by_method(evidence)
    text = (
        "Mean change of a surface point's colour from one frame to the next, 8-bit levels, as the head turns by 2.5° "
        "or the lids close by a quarter; how far the texture moves over the surface; seconds of a frame. Decoded "
        f"frames of `{TRUTH}` are its renders, encoded and decoded."
    )
    return Answer(
        QUESTION,
        summary(evidence, subject),
        statements(evidence, subject),
        (AnswerTable("Flicker", text, table),),
        {"flicker": (draw(table), "Change of a surface point's colour between frames.")} if len(table) else {},
        first_pictures(
            evidence,
            (subject, TRUTH),
            NAME,
            "changes",
            "Middle frames of `{}`, and where points change between frames.",
        ),
    )


def flicker_of(evidence: Evidence, method: str, measure: str, sequence: str) -> pd.Series:
    """Return a measure by (list, item, seed): the mean over the conditions that begin with a sequence's name."""
    measures = evidence.measures
    if measures.empty or "condition" not in measures:
        return values(measures, "value")
    conditions = measures["condition"].fillna("").astype(str)
    chosen = conditions.str.startswith(sequence) if sequence else conditions == ""
    rows = cast(pd.DataFrame, measures[chosen])
    return values(rows, "value", diagnostic=NAME, measure=measure, method=method)


def statements(evidence: Evidence, subject: str) -> tuple[Statement, ...]:
    """Return what is tested: both remedies, that they do not cost the prompt, and the frame time."""
    sides = (f"exported, `{subject}`", f"decoded, `{subject}`")
    found = []
    for sequence, where in SEQUENCES.items():
        exported, decoded = (flicker_of(evidence, subject, f"change_{mode}", sequence) for mode in BAKING)
        found.append(compared(f"Baking lowers the flicker {where}", exported, decoded, sides, "levels"))
    for mode, name in MODES.items():
        fine, plain = (flicker_of(evidence, method, f"change_{mode}", "turntable") for method in (subject, UNREFINED))
        text = f"The finish before baking lowers the flicker of {name} frames on a turntable"
        found.append(compared(text, fine, plain, (f"`{subject}`", f"`{UNREFINED}`"), "levels"))
    text = "The {} of the exported texture is not lower than that of decoded views".format
    found.append(seldom_lost(text("R@1"), *scores_of(evidence, subject, "R@1"), sides, LOST))
    both = scores_of(evidence, subject, "CLIP score")
    found.append(compared(text("CLIP score"), *both, sides, decimals=3, sign=1, allowed=LOWER))
    exported, decoded = (flicker_of(evidence, subject, f"frame_{mode}_s", "") for mode in BAKING)
    text = "A frame of the exported texture takes less time than a decoded one"
    return (*found, compared(text, exported, decoded, sides, "s", 3))


def scores_of(evidence: Evidence, method: str, name: str) -> tuple[pd.Series, pd.Series]:
    """Return a score of the exported texture and of decoded views by (list, item, seed), by the first judge.

    Failures, whose scores are the same, are left out.

    Args:
        evidence: of the experiment.
        method: name of the run.
        name: `R@1` or `CLIP score`.
    """
    metric, column = ("r_at_1", "rank_baked") if name == "R@1" else ("clip_score", "clip_score_baked")
    neural = scores(evidence, metric, method, "texture")
    if evidence.records.empty:
        return neural, neural
    judge = evidence.experiment.judges[0]
    exported = values(evidence.records, column, method=method, track="texture", judge=judge)
    exported = (exported == 1).astype(float) if name == "R@1" else exported
    return without_failures(evidence, method, exported), without_failures(evidence, method, neural)


def by_method(evidence: Evidence) -> pd.DataFrame:
    """Return a row for each method and mode that was measured."""
    rows = []
    for method in evidence.runs:
        for mode, name in MODES.items():
            cells = {
                title: by_prompt(flicker_of(evidence, method, measure.format(mode=mode), sequence)).mean()
                for title, (measure, sequence) in COLUMNS.items()
            }
            if np.isfinite(list(cells.values())).any():
                rows.append({"method": method, "frames": name, **cells})
    return pd.DataFrame(rows)


def summary(evidence: Evidence, subject: str) -> str:
    """Return the answer in a few sentences."""
    neural, exported = (flicker_of(evidence, subject, f"change_{mode}", "turntable") for mode in MODES)
    if neural.empty or exported.empty:
        return f"The flicker of avatars was {NOT_MEASURED}."
    before, after = average(neural), average(exported)
    parts = [
        f"On a turntable, a surface point of `{subject}` changes its colour by {as_text(before)} levels from frame to "
        f"frame where each frame is decoded, and by {as_text(after)} where the exported texture is rendered: "
        f"{before.value / after.value:.1f} times less.",
    ]
    truth = [average(flicker_of(evidence, TRUTH, f"change_{mode}", "turntable")) for mode in MODES]
    if all(np.isfinite(one.value) for one in truth):
        parts.append(
            f"The ground-truth head's texture changes by {as_text(truth[1])}, which is what sampling leaves of a fixed "
            f"texture, and by {as_text(truth[0])} where its frames are encoded and decoded."
        )
    still = [average(flicker_of(evidence, subject, f"still_{mode}", "blink")) for mode in MODES]
    if all(np.isfinite(one.value) for one in still):
        parts.append(
            f"In a blink, points where nothing moves change by {as_text(still[0], decimals=3)} levels in decoded "
            f"frames, because a decoder looks beyond a point, and by {as_text(still[1], decimals=3)} in exported ones."
        )
    seconds = [average(flicker_of(evidence, subject, f"frame_{mode}_s", "")).value for mode in MODES]
    if np.isfinite(seconds).all():
        parts.append(
            f"A decoded frame takes {seconds[0]:.3f} s ({1 / seconds[0]:.1f} a second), an exported one of the same "
            f"size {seconds[1]:.3f} s ({1 / seconds[1]:.1f} a second), by this repository's renderer on "
            f"{machine(evidence)}; `benchmarks/viewer.py` measures the exported one in a browser."
        )
    return " ".join(parts)


def machine(evidence: Evidence) -> str:
    """Return the machine that makes the tables, and the threads of a worker, for people."""
    facts = hardware()
    device = facts["gpu"] or f"{facts['cpu']}, {facts['cores']} cores"
    return f"{device}, {evidence.experiment.cpus_per_worker} thread(s) a worker"


def draw(table: pd.DataFrame) -> Figure:
    """Draw the change on a turntable of each method, decoded and exported."""
    methods = list(dict.fromkeys(table["method"]))
    figure = Figure(figsize=(7.2, 1.2 + 0.5 * len(methods)), layout="constrained")
    axis = figure.subplots()
    for number, (colour, name) in enumerate(zip(PALETTE, MODES.values(), strict=False)):
        rows = table[table["frames"] == name]
        places = [methods.index(method) + 0.36 * (number - 0.5) for method in rows["method"]]
        bars = axis.barh(places, rows["change"], height=0.34, color=colour, label=name)
        axis.bar_label(bars, fmt="%.2f", padding=3)
    axis.set_yticks(range(len(methods)), methods)
    axis.set_ylim(len(methods) - 0.5, -0.5)
    axis.margins(x=0.1)
    axis.set_xlabel("change between frames of a turntable, 8-bit levels")
    axis.legend(loc="lower right")
    return figure
