"""Evidence made by hand: every method has a number for each prompt, in each measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avatargen.config.experiment import Experiment, RunConfig
from avatargen.config.grid import with_grid
from avatargen.config.loading import load_experiment, load_library, resolve
from eval.measures import Record as Measured
from eval.questions.base import Evidence
from eval.questions.evidence import COSTS

TRACKS = ("texture", "shape_in_colour", "geometry")
LIBRARY = load_library()
Number = Callable[[str, int], float]
"""A value of a method for the prompt of a number."""


def runs_of(experiment: Experiment) -> tuple[Experiment, dict[str, RunConfig]]:
    """Return an experiment with its grid's methods, and each method resolved."""
    found, library = with_grid(experiment, LIBRARY)
    return found, {name: resolve(found, name, library) for name in found.methods}


def table(methods: Sequence[str], items: Sequence[str], columns: Mapping[str, Number], **fixed) -> pd.DataFrame:
    """Return one line for each method and prompt."""
    rows = [
        {"method": method, "list": "tiny", "item": item, "seed": 0, "subset": "all", "status": "ok", **fixed}
        | {name: value(method, number) for name, value in columns.items()}
        for method in methods
        for number, item in enumerate(items)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def make_evidence():
    """A factory of evidence: by default, every score of every avatar is the same."""

    def make(
        name: str,
        items: Sequence[str] = tuple("abcdefgh"),
        mm: Number = lambda method, prompt: 4.0,
        colour: Number = lambda method, prompt: 0.1,
        margin: Number = lambda method, prompt: 0.05,
        seconds: Number = lambda method, prompt: 10.0,
        words: Callable[[str], str] = lambda item: "",
        without: Sequence[str] = (),
        measures: pd.DataFrame | None = None,
    ) -> Evidence:
        experiment, runs = runs_of(load_experiment(name))
        made = [method for method in runs if method not in without]
        truths = table(made, items, {"geometry_mm": mm, "colour_error": colour})
        records = pd.concat(
            [
                table(made, items, {"margin": margin, "clip_score": margin}, track=track, judge="mini", rank=1)
                for track in TRACKS
            ]
            or [pd.DataFrame()]
        )
        if len(records):
            records["unknown_words"] = records["item"].map(words)
        empty = pd.DataFrame(columns=list(Measured._fields))
        costs = table(made, items, {"seconds": seconds, "peak_memory_mb": lambda method, prompt: 900.0})
        return Evidence(
            experiment=experiment,
            runs=runs,
            folders={(method, "tiny", item, 0): Path("nowhere") for method in made for item in items},
            records=records,
            truths=truths,
            diagnoses=pd.DataFrame({"method": [], "list": [], "item": [], "seed": [], "saturated": []}),
            costs=costs if len(costs) else pd.DataFrame(columns=list(COSTS)),
            measures=empty if measures is None else measures,
        )

    return make


def noise(prompt: int) -> float:
    """Return a small number that differs from prompt to prompt."""
    return float(np.sin(prompt))
