"""Answer: does an avatar keep its prompt, and its surface, when it moves?

See :mod:`eval.diagnostics.articulation` for what is measured.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from eval.columns import column, groups, where
from eval.diagnostics.articulation import NEUTRAL, OWN, STRIP
from eval.families import LEVEL, is_control
from eval.plot_style import INK, PALETTE
from eval.poses import GROUPS, POSES
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.pictures import first_pictures, picture_of
from eval.questions.statements import NOT_MEASURED, as_text, average, by_prompt, compared, values, without_failures
from eval.statistics import benjamini_hochberg, paired_p

NAME = "articulation"
QUESTION = "Does an avatar keep its prompt, and its surface, when it moves?"
TRUTH = "oracle"
GROUP_TEXTS = {
    "face": "Movements of the face cost",
    "gaze": "Movements of the eyes cost",
    "jaw": "Turning the jaw costs",
    "neck": "Turning the neck costs",
}
COSTS = {"stretched_share": ("stretch the texture", 3), "crossing_faces_added": ("make the surface cross itself", 0)}
"""Measures of the surface, with what poses do and the decimals of the figure."""
KEY = ("method", "measure", "judge", "condition")
SHEETS = 4
"""Prompts of the sheet over several avatars."""


def answer(evidence: Evidence) -> Answer:
    """Return the answer; see :class:`eval.questions.base.Question`."""
    subject = next((name for name in evidence.runs if not is_control(name)), "")
    reader = Reader(evidence)
    table = by_pose(reader, subject)
    return Answer(
        QUESTION,
        summary(reader, subject, table),
        statements(reader, subject),
        (
            AnswerTable(
                "Poses",
                f"`{subject}` beside the ground-truth head. Scores are the pose less the neutral face, by judge "
                f"{reader.judge or '(none)'}; q is of the difference between the two changes of the margin, corrected "
                "over the poses (Benjamini-Hochberg). Stretched: share of the visible surface on which the pose makes "
                "some length twice as long, or half. Crossing: triangles that cross others in the pose only. Visible: "
                "mean change of a close-up of the face, 8-bit levels.",
                table,
            ),
        ),
        plots(reader, evidence, subject, table),
        first_pictures(
            evidence,
            (subject, TRUTH),
            NAME,
            "poses",
            "All poses of an avatar of `{}`: faces from close by, turned heads whole.",
        ),
    )


class Reader:
    """Reads the diagnostic's measures out of the evidence.

    Args:
        evidence: of the experiment.
    """

    def __init__(self, evidence: Evidence):
        measures, self._evidence = evidence.measures, evidence
        known = {"diagnostic", "condition", "judge"} <= set(measures.columns)
        rows = where(measures, diagnostic=NAME).fillna({"judge": ""}) if known else pd.DataFrame()
        self.conditions = set(rows["condition"]) if len(rows) else set()
        self.judge = evidence.experiment.judges[0]
        self._columns: dict[tuple[object, ...], pd.Series] = {
            key: values(group, "value") for key, group in (groups(rows, *KEY) if len(rows) else ())
        }

    def measure(self, method: str, name: str, conditions: Sequence[str], judge: str = "") -> pd.Series:
        """Return the mean of a measure over conditions, by (list, item, seed)."""
        keys = [(method, name, judge, condition) for condition in conditions]
        found = [self._columns[key] for key in keys if key in self._columns]
        return cast(pd.Series, pd.concat(found, axis=1).mean(axis=1)) if found else values(pd.DataFrame(), "value")

    def change(self, method: str, name: str, conditions: Sequence[str]) -> pd.Series:
        """Return how much a judge's measure changes from the neutral face to some conditions, by (list, item, seed).

        Failures, which no condition changes, are left out.
        """
        moved, neutral = (self.measure(method, name, some, self.judge) for some in (conditions, (NEUTRAL,)))
        return without_failures(self._evidence, method, (moved - neutral).dropna())


def poses_of(group: str) -> tuple[str, ...]:
    """Return the names of a group's poses."""
    return tuple(pose.name for pose in POSES if pose.group == group)


def statements(reader: Reader, subject: str) -> tuple[Statement, ...]:
    """Return what is tested: scores and surface in poses, against the ground-truth head's."""
    names, found = (f"`{subject}`", "ground truth"), []
    for group in GROUPS:
        change = partial(reader.change, name="margin", conditions=poses_of(group))
        text = f"{GROUP_TEXTS[group]} an avatar more margin than the ground-truth head"
        found.append(compared(text, change(subject), change(TRUTH), names, decimals=3))
    everything = tuple(pose.name for pose in POSES)
    for name, (text, decimals) in COSTS.items():
        mine, true = (reader.measure(method, name, everything) for method in (subject, TRUTH))
        text = f"Poses {text} more on an avatar than on the ground-truth head"
        found.append(compared(text, mine, true, names, decimals=decimals, sign=1))
    mine, true = (reader.measure(method, "visible_change", poses_of("face")) for method in (subject, TRUTH))
    text = "Movements of the face show less in an avatar's colours than in the ground-truth head's"
    return (*found, compared(text, mine, true, names, "levels"))


def by_pose(reader: Reader, subject: str) -> pd.DataFrame:
    """Return a row for each condition that was measured: scores less neutral, and what becomes of the surface."""
    rows, p = [], []
    for name in (NEUTRAL, OWN, *(pose.name for pose in POSES)):
        if name not in reader.conditions:
            continue
        row: dict[str, object] = {"pose": name}
        for method in (subject, TRUTH):
            row[f"R@1, {method}"] = by_prompt(reader.measure(method, "r_at_1", (name,), reader.judge)).mean()
            for title, metric in {"margin": "margin", "CLIP score": "clip_score"}.items():
                row[f"{title} change, {method}"] = by_prompt(reader.change(method, metric, (name,))).mean()
            for title, metric in {
                "stretched": "stretched_share",
                "stretch p99": "stretch_p99",
                "crossing": "crossing_faces_added",
                "visible": "visible_change",
            }.items():
                row[f"{title}, {method}"] = by_prompt(reader.measure(method, metric, (name,))).mean()
        first, second = (reader.change(method, "margin", (name,)) for method in (subject, TRUTH))
        difference = by_prompt((first - second).dropna()).to_numpy(np.float64)
        p.append(np.nan if name in (NEUTRAL, OWN) else paired_p(difference))
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.assign(q=benjamini_hochberg(np.array(p))) if rows else table


def summary(reader: Reader, subject: str, table: pd.DataFrame) -> str:
    """Return the answer in a few sentences."""
    if not len(table) or reader.measure(subject, "r_at_1", (NEUTRAL,), reader.judge).empty:
        return f"The articulation of avatars was {NOT_MEASURED}."
    moved = tuple(pose.name for pose in POSES)
    rates = {
        method: [
            as_text(average(reader.measure(method, "r_at_1", names, reader.judge))) for names in ((NEUTRAL,), moved)
        ]
        for method in (subject, TRUTH)
    }
    parts = [
        f"With its neutral face, `{subject}` has an R@1 of {rates[subject][0]} by the exported texture and judge "
        f"{reader.judge}, and of {rates[subject][1]} as the mean over the poses; the ground-truth head of "
        f"{rates[TRUTH][0]} and {rates[TRUTH][1]}.",
        _lost(table, subject),
        "A pose may contradict the prompt (an open mouth on a sleeping head). In the closed world this does not count "
        "against R@1 and the margin, since all captions of a texture pool name the same expression; it does against "
        "the CLIP score, for the ground-truth head too.",
    ]
    shows = [average(reader.measure(method, "visible_change", poses_of("gaze"))).value for method in (subject, TRUTH)]
    if np.isfinite(shows).all():
        parts.append(
            f"Moving the eyes changes a close-up by {shows[0]:.2f} levels, that of the ground-truth head by "
            f"{shows[1]:.2f}: eyes that are painted beside the eyeballs do not move with them."
        )
    missing = [name for name in moved if name not in reader.conditions]
    return " ".join(parts + ([f"The head model has no {', '.join(missing)}."] if missing else []))


def _lost(table: pd.DataFrame, subject: str) -> str:
    """Return which poses lose more than the ground truth's."""
    if f"margin change, {TRUTH}" not in table or column(table, "q").isna().all():
        return f"The ground truth's losses were {NOT_MEASURED}."
    worse = column(table, f"margin change, {subject}") < column(table, f"margin change, {TRUTH}")
    names = table.loc[worse & (column(table, "q") < LEVEL), "pose"].tolist()
    lost = ", ".join(names) if names else "no pose"
    return f"More margin than on the ground-truth head is lost (q < {LEVEL}) in: {lost}."


def plots(reader: Reader, evidence: Evidence, subject: str, table: pd.DataFrame) -> dict[str, tuple[Figure, str]]:
    """Return the figure of changes by pose, and the sheet over several avatars, as far as they can be made."""
    found = {}
    if len(table):
        caption = "Change of the texture margin from the neutral face, and stretched share of the surface, by pose."
        found["articulation"] = (draw_poses(reader, subject), caption)
    strips = strips_of(evidence, subject)
    if strips:
        caption = "Exported avatars in some of the poses, each above its ground-truth head."
        found["articulation_sheet"] = (draw_strips(strips), caption)
    return found


def draw_poses(reader: Reader, subject: str) -> Figure:
    """Draw the change of the margin and the stretch by pose, with 95 % intervals, the ground truth beside."""
    poses = [pose.name for pose in POSES if pose.name in reader.conditions]
    figure = Figure(figsize=(9.6, 1.2 + 0.27 * len(poses)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for number, method in enumerate((subject, TRUTH)):
        look = {"color": (PALETTE[0], INK)[number], "fmt": "os"[number], "ms": 4, "label": method, "lw": 1}
        offset = 0.18 * (2 * number - 1)
        _intervals(left, [reader.change(method, "margin", (name,)) for name in poses], offset, look)
        _intervals(right, [reader.measure(method, "stretched_share", (name,)) for name in poses], offset, look)
    left.axvline(0, color=INK, lw=0.6)
    left.set_yticks(range(len(poses)), poses)
    left.set_ylim(len(poses) - 0.5, -0.5)
    left.set_title("Change of the texture margin")
    right.set_title("Stretched share of the surface")
    for axis in (left, right):
        axis.locator_params(axis="x", nbins=5)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _intervals(axis: Axes, series: Sequence[pd.Series], offset: float, look: dict[str, object]) -> None:
    """Draw the mean of each series over prompts, with its interval."""
    found = [average(one) for one in series]
    centre = np.array([one.value for one in found])
    reach = np.abs(np.array([[one.low, one.high] for one in found]).T - centre)
    axis.errorbar(centre, np.arange(len(found)) + offset, xerr=reach, **look)  # pyright: ignore[reportArgumentType]


def strips_of(evidence: Evidence, subject: str) -> dict[str, np.ndarray]:
    """Return the strips of the first prompts' avatars and ground-truth heads that exist, by label."""
    found = {}
    for method, name, item, seed in evidence.folders:
        if method == subject and len(found) < 2 * SHEETS:
            for run in (subject, TRUTH):
                folder = evidence.folders.get((run, name, item, seed))
                path = picture_of(folder, NAME, "strip") if folder else None
                if path:
                    with Image.open(path) as image:
                        found[f"{textwrap.fill(item, 18)}\n{run}"] = np.array(image.convert("RGB"))
    return found


def draw_strips(strips: dict[str, np.ndarray]) -> Figure:
    """Draw one strip below the other, under the names of their poses."""
    height, width = next(iter(strips.values())).shape[:2]
    figure = Figure(figsize=(11, 1.0 + 8.6 * len(strips) * height / width), layout="constrained")
    axes = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    for axis, (label, strip) in zip(axes, strips.items(), strict=True):
        axis.imshow(strip)
        axis.set_axis_off()
        axis.text(-0.01, 0.5, label, transform=axis.transAxes, ha="right", va="center", fontsize=8)
    if width == len(STRIP) * height:
        for place, name in enumerate(STRIP):
            axes[0].text((place + 0.5) * height, -6, name, ha="center", va="bottom", fontsize=8)
    return figure
