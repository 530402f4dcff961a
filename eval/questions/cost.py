"""Answer: what does an avatar cost, against other ways to make one?

Seconds and memory of the experiment's methods are measured. The times of published systems are those that their authors
state for their hardware; nothing of them was measured here, and their priors are hundreds of times larger than `mini`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from avatargen.io.hardware import hardware
from eval.families import is_control
from eval.plot_style import FAINT, PALETTE
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.statements import NOT_MEASURED, average, compared, values
from eval.tabulate import baseline_of_experiment

QUESTION = "What does an avatar cost, against other ways to make one?"


class Published(NamedTuple):
    """A time that authors state for one avatar, the hardware, the memory that it needs, and where they state it."""

    system: str
    hours: float
    hardware: str
    memory: str
    source: str


PUBLISHED = (
    Published("HeadStudio", 2.0, "1 NVIDIA A6000", "not stated", "arXiv 2402.06149v1, Figure 1"),
    Published(
        "AnimPortrait3D",
        3.5,
        "1 NVIDIA TITAN RTX",
        "at least 24 GB",
        "github.com/oneThousand1000/AnimPortrait3D, README, Requirements (arXiv 2504.15835)",
    ),
)
"""We found no statement of the time for HeadArtist (arXiv 2312.07539) and TADA (arXiv 2308.10899)."""
ABSENT = "HeadArtist (arXiv 2312.07539) and TADA (arXiv 2308.10899): we found no stated time, so none is shown."


class Cost(NamedTuple):
    """What a method's avatar takes: means over prompts with 95 % intervals, and the largest memory."""

    method: str
    n: int
    seconds: float
    seconds_low: float
    seconds_high: float
    peak_memory_mb: float
    times_baseline: float


def answer(evidence: Evidence) -> Answer:
    """Return the answer."""
    baseline = baseline_of_experiment(evidence.experiment)
    costs = list(_costs(evidence, baseline))
    return Answer(
        QUESTION,
        _in_words(evidence, baseline, costs),
        tuple(_statements(evidence, baseline)),
        (
            AnswerTable(
                "Measured",
                "Seconds of one avatar (its share of its batch's optimisation, and baking; models are loaded), "
                f"and peak memory of the process or GPU. times_baseline: relative to {baseline}.",
                pd.DataFrame(costs, columns=list(Cost._fields)),
            ),
            AnswerTable("Published, not measured here", f"What authors state for one avatar. {ABSENT}", _published()),
        ),
        _plots(costs),
    )


def _costs(evidence: Evidence, baseline: str) -> Iterator[Cost]:
    base = average(values(evidence.costs, "seconds", method=baseline)).value
    for method in evidence.runs:
        seconds = values(evidence.costs, "seconds", method=method)
        if len(seconds):
            found, memory = average(seconds), values(evidence.costs, "peak_memory_mb", method=method).max()
            yield Cost(method, len(seconds), found.value, found.low, found.high, memory, found.value / (base or np.nan))


def _published() -> pd.DataFrame:
    rows = [{**one._asdict(), "measured": "not measured here"} for one in PUBLISHED]
    return pd.DataFrame(rows, columns=["system", "hours", "hardware", "memory", "measured", "source"])


def _others(evidence: Evidence, baseline: str) -> list[str]:
    """Return the methods to compare with: all but the baseline and controls, which make no step."""
    return [name for name in evidence.runs if name != baseline and not is_control(name)]


def _statements(evidence: Evidence, baseline: str) -> Iterator[Statement]:
    own = values(evidence.costs, "seconds", method=baseline)
    for name in _others(evidence, baseline):
        other = values(evidence.costs, "seconds", method=name)
        yield compared(f"{baseline} takes longer than {name}", own, other, (baseline, name), "s", 1, sign=1)


def _in_words(evidence: Evidence, baseline: str, costs: Sequence[Cost]) -> str:
    found = {cost.method: cost for cost in costs}
    if baseline not in found:
        return f"The seconds of '{baseline}' are {NOT_MEASURED}."
    own, machine = found[baseline], hardware()
    place = machine.get("gpu") or machine.get("cpu") or "this machine"
    lines = [
        f"An avatar of {baseline} takes {own.seconds:.1f} s ({own.seconds_low:.1f} to {own.seconds_high:.1f}) and "
        f"{own.peak_memory_mb:.0f} MB, with the prior {evidence.runs[baseline].prior_name} on {place}, "
        f"torch threads of a worker: {evidence.runs[baseline].threads}."
    ]
    others = [found[name] for name in _others(evidence, baseline) if name in found]
    if others:
        told = ", ".join(f"{cost.method} {cost.seconds:.1f} s ({cost.times_baseline:.2f} times)" for cost in others)
        lines.append(f"Beside it: {told}.")
    named = ", ".join(f"{one.system} {one.hours:g} h on {one.hardware}" for one in PUBLISHED)
    lines.append(
        f"Published, not measured here: {named}. These use full-size diffusion models on a GPU, so the ratio says "
        "nothing of the methods."
    )
    return " ".join(lines)


def _plots(costs: Sequence[Cost]) -> dict[str, tuple[Figure, str]]:
    timed = [cost for cost in costs if cost.seconds > 0 and not is_control(cost.method)]
    if not timed:
        return {}
    names = [cost.method for cost in timed] + [f"{one.system} *" for one in PUBLISHED]
    figure = Figure(figsize=(9.6, 1.3 + 0.38 * len(names)))
    axis = figure.subplots()
    spread = [[cost.seconds - cost.seconds_low for cost in timed], [cost.seconds_high - cost.seconds for cost in timed]]
    axis.errorbar([cost.seconds for cost in timed], range(len(timed)), xerr=spread, fmt="o", color=PALETTE[0])
    rows = range(len(timed), len(names))
    seconds = [3600 * one.hours for one in PUBLISHED]
    axis.plot(seconds, rows, "o", markerfacecolor="none", markeredgecolor=FAINT)
    axis.set_xscale("log")
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlabel("seconds for one avatar")
    text = "Seconds for one avatar, with 95 % intervals. * Hollow: as published for other hardware, not measured here."
    return {"seconds": (figure, text)}
