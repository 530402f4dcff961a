"""Write ``results.json``: the headline numbers of a run, each with what it means nothing without.

The file is strict JSON (no NaN) that needs no other file to be read. :class:`ResultsFile` is its format;
``python -m eval.results_file`` writes its JSON schema to ``workflow/schemas/results.schema.json``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, Field

from avatargen.config.crossing import split_name
from avatargen.config.places import ROOT
from avatargen.io.atomic import read_json, write_text
from avatargen.io.content_hash import digest
from avatargen.io.manifest import Row
from eval.measure_results import CLOSED, MeasureResult, measure_results
from eval.metrics import METRICS, Metric
from eval.tables import INVERTED, read_table

NAME = "results.json"
SCHEMA = 1
SCHEMA_FILE = ROOT / "workflow/schemas/results.schema.json"
LONG = 8
"""A list with more entries is given by its number and hash."""


class Part(BaseModel):
    """A closed part of the file."""

    model_config = CLOSED


class Result(Part):
    """One number: a method under one metric, in one track, by one judge."""

    task: str = Field(description="prompt lists and track: LIST+LIST/TRACK")
    track: str
    method: str
    prior: str | None = Field(description="diffusion prior, where methods are crossed with priors")
    subset: str | None = Field(description="part of the prompts that the number is about; null for all of them")
    judge: str | None = Field(description="null for a distance to the ground-truth head")
    ceiling_inverted: bool = Field(description="the judge finds fewer ground-truth heads than avatars of the baseline")
    metric: str
    higher_is_better: bool
    value: float | None = Field(description="null where it is not defined")
    low: float | None = Field(description="lower end of the 95 % interval")
    high: float | None = Field(description="upper end of the 95 % interval")
    interval: Literal["wilson", "bootstrap"] | None
    noise_low: float | None = Field(description="lowest value under draws of rounding noise; of R@1 only")
    noise_high: float | None = Field(description="highest value under them")
    chance: float | None = Field(description="chance level; of R@1 only")
    n: int = Field(description="avatars asked for; failures count")
    n_failed: int
    protocol: str = Field(description="hash of all that decides what the number means; numbers compare only if equal")


class Judging(Part):
    """How what judges see is decoded and embedded."""

    number_format: str | None
    noise_draws: int | None = Field(description="draws of noise of one level of 255 that the range of R@1 is over")


class Optimisation(Part):
    """How avatars of a method were made; a method has several entries where its avatars differ in that."""

    method: str
    n: int = Field(description="avatars that were made this way")
    batch_size: int | None = Field(description="avatars optimised together; null where none were")
    number_format: str | None = Field(description="of the optimisation steps; null where there were none")
    threads: int | None
    torch: str | None
    cpu: str | None
    cores: int | None
    gpu: str | None


class MethodTime(Part):
    """Cost of a method: its avatars' shares of their batches, and baking."""

    method: str
    seconds_per_avatar: float | None
    seconds_total: float | None
    peak_memory_mb: float | None


class Time(Part):
    """When the numbers were made, and what the avatars cost."""

    made: str = Field(description="ISO 8601, UTC")
    seconds_per_avatar: float | None = Field(description="of optimisation and baking, over avatars whose cost is known")
    seconds_total: float | None
    methods: list[MethodTime]


class Config(Part):
    """What was run."""

    hash: str = Field(description="of all resolved settings, prompts included")
    command: str | None
    experiment: dict[str, Any] = Field(description="the experiment's configuration")
    runs: dict[str, dict[str, Any]] = Field(description="resolved settings of each method")
    judges: dict[str, dict[str, Any]]


class ResultsFile(Part):
    """Everything in ``results.json``."""

    schema_version: int = Field(alias="schema", ge=SCHEMA, le=SCHEMA)
    experiment: str
    results: list[Result]
    measures: list[MeasureResult] = Field([], description="what diagnostics found; left out where none were asked for")
    protocols: dict[str, dict[str, Any]] = Field(description="by hash; long lists as their length and hash")
    config: Config
    versions: dict[str, str] = Field(description="of the code and packages that made the tables")
    hardware: dict[str, Any] = Field(description="of the machine that made the tables: cpu, cores, gpu")
    optimisation: list[Optimisation]
    judging: Judging
    time: Time


@dataclass(frozen=True)
class RunFacts:
    """What the tables of a run do not say.

    Attributes:
        plan: content of ``plan.json``.
        rows: of all manifests.
        root: what the rows' folders are relative to.
        tables: folder that holds them.
        truth_protocol: hash of what decides the distances to the ground truth.
        versions: see :func:`eval.versions.versions`.
        hardware: see :func:`avatargen.io.hardware.hardware`.
        diagnostics: protocol of each diagnostic of the experiment, see
            :func:`avatargen.runtime.fingerprint.diagnostic_protocol`.
    """

    plan: Mapping[str, Any]
    rows: Sequence[Row]
    root: Path
    tables: Path
    truth_protocol: str
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    diagnostics: Mapping[str, str] = field(default_factory=dict)


def write_results(path: Path, facts: RunFacts) -> ResultsFile:
    """Write the file atomically and return its content.

    Raises:
        FileNotFoundError: the tables were not collected yet.
        OSError: the disk is full or the folder cannot be written.
    """
    file = results_file(facts)
    content = file.model_dump(mode="json", by_alias=True, exclude=None if file.measures else {"measures"})
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return file


def results_file(facts: RunFacts) -> ResultsFile:
    """Return the content of the file; raise as `write_results` does."""
    plan, experiment = facts.plan, facts.plan["experiment"]
    resolved = [plan[name] for name in ("experiment", "runs", "priors", "judges", "lists")]
    protocols = read_json(facts.tables / "protocols.json")
    content = {
        "schema": SCHEMA,
        "experiment": experiment["experiment"],
        "results": list(_results(facts)),
        "measures": list(measure_results(facts.tables, facts.diagnostics)),
        "protocols": {key: shortened(value) for key, value in protocols.items()},
        "config": {
            "hash": digest(*resolved),
            "command": plan.get("command"),
            "experiment": experiment,
            "runs": plan["runs"],
            "judges": plan["judges"],
        },
        "versions": dict(facts.versions),
        "hardware": dict(facts.hardware),
        "optimisation": _optimisation(facts.rows, facts.root),
        "judging": {
            "number_format": ", ".join(dict.fromkeys(_named(protocols, "numbers"))) or None,
            "noise_draws": next(_named(protocols, "noise_draws"), None),
        },
        "time": _time(read_table(facts.tables, "cost"), facts.rows),
    }
    return ResultsFile.model_validate(content)


def read_results(path: Path) -> ResultsFile:
    """Return the content of a file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another version, or damaged.
    """
    return ResultsFile.model_validate_json(path.read_text(encoding="utf-8"))


def schema_text() -> str:
    """Return the JSON schema of the file."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ResultsFile.model_json_schema()}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def shortened(value: Any) -> Any:
    """Return JSON-ready content whose long lists and mappings are given by their length and hash.

    Example:
        >>> shortened({"views": 8, "captions": ["a head"] * 60})
        {'views': 8, 'captions': {'count': 60, 'hash': '0fae0e388d3058af5beb'}}
    """
    if isinstance(value, list | dict) and len(value) > (LONG if isinstance(value, list) else 4 * LONG):
        return {"count": len(value), "hash": digest(value)}
    return {key: shortened(part) for key, part in value.items()} if isinstance(value, dict) else value


def _results(facts: RunFacts) -> Iterator[dict[str, Any]]:
    """Yield the numbers of ``clip_r.csv`` and ``truth.csv``, one after the other."""
    lists = {}
    for row in facts.rows:
        lists.setdefault(row.method, {})[row.list] = None
    clip_r, truth = (read_table(facts.tables, name) for name in ("clip_r", "truth"))
    for line in clip_r.to_dict("records"):
        for metric in METRICS:
            if metric.track is None and metric.summary in line:
                judged = {"judge": line["judge"], "protocol": line["protocol"], "track": line["track"]}
                yield _result(line, metric, lists, judged)
    for line in truth.to_dict("records"):
        for metric in METRICS:
            if metric.track and metric.summary in line:
                measured = {"judge": None, "protocol": facts.truth_protocol, "track": metric.track}
                yield _result(line, metric, lists, measured)


def _result(
    line: Mapping[Any, Any], metric: Metric, lists: Mapping[str, Mapping[str, None]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return one number as :class:`Result` has it."""
    run = str(line["method"])
    method, prior = split_name(run)
    ends = {end: _number(line.get(f"{metric.name}_{end}")) for end in ("low", "high", "noise_low", "noise_high")}
    return {
        **about,
        **ends,
        "task": f"{'+'.join(lists.get(run, {}))}/{about['track']}",
        "method": method,
        "prior": prior or None,
        "subset": line.get("subset") or None,
        "ceiling_inverted": bool(line.get(INVERTED, False)),
        "metric": metric.name,
        "higher_is_better": metric.higher_is_better,
        "value": _number(line[metric.summary]),
        "interval": metric.interval if ends["low"] is not None else None,
        "chance": _number(line.get("chance")) if metric.first else None,
        "n": int(line["n"]),
        "n_failed": int(line["n_failed"]),
    }


def _optimisation(rows: Sequence[Row], root: Path) -> list[dict[str, Any]]:
    """Return how the avatars were made, with the number of those made alike; from their files."""
    found: Counter[tuple[Any, ...]] = Counter()
    names = tuple(name for name in Optimisation.model_fields if name != "n")
    for row in rows:
        avatar = read_json(root / row.folder / "avatar.json")
        made, config = avatar.get("provenance", {}), avatar.get("config", {})
        facts = {
            **made,
            **made.get("hardware", {}),
            "method": row.method,
            "threads": config.get("threads"),
            "torch": made.get("versions", {}).get("torch"),
        }
        found[tuple(facts.get(name) for name in names)] += 1
    return [{**dict(zip(names, values, strict=True)), "n": n} for values, n in found.items()]


def _time(cost: pd.DataFrame, rows: Sequence[Row]) -> dict[str, Any]:
    """Return when the numbers were made and what the avatars cost, from the table `cost`."""
    known = [row.seconds for row in rows if row.seconds is not None]
    methods = [
        {
            "method": str(line["method"]),
            "seconds_per_avatar": _number(line["seconds_mean"]),
            "seconds_total": _number(line["seconds_total"]),
            "peak_memory_mb": _number(line["peak_memory_mb_max"]),
        }
        for line in cost.to_dict("records")
    ]
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds_per_avatar": sum(known) / len(known) if known else None,
        "seconds_total": sum(known) if known else None,
        "methods": methods,
    }


def _named(value: Any, name: str) -> Iterator[Any]:
    """Yield the values that have this name in nested mappings."""
    for key, part in value.items() if isinstance(value, dict) else ():
        if key == name:
            yield part
        else:
            yield from _named(part, name)


def _number(value: Any) -> float | None:
    """Return a cell as a number; None for one that is empty, text or not finite."""
    if isinstance(value, str) or value is None or not math.isfinite(float(value)):
        return None
    return float(value)


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
