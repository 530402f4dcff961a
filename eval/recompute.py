"""Recompute the summary tables of a run from its records.

Published tables can be checked without the avatars, in a folder with ``records.csv``, ``truth_records.csv`` and the
experiment's configuration ``experiment.yaml``, which the tables of a run do not need:

    python -m eval.recompute results/reference/embedded results/embedded/tables
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from avatargen.config.errors import InputError
from avatargen.config.experiment import Experiment
from avatargen.config.loading import load_experiment
from avatargen.io.atomic import read_json
from eval.columns import column, numbers
from eval.records import Record
from eval.tables import join_runs, read_table
from eval.tabulate import baseline_of_experiment, summarise

CONFIGURATION = "experiment.yaml"


def recompute(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables that follow from a folder's records, by name; methods are the names of runs.

    Args:
        folder: holds ``records.csv``, ``truth_records.csv`` and ``experiment.yaml``, or lies in that of a run.

    Raises:
        InputError: the configuration is missing or not valid.
        FileNotFoundError: a table of records is missing.
    """
    plan, stated = folder.resolve().parent / "plan.json", folder / CONFIGURATION
    if plan.is_file() and not stated.is_file():
        experiment = Experiment.model_validate(read_json(plan)["experiment"])
    else:
        experiment = load_experiment(str(stated))
    return summarise_records(read_table(folder, "records"), read_table(folder, "truth_records"), experiment)


def summarise_records(records: pd.DataFrame, truths: pd.DataFrame, experiment: Experiment) -> dict[str, pd.DataFrame]:
    """Return the tables that follow from records as :func:`eval.tables.read_table` reads them, by name.

    Raises:
        ProtocolError: scores were made under different protocols.
    """
    measures = [name for name, field in Record.__dataclass_fields__.items() if field.type == "float"]  # may be blank
    filled = {name: numbers(column(records, name), errors="coerce") for name in measures if name in records}
    return summarise(records.assign(**filled), truths, baseline_of_experiment(experiment))


def disagreements(folder: Path) -> dict[str, list[str]]:
    """Return, for each recomputed table that a folder holds, the columns whose values are not those of its file.

    Numbers agree within a relative 1e-9. A table with other rows or columns has the one entry ``shape``.

    Raises:
        InputError, FileNotFoundError: see :func:`recompute`.
    """
    found = {}
    for name, table in recompute(folder).items():
        if (folder / f"{name}.csv").is_file():
            found[name] = _other_columns(table, read_table(folder, name))
    return found


def _other_columns(table: pd.DataFrame, stored: pd.DataFrame) -> list[str]:
    table = join_runs(table)
    if len(table) != len(stored) or list(table.columns) != list(stored.columns):
        return ["shape"]
    return [name for name in table.columns if not _same(column(table, name), column(stored, name))]


def _same(values: pd.Series, stored: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(stored) and pd.api.types.is_numeric_dtype(values):
        pair = (each.to_numpy(np.float64) for each in (values, stored))
        return bool(np.isclose(*pair, rtol=1e-9, atol=1e-12, equal_nan=True).all())
    return values.fillna("").astype(str).tolist() == stored.fillna("").astype(str).tolist()


def main(folders: list[str]) -> int:
    """Print which tables of each folder agree with its records; return 1 if any does not."""
    wrong = 0
    for folder in map(Path, folders):
        try:
            tables = disagreements(folder)
        except (InputError, FileNotFoundError) as error:
            print(error, file=sys.stderr)
            return 2
        for name, columns in tables.items():
            print(
                f"{folder / name}.csv: {'differs in ' + ', '.join(columns) if columns else 'agrees with the records'}"
            )
            wrong += bool(columns)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
