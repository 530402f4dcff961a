"""From the scores of all avatars to the tables of an experiment.

``clip_r``, ``paired``, ``claims``, ``power``, ``truth``, ``truth_regions``, ``baked_gap``, ``judges``, ``confusions``,
``diagnosis``, ``cost`` and ``failures`` are for people; ``records``, ``truth_records`` and ``diagnosis_records`` have
one line for each avatar; ``convergence`` has one for each method, measure and step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from avatargen.config.errors import InputError
from avatargen.config.experiment import Experiment
from eval.agreement import inverted_judges, judge_agreement, mark_inverted
from eval.artifacts import TRUTH_FACTS
from eval.claims import check_claims
from eval.columns import UNIT
from eval.confusions import confusions
from eval.convergence import convergence
from eval.findings import FINDINGS
from eval.paired import paired
from eval.power import power
from eval.records import to_frame
from eval.score import AvatarScores, Score
from eval.summaries import baked_gap, clip_r, cost, diagnosis, failures, truth, truth_regions

TRUTH_COLUMNS = ("geometry_mm", "geometry_mm_p95", "geometry_mm_vertices", "expression_error", "colour_error")
ABOUT = ("method", *UNIT, "subset")


def tabulate(avatars: Sequence[AvatarScores], scores: Sequence[Score], baseline: str) -> dict[str, pd.DataFrame]:
    """Return the tables for people, by name.

    Args:
        avatars: all avatars, in the order of the experiment's methods.
        scores: of all avatars, in the order of the judges.
        baseline: the method that the others are compared with.

    Raises:
        InputError: an avatar's distance to the ground truth is missing.
        ProtocolError: scores were made under different protocols.
    """
    rows = [avatar.row for avatar in avatars]
    records = to_frame(score.record for score in scores)
    return {
        **summarise(records, truth_records(avatars), baseline),
        "diagnosis": diagnosis(diagnosis_records(avatars)),
        "cost": cost(rows),
        "failures": failures(rows),
    }


def summarise(records: pd.DataFrame, truths: pd.DataFrame, baseline: str) -> dict[str, pd.DataFrame]:
    """Return the tables that follow from ``records`` and ``truth_records``, by name.

    Tables that show judges mark those whose ceiling is inverted, see :func:`eval.agreement.inverted_judges`.

    Args:
        records: columns as in :class:`eval.records.Record`.
        truths: see :func:`truth_records`.
        baseline: the method that the others are compared with.

    Raises:
        ProtocolError: scores were made under different protocols.
    """
    table, pairs = clip_r(records), paired(records, truths, baseline)
    tables = {
        "clip_r": table,
        "paired": pairs,
        "claims": check_claims(pairs),
        "power": power(pairs),
        "truth": truth(truths),
        "truth_regions": truth_regions(truths),
        "baked_gap": baked_gap(table),
        "judges": judge_agreement(records),
        "confusions": confusions(records),
    }
    inverted = inverted_judges(records, baseline)
    return {name: mark_inverted(table, inverted) for name, table in tables.items()}


def baseline_of_experiment(experiment: Experiment) -> str:
    """Return the method that an experiment's others are compared with: ``full``, or the first."""
    return "full" if "full" in experiment.methods else experiment.methods[0]


def list_records(avatars: Sequence[AvatarScores], scores: Sequence[Score]) -> dict[str, pd.DataFrame]:
    """Return the tables for scripts, by name; arguments and errors as of :func:`tabulate`."""
    return {
        "convergence": convergence([point for avatar in avatars for point in avatar.curve]),
        "records": to_frame(score.record for score in scores),
        "diagnosis_records": diagnosis_records(avatars),
        "truth_records": truth_records(avatars),
    }


def truth_records(avatars: Sequence[AvatarScores]) -> pd.DataFrame:
    """Return one line for each avatar whose prompt has a ground-truth head.

    Columns are as in :class:`eval.truth.TruthScore`. Avatars that were found to have no ground truth (meshes of another
    system) are left out.

    Raises:
        InputError: an avatar was not measured, though another method's avatar of the same prompt was; all of them.
    """
    known = {avatar.row.unit for avatar in avatars if avatar.truth.get("score")}
    problems = [
        f"{avatar.folder / TRUTH_FACTS}: missing, though '{avatar.row.item}' has a ground-truth head; measure it first"
        for avatar in avatars
        if avatar.row.unit in known and "score" not in avatar.truth
    ]
    if problems:
        raise InputError(problems)
    lines = [_truth_line(avatar) for avatar in avatars if avatar.truth.get("score")]
    return pd.DataFrame(lines) if lines else pd.DataFrame(columns=[*ABOUT, *TRUTH_COLUMNS])


def diagnosis_records(avatars: Sequence[AvatarScores]) -> pd.DataFrame:
    """Return one line for each avatar that was diagnosed: its measures, and the names of its findings."""
    lines = [
        {**_about(avatar), **asdict(avatar.diagnosis), "findings": " ".join(avatar.diagnosis.findings)}
        for avatar in avatars
        if avatar.diagnosis
    ]
    return pd.DataFrame(lines, columns=[*ABOUT, *FINDINGS, "findings"])


def _truth_line(avatar: AvatarScores) -> dict[str, Any]:
    score = avatar.truth["score"]
    regions = {f"mm_{name}": value for name, value in score["regions_mm"].items()}
    return {**_about(avatar), "status": avatar.row.status, **{name: score[name] for name in TRUTH_COLUMNS}, **regions}


def _about(avatar: AvatarScores) -> dict[str, Any]:
    return {**{name: getattr(avatar.row, name) for name in ("method", *UNIT)}, "subset": avatar.subset}
