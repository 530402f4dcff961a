"""Answer: does the method work with other diffusion priors, and does a prior have a style of its own?

Scores and distances are those of the experiment's first judge. Agreement and style share are those of
:mod:`eval.consistency`; the variance of a prior's avatars over prompts tells whether it draws all prompts alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from avatargen.config.crossing import run_name, split_name
from avatargen.config.errors import InputError
from eval.columns import where
from eval.consistency import measure
from eval.embeddings import load_embeddings
from eval.images import KINDS_OF_TRACK
from eval.plot_style import PALETTE, name_lines
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.statements import NOT_MEASURED, as_text, average, compared, distances, scores, values
from eval.statistics import Interval
from eval.tabulate import baseline_of_experiment

QUESTION = "Does the method work with other diffusion priors, and does a prior have a style of its own?"
TRACKS = ("texture", "geometry")
FIXED = "texture_only"
"""The method whose geometry does not move."""

Unit = tuple[str, str, int]


def answer(evidence: Evidence) -> Answer:
    """Return the answer."""
    baseline = baseline_of_experiment(evidence.experiment)
    priors = list(evidence.experiment.prior_names)
    runs = [name for name in evidence.runs if split_name(name)[1]]
    scored, styles = _scores(evidence, runs), _styles(evidence, baseline, priors)
    tables = [AnswerTable("Priors", SCORES_TEXT, scored), AnswerTable("Style", STYLES_TEXT, styles)]
    plots = {"priors": (_plot(scored), PLOT_TEXT)} if len(scored) else {}
    return Answer(
        QUESTION,
        _in_words(evidence, baseline, priors, styles),
        tuple(_statements(evidence, baseline, priors)),
        tuple(table for table in tables if len(table.table)),
        plots,
    )


SCORES_TEXT = (
    "Means over prompts by the first judge. margin: of the own caption to its best rival, in captions that differ in "
    "colour (texture) or shape (geometry). saturated: share of the head's pixels with a channel at its end."
)
STYLES_TEXT = (
    "agreement: how much more alike avatars of one prompt by two priors are than those of two prompts; chance is 0. "
    "style_share: share of what priors change that is the same for every prompt; chance is 0, a style alone 1. "
    "variance: of a prior's avatars over prompts, mean squared distance of unit embeddings from their mean."
)
PLOT_TEXT = "Means over prompts of each method under each prior, with 95 % intervals."


def _statements(evidence: Evidence, baseline: str, priors: Sequence[str]) -> Iterator[Statement]:
    """Yield what moving geometry brings under each prior, and what the first prior brings against each other one."""
    for prior in priors:
        names = (run_name(baseline, prior), run_name(FIXED, prior))
        text = f"moving geometry shows in clay with {prior}"
        yield _fits(evidence, text, names, "geometry")
        yield _closer(evidence, f"moving geometry brings heads closer with {prior}", names)
    for prior in priors[1:]:
        names = (run_name(baseline, priors[0]), run_name(baseline, prior))
        for track in TRACKS:
            yield _fits(evidence, f"{priors[0]} fits prompts better than {prior}, {track}", names, track)
        yield _closer(evidence, f"{priors[0]} makes heads closer to the ground truth than {prior}", names)


def _fits(evidence: Evidence, text: str, names: tuple[str, str], track: str) -> Statement:
    """Return the statement that the first run has a larger margin than the second."""
    first, second = (scores(evidence, "margin", name, track) for name in names)
    return compared(text, first, second, names, decimals=3, sign=1)


def _closer(evidence: Evidence, text: str, names: tuple[str, str]) -> Statement:
    """Return the statement that the first run is closer to the ground truth than the second."""
    first, second = (distances(evidence, "geometry_mm", name) for name in names)
    return compared(text, first, second, names, "mm")


def _scores(evidence: Evidence, runs: Sequence[str]) -> pd.DataFrame:
    rows = []
    for run in runs:
        found = {f"margin_{track}": average(scores(evidence, "margin", run, track)) for track in TRACKS}
        found |= {f"r_at_1_{track}": average(scores(evidence, "r_at_1", run, track)) for track in TRACKS}
        found |= {name: average(distances(evidence, name, run)) for name in ("geometry_mm", "colour_error")}
        found["saturated"] = average(values(evidence.diagnoses, "saturated", method=run))
        if not all(np.isnan(one.value) for one in found.values()):
            method, prior = split_name(run)
            bounds = {f"{name}_{end}": getattr(found[name], end) for name in PLOTTED for end in ("low", "high")}
            rows.append(
                {"method": method, "prior": prior, **{name: one.value for name, one in found.items()}, **bounds}
            )
    return pd.DataFrame(rows)


PLOTTED = ("margin_texture", "margin_geometry")


def _styles(evidence: Evidence, baseline: str, priors: Sequence[str]) -> pd.DataFrame:
    """Return agreement, style share and variance of the baseline's avatars, for all priors and for each."""
    rows = []
    for track in TRACKS if len(priors) > 1 else ():
        vectors = embedded(evidence, baseline, priors, track)
        if vectors.shape[1] < 2:
            continue
        found, spread = measure(vectors), variances(vectors)
        for index, prior in enumerate(("all", *priors)):
            row = {"track": track, "prior": prior, "prompts": vectors.shape[1]}
            for name in ("agreement", "style_share"):
                row |= dict(zip((name, f"{name}_low", f"{name}_high"), found[name][index], strict=True))
            rows.append({**row, "variance": spread.mean() if index == 0 else spread[index - 1]})
    return pd.DataFrame(rows)


def embedded(evidence: Evidence, method: str, priors: Sequence[str], track: str) -> Float[np.ndarray, "P n D"]:
    """Return the unit vector of each prior and prompt: the mean of its views' embeddings, over its seeds too.

    Only prompts with an avatar of every prior count; without any, n and D are 0.
    """
    judge, kind = evidence.experiment.judges[0], KINDS_OF_TRACK[track][0]
    found: dict[str, dict[tuple[str, str], list[np.ndarray]]] = {prior: {} for prior in priors}
    for (run, name, item, _), folder in evidence.folders.items():
        own, prior = split_name(run)
        if own != method or prior not in found:
            continue
        try:
            views = load_embeddings(folder, judge).kinds[kind]
        except (InputError, OSError):
            continue
        if np.isfinite(views).all():
            found[prior].setdefault((name, item), []).append(views.mean(axis=0))
    common = [key for key in found[priors[0]] if all(key in found[prior] for prior in priors)]
    if not common:
        return np.zeros((len(priors), 0, 0))
    means = np.array([[np.mean(found[prior][key], axis=0) for key in common] for prior in priors], dtype=np.float64)
    return means / np.linalg.norm(means, axis=-1, keepdims=True)


def variances(vectors: Float[np.ndarray, "P n D"]) -> Float[np.ndarray, " P"]:
    """Return the unbiased variance over prompts of each prior's unit vectors, summed over their dimensions.

    Example:
        >>> variances(np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])).tolist()
        [1.0, 0.0]
    """
    return vectors.var(axis=1, ddof=1).sum(axis=-1)


def _in_words(evidence: Evidence, baseline: str, priors: Sequence[str], styles: pd.DataFrame) -> str:
    parts = [
        f"{prior}: {as_text(average(distances(evidence, 'geometry_mm', run_name(baseline, prior))), 'mm')}"
        for prior in priors
    ]
    words = f"Avatars of {baseline} lie from the ground truth, by prior: {'; '.join(parts)}."
    if styles.empty:
        return f"{words} Agreement and style of priors are {NOT_MEASURED}."
    for line in where(styles, prior="all").to_dict("records"):
        agreement, style = (
            as_text(Interval(line[name], line[f"{name}_low"], line[f"{name}_high"]))
            for name in ("agreement", "style_share")
        )
        words += f" In the {line['track']} track priors agree by {agreement}; the style share is {style}."
    return words


def _plot(scored: pd.DataFrame) -> Figure:
    names = [f"{line['method']} · {line['prior']}" for line in scored.to_dict("records")]
    figure = Figure(figsize=(8.4, 1.2 + 0.34 * max(len(names), 3)))
    axes = figure.subplots(1, len(PLOTTED), sharey=True)
    for axis, name in zip(axes, PLOTTED, strict=True):
        for number, line in enumerate(scored.to_dict("records")):
            axis.plot([line[f"{name}_low"], line[f"{name}_high"]], [number, number], color=PALETTE[0], lw=1.5)
            axis.plot([line[name]], [number], "o", color=PALETTE[0])
        axis.set_xlabel(name.replace("_", ", "))
    name_lines(axes[0], names)
    return figure
