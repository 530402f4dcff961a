"""Answer: how do scores fall with the words of a prompt that the prior has never read?

Prompts of the list come in variants of a head, whose ids are ``HEAD.KIND.NUMBER``: kind ``plain``, ``added`` or
``swapped``, and the number of unknown words (:mod:`avatargen.headworld.out_of_domain`). A head's slope is that of a
straight line through its scores over the number of words, of one kind and the plain prompt. Of other lists, only the
means by number of unknown words are shown.

The ground-truth heads do not change with the words, so what falls for them is the judge's reading alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.columns import UNIT, column, where
from eval.plot_style import PALETTE
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.statements import NOT_MEASURED, Score, as_text, average, by_prompt, compared
from eval.questions.verdicts import answers
from eval.statistics import Interval, bootstrap_mean
from eval.tabulate import baseline_of_experiment

QUESTION = "How do scores fall with the words of a prompt that the prior has never read?"
PLAIN, KINDS = "plain", ("added", "swapped")
CEILING, FLOOR = "oracle", "template"


SCORES = (
    Score("geometry_mm", "geometry error", "mm", 2, -1),
    Score("colour_error", "colour error", "", 4, -1),
    Score("margin_texture", "texture margin", "", 4, 1, "texture"),
    Score("margin_geometry", "geometry margin", "", 4, 1, "geometry"),
)
SAID = {"added": "unknown words beside the others", "swapped": "unknown words for known ones"}


def answer(evidence: Evidence) -> Answer:
    """Return the answer."""
    method = baseline_of_experiment(evidence.experiment)
    methods = [name for name in evidence.runs if name in (method, CEILING, FLOOR)]
    numbers = words_of(evidence.records)
    table = _table(evidence, methods, numbers)
    if table.empty:
        return Answer(QUESTION, f"The scores are {NOT_MEASURED}.")
    statements = tuple(_statements(evidence, method))
    return Answer(
        QUESTION,
        _in_words(method, statements),
        statements,
        (AnswerTable("Scores by unknown words", "Means over heads; kind: how the words came in.", table),),
        _plots(table, methods, numbers),
    )


def words_of(records: pd.DataFrame) -> dict[tuple[str, str], tuple[str, int]]:
    """Return kind and number of unknown words of each prompt, by (list, item); the kind is empty for other ids."""
    if records.empty or "unknown_words" not in records.columns:
        return {}
    rows = records[["list", "item", "unknown_words"]].drop_duplicates().itertuples(index=False)
    return {(name, item): (_head_and_kind(item)[1], len(str(words).split())) for name, item, words in rows}


def slopes(values: pd.Series, kind: str) -> pd.Series:
    """Return each head's change of a score for each word of a kind, by (list, head, seed).

    Args:
        values: by (list, item, seed).
        kind: of the variants; the plain one belongs to each.

    Example:
        >>> keys = [("a", f"x.{variant}", 0) for variant in ("plain.0", "added.1", "added.2")]
        >>> index = pd.MultiIndex.from_tuples(keys, names=UNIT)
        >>> slopes(pd.Series([1.0, 3.0, 5.0], index=index), "added").tolist()
        [2.0]
    """
    points: dict[tuple[str, str, int], list[tuple[int, float]]] = {}
    for (name, item, seed), value in zip(values.index.to_list(), values.to_list(), strict=True):
        head, own, number = _head_and_kind(item)
        if own in (PLAIN, kind):
            points.setdefault((name, head, seed), []).append((number, value))
    found = {key: _slope(pairs) for key, pairs in points.items() if len({number for number, _ in pairs}) > 1}
    return pd.Series(list(found.values()), index=pd.MultiIndex.from_tuples(list(found), names=UNIT), dtype=float)


def _slope(pairs: Sequence[tuple[int, float]]) -> float:
    """Return the slope of the least-squares line through points."""
    x, y = np.array(pairs, dtype=np.float64).T
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def _head_and_kind(item: str) -> tuple[str, str, int]:
    """Return head, kind and number of an id; the kind is empty for one that is no variant's."""
    head, _, rest = str(item).partition(".")
    kind, _, number = rest.partition(".")
    return (head, kind, int(number)) if kind in (PLAIN, *KINDS) and number.isdigit() else (str(item), "", 0)


def _statements(evidence: Evidence, method: str) -> Iterator[Statement]:
    for kind in KINDS:
        for score in SCORES:
            yield _falls(evidence, score, method, kind)
        for score in SCORES[2:]:
            yield _falls(evidence, score, CEILING, kind)


def _text(score: Score, method: str, kind: str) -> str:
    verb = "lower" if score.better > 0 else "raise"
    whose = "the ground-truth heads: the judge's reading" if method == CEILING else f"`{method}`"
    return f"{SAID[kind]} {verb} the {score.name} of {whose}"


def _falls(evidence: Evidence, score: Score, method: str, kind: str) -> Statement:
    """Return the statement that a score gets worse with each word."""
    text, found = _text(score, method, kind), slopes(score.of(evidence, method), kind)
    if found.empty:
        return Statement(text, f"{NOT_MEASURED}: {method}", sign=-score.better)
    statement = compared(text, found, 0.0, ("", ""), decimals=score.decimals, sign=-score.better)
    return statement._replace(figure=f"by {as_text(average(found), score.unit, score.decimals)} a word")


def _in_words(method: str, statements: Sequence[Statement]) -> str:
    if all(not one.n for one in statements):
        return f"No head has variants with and without unknown words by '{method}': {NOT_MEASURED}."
    figures = {one.text: one.figure for one in statements if one.n}
    verdicts = dict(zip((one.text for one in statements), answers(statements)["verdict"], strict=True))
    lines = []
    for kind, what in (("added", "Words that say nothing of the head"), ("swapped", "Other words for what is known")):
        own = {score.name: _text(score, method, kind) for score in SCORES}
        told = {text: f"{name} {figures[text]}" for name, text in own.items() if text in figures}
        worse = [words for text, words in told.items() if verdicts[text] == "holds"]
        rest = [words for text, words in told.items() if verdicts[text] != "holds"]
        not_shown = f"; not shown for: {', '.join(rest)}" if rest else ""
        lines.append(f"{what} make worse: {', '.join(worse) or 'nothing, as far as shown'}{not_shown}.")
        true = {score.name: figures.get(_text(score, CEILING, kind)) for score in SCORES[2:]}
        if read := [f"{name} {figure}" for name, figure in true.items() if figure]:
            lines.append(f"On the ground-truth heads, where the judge's reading alone changes: {', '.join(read)}.")
    return " ".join(lines)


def _table(
    evidence: Evidence, methods: Sequence[str], numbers: Mapping[tuple[str, str], tuple[str, int]]
) -> pd.DataFrame:
    groups = sorted(set(numbers.values()), key=lambda group: ((PLAIN, *KINDS, "").index(group[0]), group[1]))
    rows = []
    for method in methods:
        every = {score.column: by_prompt(score.of(evidence, method)) for score in SCORES}
        for kind, number in groups:
            prompts = [key for key, group in numbers.items() if group == (kind, number)]
            found = {name: values.loc[values.index.isin(prompts)] for name, values in every.items()}
            means = {name: _interval(values) for name, values in found.items()}
            count = max(map(len, found.values()))
            cells = {
                f"{name}{end}": getattr(mean, part)
                for name, mean in means.items()
                for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
            rows += [{"method": method, "kind": kind, "words": number, "n": count, **cells}] if count else []
    return pd.DataFrame(rows)


def _interval(values: pd.Series) -> Interval:
    return bootstrap_mean(values.to_numpy(np.float64))


def _plots(
    table: pd.DataFrame, methods: Sequence[str], numbers: Mapping[tuple[str, str], tuple[str, int]]
) -> dict[str, tuple[Figure, str]]:
    if len({number for _, number in numbers.values()}) < 2:
        return {}
    figure = Figure(figsize=(9.6, 6.4))
    for axis, score in zip(figure.subplots(2, 2).flat, SCORES, strict=True):
        for number, method in enumerate(methods):
            own = where(table, method=method)
            for kind, style in zip(KINDS, ("o-", "s--"), strict=True):
                line = own.loc[column(own, "kind").isin([PLAIN, kind, ""]), :]
                if len(line) > 1:
                    _draw(axis, line, score, f"{method}, {kind}", PALETTE[number], style, 0.05 * (number - 1))
        axis.set_title(score.name)
        axis.set_xlabel("unknown words")
        axis.set_xticks(sorted({number for _, number in numbers.values()}))
    handles, labels = figure.axes[2].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    text = (
        "Scores over the number of unknown words, means over heads with 95 % intervals; solid: added, dashed: swapped."
    )
    return {"by_words": (figure, text)}


def _draw(axis: Axes, line: pd.DataFrame, score: Score, label: str, colour: str, style: str, shift: float) -> None:
    middle = column(line, score.column).to_numpy(np.float64)
    low, high = (column(line, f"{score.column}_{end}").to_numpy(np.float64) for end in ("low", "high"))
    x = column(line, "words").to_numpy(np.float64) + shift
    spread = np.stack((middle - low, high - middle))
    axis.errorbar(x, middle, spread, fmt=style, color=colour, ms=5, elinewidth=1.2, label=label)
