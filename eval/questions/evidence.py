"""Gather what a question is answered from: manifests, and the tables of an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from avatargen.config.experiment import Experiment, RunConfig
from avatargen.io.manifest import Row
from eval.columns import UNIT
from eval.measures import RECORDS
from eval.measures import Record as Measured
from eval.questions.base import Evidence
from eval.tables import read_table

COSTS = ("method", *UNIT, "status", "seconds", "peak_memory_mb")


def gather(
    experiment: Experiment, runs: Mapping[str, RunConfig], rows: Sequence[Row], root: Path, tables: Path
) -> Evidence:
    """Return the evidence of an experiment.

    Args:
        experiment: its configuration.
        runs: each method, resolved, by its name.
        rows: of all manifests.
        root: what the rows' folders are relative to.
        tables: folder of its tables; those of diagnostics may be missing.

    Raises:
        FileNotFoundError: the tables were not collected yet.
    """
    has_measures = (tables / f"{RECORDS}.csv").is_file()
    costs = [[getattr(row, name) for name in COSTS] for row in rows]
    return Evidence(
        experiment=experiment,
        runs=runs,
        folders={(row.method, *row.unit): root / row.folder for row in rows if row.status == "ok"},
        records=read_table(tables, "records"),
        truths=read_table(tables, "truth_records"),
        diagnoses=read_table(tables, "diagnosis_records"),
        costs=pd.DataFrame(costs, columns=list(COSTS)).astype({"seconds": float, "peak_memory_mb": float}),
        measures=read_table(tables, RECORDS) if has_measures else pd.DataFrame(columns=list(Measured._fields)),
    )
