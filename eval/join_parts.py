"""Join the tables of an experiment that ran in parts, on machines without a common disk or in several sessions.

Each part ran some of the methods, each method whole, and has a folder of tables. Several parts may have the same method
(ground-truth heads cost nothing), with the same scores:

    avatargen run study --methods oracle,full,no_shading_cue,no_offsets --name study_1
    avatargen run study --methods oracle,no_segmentation,no_shape --name study_2
    python -m eval.join_parts study results/study_1/tables results/study_2/tables --to results/joined

The joined folder has the records of all parts, the tables that follow from them, computed as of one run, the parts' own
rows of tables of each method for itself, and the plots; not what diagnostics measured. Where methods have different
prompts or seeds, each part needs a method of each kind, since the protocol of a score names the prompts that methods
are compared on; scores of different protocols are refused. An experiment of several priors does not join.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from avatargen.config.errors import InputError, Problems
from avatargen.config.experiment import Experiment
from avatargen.config.grid import with_grid
from avatargen.config.loading import load_experiment, load_library
from avatargen.io.atomic import read_json, write_json
from eval.columns import column, numbers, where
from eval.findings import FINDINGS
from eval.plot_style import unique
from eval.plots import write_plots
from eval.recompute import summarise_records
from eval.records import ProtocolError
from eval.tables import read_table, write_table

RECORDS = ("records", "truth_records", "diagnosis_records", "convergence")
"""Tables for scripts, with lines of one avatar or one method."""
SCORES = ("records", "truth_records", "diagnosis_records")
"""Those of which parts that share a method have the same."""
PER_METHOD = ("diagnosis", "cost", "failures")
"""Tables for people whose rows say something of one method, whatever the others are."""
SHARED = ("judge_controls",)
"""Tables of no method, the same in all parts; some experiments have none."""
PROTOCOLS = "protocols.json"


def join_parts(experiment: Experiment, parts: Sequence[Path], folder: Path) -> list[str]:
    """Write the tables and plots of all parts, as of one run.

    Args:
        experiment: that the parts are of; gives the order of the methods, and the one that others are compared with.
        parts: folders of tables.
        folder: to write to.

    Returns:
        The methods of the experiment that no part has.

    Raises:
        InputError: a part has no such tables, compares on other prompts and seeds, or has other scores, of a method
            or of judges, than an earlier part; the experiment has no such method, or several priors. All problems of a
            kind.
        ProtocolError: the parts' scores were made under different protocols.
    """
    read = _read_all(experiment, parts)
    firsts, shared = _compared(experiment, parts, read)
    order = [name for name in experiment.methods if name in firsts]
    tables = {
        name: pd.concat([_rows(firsts[method][name], method) for method in order], ignore_index=True)
        for name in (*RECORDS, *PER_METHOD)
    }
    judges = dict.fromkeys([*experiment.judges, *column(tables["records"], "judge")])  # in the order of `eval.collect`
    tables["records"] = pd.concat([where(tables["records"], judge=name) for name in judges], ignore_index=True)
    measures = {name: numbers(column(tables["diagnosis"], name), errors="coerce") for name in FINDINGS}
    tables["diagnosis"] = tables["diagnosis"].assign(**measures)
    made = summarise_records(tables["records"], tables["truth_records"], experiment)
    for name, table in {**tables, **made, **shared}.items():
        write_table(table, folder, name, readable=name not in RECORDS)
    write_json(folder / PROTOCOLS, {key: facts for part in parts for key, facts in read_json(part / PROTOCOLS).items()})
    write_plots(folder, folder)
    return [name for name in experiment.methods if name not in firsts]


def _read_all(experiment: Experiment, parts: Sequence[Path]) -> list[dict[str, pd.DataFrame]]:
    """Return the tables of each part, which compare their methods on the same prompts and seeds."""
    problems = Problems()
    problems.add(
        ["an experiment of several priors does not join: its styles need the embeddings"] * bool(experiment.priors)
    )
    problems.check()
    read = [tables for tables in (problems.of(lambda part=part: _read(part)) for part in parts) if tables]
    problems.check()
    expected = _subsets(read[0])
    problems.add(
        f"{part}: compares on {', '.join(sorted(found))}; expected {', '.join(sorted(expected))}, as {parts[0]}: "
        "each part needs a method of each number of prompts and seeds"
        for part, tables in zip(parts, read, strict=True)
        if (found := _subsets(tables)) != expected
    )
    problems.check()
    return read


def _compared(
    experiment: Experiment, parts: Sequence[Path], read: Sequence[dict[str, pd.DataFrame]]
) -> tuple[dict[str, dict[str, pd.DataFrame]], dict[str, pd.DataFrame]]:
    """Return the first part's tables that have a method, by method, and the tables that parts share."""
    problems = Problems()
    firsts: dict[str, dict[str, pd.DataFrame]] = {}
    for part, tables in zip(parts, read, strict=True):
        for method in unique(tables["cost"], "method"):
            first = firsts.setdefault(method, tables)
            if method not in experiment.methods:
                problems.add([f"{part}: {method}: no method of '{experiment.experiment}'"])
            elif not all(_rows(first[name], method).equals(_rows(tables[name], method)) for name in SCORES):
                problems.add([f"{part}: {method}: has other scores in an earlier part; leave it out of one of them"])
    shared = {name: tables[name] for tables in reversed(read) for name in SHARED if name in tables}
    problems.add(
        f"{part}: {name}: other than in an earlier part"
        for part, tables in zip(parts, read, strict=True)
        for name in shared
        if name in tables and not tables[name].equals(shared[name])
    )
    problems.check()
    return firsts, shared


def _read(part: Path) -> dict[str, pd.DataFrame]:
    there = [name for name in SHARED if (part / f"{name}.csv").is_file()]
    try:
        return {name: read_table(part, name) for name in (*RECORDS, *PER_METHOD, *there)}
    except FileNotFoundError as error:
        raise InputError([f"{error.filename}: missing; expected the folder `tables` of a finished run"]) from error


def _subsets(tables: dict[str, pd.DataFrame]) -> set[str]:
    """Return the names of the sets of prompts and seeds that a part compares its methods on."""
    return {name for names in tables["records"]["subset"] for name in str(names).split()}


def _rows(table: pd.DataFrame, method: str) -> pd.DataFrame:
    return where(table, method=method).reset_index(drop=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Join the folders of the command line; return 2 for wrong input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="name of the experiment, or path of its file")
    parser.add_argument("parts", nargs="+", type=Path, help="folders of tables")
    parser.add_argument("--to", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    try:
        experiment, _ = with_grid(load_experiment(options.experiment), load_library())
        missing = join_parts(experiment, options.parts, options.to)
    except (InputError, ProtocolError) as error:
        print(error, file=sys.stderr)
        return 2
    absent = f"; in no part: {', '.join(missing)}" if missing else ""
    print(f"{options.to}: {len(options.parts)} parts joined{absent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
