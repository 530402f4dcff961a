"""Tabulate hyper-parameters for the report: value, provenance and description of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from avatargen.config.crossing import split_name
from avatargen.config.settings import Frozen, PriorSettings, Provenance
from eval.tables import MISSING


@dataclass(frozen=True)
class Hyperparameter:
    """One hyper-parameter and its value.

    Attributes:
        name: nested ones are dotted.
        value: as configured.
        provenance: where the value comes from: the default's; any other value is ours, and deviates from the paper
            where the default is the paper's.
        description: in one line.
    """

    name: str
    value: Any
    provenance: Provenance
    description: str


@dataclass(frozen=True)
class ComparedSetting:
    """One hyper-parameter of several methods or priors.

    Attributes:
        first: of the first of them.
        name: as shown.
        values: of each, and whether it differs from the first's.
    """

    first: Hyperparameter
    name: str
    values: list[tuple[str, bool]]


def provenance_table(settings: Frozen) -> list[Hyperparameter]:
    """Return the hyper-parameters of settings, nested ones included; fields excluded from hashes are left out.

    Example:
        >>> rows = {row.name: row for row in provenance_table(PriorSettings(path="sd", guidance=7.5))}
        >>> rows["guidance"].value, rows["guidance"].provenance  # the paper's value is 100
        (7.5, 'deviates')
    """
    rows = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if field.exclude:
            continue
        if isinstance(value, Frozen) and isinstance(field.default, Frozen):
            rows += [
                Hyperparameter(f"{name}.{row.name}", row.value, row.provenance, row.description)
                for row in provenance_table(value)
            ]
            continue
        extra = field.json_schema_extra
        source = cast(Provenance, extra.get("provenance", "ours")) if isinstance(extra, dict) else "ours"
        if value != field.default:
            source = "deviates" if source == "paper" else "ours"
        rows.append(Hyperparameter(name, value, source, field.description or ""))
    return rows


def compare_settings(settings: Mapping[str, Frozen]) -> list[ComparedSetting]:
    """Return one row for each hyper-parameter, with its value in each method or prior."""
    tables = map(provenance_table, settings.values())
    return [_compare(same) for same in zip(*tables, strict=True)]


def compare_priors(priors: Mapping[str, PriorSettings], methods: Sequence[str]) -> list[ComparedSetting]:
    """Return one row for each setting of a prior that not all methods share, with its value in each method.

    Where methods are crossed with priors, each prior has rows of its own, without values of methods that use none.

    Args:
        priors: settings of the prior in each run, by its name.
        methods: names, in order.
    """
    names = list(dict.fromkeys(split_name(run)[1] for run in priors))
    crossed = [name for name in names if name]
    rows = []
    for name in crossed or names:
        runs = {split_name(run)[0]: prior for run, prior in priors.items() if split_name(run)[1] == name}
        for row in compare_settings({method: runs[method] for method in methods if method in runs}):
            if any(differs for _, differs in row.values):
                values = dict(zip([method for method in methods if method in runs], row.values, strict=True))
                cells = [values.get(method, (MISSING, False)) for method in methods]
                rows.append(ComparedSetting(row.first, f"{name or 'prior'}.{row.name}", cells))
    return rows


def _compare(same: tuple[Hyperparameter, ...]) -> ComparedSetting:
    first = same[0]
    return ComparedSetting(first, first.name, [(str(row.value), row.value != first.value) for row in same])
