"""Read a finished run: its records, protocols, ``results.json`` and where its avatars lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from avatargen.config.errors import InputError, unknown
from avatargen.io.atomic import read_json
from avatargen.io.manifest import read_rows
from eval.columns import UNIT, column, where
from eval.results_file import NAME, ResultsFile, read_results
from eval.tables import read_table


@dataclass(frozen=True)
class Run:
    """A finished run, and the method that was asked for, if any.

    Attributes:
        folder: ``results/{experiment}``.
        method: name; None for all.
        file: content of ``results.json``.
        records, truths: tables ``records`` and ``truth_records``, the latter with prompts.
        protocols: content of ``protocols.json``.
    """

    folder: Path
    method: str | None
    file: ResultsFile
    records: pd.DataFrame
    truths: pd.DataFrame
    protocols: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """What people call the run: its folder."""
        return str(self.folder)

    @property
    def methods(self) -> list[str]:
        """Names of its methods, in the order of the experiment."""
        return list(dict.fromkeys(column(self.records, "method")))

    @property
    def truth_protocol(self) -> str | None:
        """Hash of what decides its distances to the ground truth; None without such distances."""
        return next((result.protocol for result in self.file.results if result.judge is None), None)

    @property
    def inverted(self) -> set[tuple[str, str]]:
        """Judges and tracks whose ceiling is inverted, see :mod:`eval.agreement`."""
        return {
            (result.judge, result.track) for result in self.file.results if result.judge and result.ceiling_inverted
        }

    @cached_property
    def avatars(self) -> dict[tuple[str, str, int], dict[str, Any]]:
        """Rows of all manifests by method, prompt and seed, each with the `folder` of the avatar here.

        The folder follows from the run's, so that a run that was copied shows its own pictures.
        """
        found = {}
        for path in sorted(self.folder.glob("*/*/generate/*.jsonl")):
            for row in read_rows(path):
                place = path.parents[1] / "avatars" / row["id"]
                found[row["method"], row["prompt"], int(row["seed"])] = {**row, "folder": place}
        return found

    def distances(self, method: str) -> pd.DataFrame:
        """Return a method's distances to the ground-truth heads."""
        return where(self.truths, method=method)

    def made(self, name: str, methods: Sequence[str]) -> str:
        """Return a fact of how the avatars of some methods were made, see :class:`eval.results_file.Optimisation`."""
        values = [getattr(entry, name) for entry in self.file.optimisation if entry.method in methods]
        return ", ".join(sorted({str(value) for value in values if value is not None})) or "none"


def load_run(text: str) -> Run:
    """Read a run.

    Args:
        text: its folder, or ``FOLDER:METHOD``.

    Raises:
        InputError: the folder, its tables or the method are missing, or another version made them.
    """
    folder, method = split_method(text)
    again = f"`avatargen run {folder.name}` makes it"
    if not folder.is_dir():
        raise InputError([f"{folder}: no such folder; expected results/EXPERIMENT of a finished run ({again})"])
    tables = folder / "tables"
    if not (tables / "records.csv").is_file():
        raise InputError([f"{folder}: got no tables; expected results/EXPERIMENT of a finished run ({again})"])
    try:
        file = read_results(folder / NAME)
        records, truths = read_table(tables, "records"), read_table(tables, "truth_records")
    except (FileNotFoundError, ValueError) as error:
        what = "missing" if isinstance(error, FileNotFoundError) else str(error).splitlines()[0]
        line = (
            f"{folder}: made by another version ({NAME}: {what}); `avatargen run {folder.name}` makes its tables again"
        )
        raise InputError([line]) from error
    prompts = records[[*UNIT, "prompt"]].drop_duplicates()
    run = Run(folder, method, file, records, truths.merge(prompts, on=UNIT), read_json(tables / "protocols.json"))
    if method and method not in run.methods:
        raise InputError([unknown("method", method, run.methods, str(folder))])
    return run


def split_method(text: str) -> tuple[Path, str | None]:
    """Return the folder and the method of ``FOLDER:METHOD``; no method for a folder alone.

    Example:
        >>> split_method("results/a:full@sd15")
        (PosixPath('results/a'), 'full@sd15')
    """
    head, colon, method = text.rpartition(":")
    return (Path(text), None) if not colon or Path(text).is_dir() else (Path(head), method or None)
