"""The report: one HTML file that needs nothing beside it.

Prompts, messages and names come from outside: everything is put into the page by Jinja2 with autoescaping
on, and images only as data URIs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from avatargen.config.experiment import Experiment
from avatargen.config.settings import Frozen, MethodSettings, PriorSettings, provenance_table
from avatargen.io.atomic import replacing
from avatargen.io.manifest import Row
from eval import thumbnails
from eval.plots import PLOTS
from eval.records import TRACKS
from eval.tables import numeric_columns, read_table, rounded

GALLERY_PROMPTS = 40
TABLES = {
    "claims": (
        "What the paper claims, and what was measured",
        "Differences to the full method on the same prompts. A claim holds, or the contrary does, at p < 0.05; "
        "otherwise it is not shown. Ranks and distances: higher is worse.",
    ),
    "paired": (
        "Differences to the baseline",
        "Same prompts, paired; 95 % bootstrap interval, permutation test.",
    ),
    "truth": (
        "Distance to the true heads",
        "mm, and mean absolute RGB difference; failures count as the template.",
    ),
    "truth_regions": ("Distance by region of the head", "Mean distance to the true surface, mm."),
    "confusions": (
        "What confusions are taken for",
        "Shares of avatars: those that missed, and by attribute those that were taken for a head with another one. "
        "Avatars whose own caption is not of the head world are left out.",
    ),
    "baked_gap": ("Neural against exported", "What baking the latent texture to RGB costs."),
    "judges": ("Do the judges agree?", "Kendall's tau-b between two judges' scores of the methods."),
    "diagnosis": (
        "Failure signatures",
        "Means over avatars: misaligned texture and geometry, saturation, unrest of masks, shape at its bounds, "
        "offsets at their limit, flicker; and the share of avatars of which any is a finding.",
    ),
    "cost": (
        "Cost",
        "Of an avatar: its share of its batch's optimisation (all attempts, models loaded before) and its baking, "
        "seconds; peak memory while its batch ran, of the GPU or else of the process. Errors have none.",
    ),
}


@dataclass(frozen=True)
class ReportInputs:
    """What a report tells about.

    Attributes:
        experiment: its configuration; rows: of all manifests.
        methods: resolved settings by name; reasons: one line each on why the method is there.
        prior: its settings; priors: by method, where methods change some of them; judges: name → what it is, in a line.
        versions: name → version of code, packages, weights and machine.
        guides: for each method that a CLIP guided, the judges that are left out for it.
        root: what the rows' folders are relative to; tables, plots: folders that hold them.
    """

    experiment: Experiment
    rows: Sequence[Row]
    methods: Mapping[str, MethodSettings]
    prior: PriorSettings
    root: Path
    tables: Path
    plots: Path
    priors: Mapping[str, PriorSettings] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    judges: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    guides: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Note(NamedTuple):
    """A few words under an avatar, and what they say when pointed at."""

    text: str
    title: str = ""


class Truncated(NamedTuple):
    """How many of which texts a reader cannot hold, and one of them."""

    reader: str
    count: int
    total: int
    what: str
    example: str


def write_report(path: Path, inputs: ReportInputs) -> Path:
    """Write the report, atomically.

    Raises:
        FileNotFoundError: the tables were not collected yet.
    """
    environment = Environment(
        loader=PackageLoader("eval"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(**context(inputs))
    with replacing(path, only_writer=True) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def context(inputs: ReportInputs) -> dict[str, Any]:
    """What the template shows."""
    names = [name for name in inputs.experiment.methods if name in {row.method for row in inputs.rows}]
    return {
        "experiment": inputs.experiment,
        "counts": counts(inputs.rows),
        "truncated": truncated_texts(inputs.rows, protocols(inputs.tables)),
        "methods": [(name, inputs.reasons.get(name, "")) for name in names],
        "headline": headline(read_table(inputs.tables, "clip_r")),
        "plots": {name: _plot(inputs.plots, name, text) for name, text in PLOTS.items()},
        "gallery": gallery(inputs, names),
        "gallery_limit": GALLERY_PROMPTS,
        "tables": {name: _table(inputs.tables, name, *texts) for name, texts in TABLES.items()},
        "failures": rounded(read_table(inputs.tables, "failures")).to_dict("records"),
        "hyper": [
            *hyper_parameters({name: inputs.methods[name] for name in names if name in inputs.methods}),
            *changed_of_prior({name: inputs.priors[name] for name in names if name in inputs.priors}),
        ],
        "prior": provenance_table(inputs.prior),
        "protocols": protocols(inputs.tables),
        "judges": dict(inputs.judges),
        "versions": dict(inputs.versions),
        "guides": {method: list(names) for method, names in inputs.guides.items() if names},
    }


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How much was asked for and made."""
    return {
        "avatars": len(rows),
        "made": sum(row.status == "ok" for row in rows),
        "failed": sum(row.status != "ok" for row in rows),
        "prompts": len({(row.list, row.item) for row in rows}),
        "methods": len({row.method for row in rows}),
    }


def headline(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The table of CLIP-R in parts, one for each track and judge: rates as numbers, for bars, and as text."""
    parts = []
    for track in TRACKS:
        for judge, group in table[table["track"] == track].groupby("judge", sort=False):
            lines = []
            for (_, numbers), (_, text) in zip(group.iterrows(), rounded(group).iterrows(), strict=True):
                bar = {name: round(100 * float(numbers[name]), 1) for name in ("r_at_1", "r_at_1_low", "r_at_1_high")}
                lines.append({"bar": bar, "percent": _percents(numbers), **text.to_dict()})
            chance = round(100 * float(group["chance"].iloc[0]), 1)
            parts.append({"track": track, "judge": str(judge), "chance": chance, "lines": lines})
    return parts


def gallery(inputs: ReportInputs, methods: Sequence[str]) -> list[dict[str, Any]]:
    """One entry a prompt and seed, with a cell a method; the first GALLERY_PROMPTS of them."""
    found = {(row.method, row.unit): row for row in inputs.rows}
    units = list(dict.fromkeys(row.unit for row in inputs.rows))[:GALLERY_PROMPTS]
    notes = _cell_notes(inputs.tables)
    entries = []
    for unit in units:
        cells = [_cell(found.get((method, unit)), method, inputs.root, notes) for method in methods]
        prompt = next(row.prompt for row in inputs.rows if row.unit == unit)
        entries.append({"prompt": prompt, "list": unit[0], "item": unit[1], "seed": unit[2], "cells": cells})
    return entries


def hyper_parameters(settings: Mapping[str, Frozen]) -> list[dict[str, Any]]:
    """One row a hyper-parameter: its values by method, which differ from the first, and its provenance."""
    rows = []
    for same in zip(*map(provenance_table, settings.values()), strict=True):
        first = same[0]
        values = [(str(row["value"]), row["value"] != first["value"]) for row in same]
        rows.append({**first, "values": values})
    return rows


def changed_of_prior(priors: Mapping[str, PriorSettings]) -> list[dict[str, Any]]:
    """Rows as of `hyper_parameters`, of those settings of the prior that not all methods share."""
    rows = [row for row in hyper_parameters(priors) if any(changed for _, changed in row["values"])]
    return [{**row, "name": f"prior.{row['name']}"} for row in rows]


def protocols(tables: Path) -> list[dict[str, Any]]:
    """The protocols of ``protocols.json``, each with its hash."""
    facts = json.loads((tables / "protocols.json").read_text(encoding="utf-8"))
    return [{"hash": name, "truncated": [], "name": value["judge"], **value} for name, value in facts.items()]


def truncated_texts(rows: Sequence[Row], protocols: Sequence[Mapping[str, Any]]) -> list[Truncated]:
    """Prompts and captions that were not read to their ends, for each of those that read them."""
    asked = len({row.prompt for row in rows})
    readers = dict.fromkeys(reader for row in rows for reader in row.truncated_by)
    found = []
    for reader in readers:
        prompts = list(dict.fromkeys(row.prompt for row in rows if reader in row.truncated_by))
        found.append(Truncated(reader, len(prompts), asked, "prompts", prompts[0]))
    for facts in protocols:
        if facts["truncated"]:
            what = f"captions of the {facts['track']} pool"
            found.append(
                Truncated(
                    f"judge '{facts['name']}'", len(facts["truncated"]), facts["pool_size"], what, facts["truncated"][0]
                )
            )
    return found


def _cell(row: Row | None, method: str, root: Path, notes: Mapping[tuple, list[Note]]) -> dict[str, Any]:
    cell = {
        "method": method,
        "asked": row is not None,  # or it is a reduced method, or a true head that is not known
        "status": "not asked for",
        "message": "",
        "still": None,
        "sheet": None,
        "turning": None,
    }
    if row is None:
        return {**cell, "notes": []}
    folder = root / row.folder
    images = {name: getattr(thumbnails, name)(folder) for name in ("still", "sheet", "turning")}
    truncated = (
        [Note("prompt truncated", f"its end is not read by {', '.join(row.truncated_by)}")] if row.truncated_by else []
    )
    shown = images if row.status == "ok" else {}
    return {
        **cell, **shown, "status": row.status, "message": row.message,
        "notes": [*notes.get((method, row.unit), []), *truncated],
    }  # fmt: skip


def _cell_notes(tables: Path) -> dict[tuple, list[Note]]:
    """What stands under each avatar: ranks under the first judge that judged it, distance to the truth, findings."""
    records = read_table(tables, "records")
    first = records.groupby("method", sort=False)["judge"].transform("first")
    lines = [(line, [_rank_note(line)]) for line in records[records["judge"] == first].to_dict("records")]
    for line in read_table(tables, "truth_records").to_dict("records"):
        lines.append((line, [Note(f"{float(line['geometry_mm']):.1f} mm")]))
    for line in read_table(tables, "diagnosis_records").to_dict("records"):
        lines.append((line, [Note(name.replace("_", " ")) for name in str(line["findings"]).split()]))
    notes: dict[tuple, list[Note]] = {}
    for line, found in lines:
        key = (line["method"], (str(line["list"]), str(line["item"]), int(line["seed"])))
        notes.setdefault(key, []).extend(found)
    return notes


def _rank_note(record: Mapping[str, Any]) -> Note:
    """The rank of an avatar's own caption; for a miss, the caption that came first."""
    taken_for = f"taken for: {record['taken_for']}" if record["taken_for"] else ""
    return Note(f"{record['track']} #{int(record['rank'])}", taken_for)


def _plot(folder: Path, name: str, text: str) -> dict[str, str] | None:
    path = folder / f"{name}.svg"
    return {"uri": thumbnails.file_uri(path, "image/svg+xml"), "text": text} if path.is_file() else None


def _table(folder: Path, name: str, title: str, text: str) -> dict[str, Any] | None:
    table = read_table(folder, name)
    if table.empty:
        return None
    return {
        "title": title, "text": text, "columns": list(table.columns), "right": numeric_columns(table),
        "lines": rounded(table).to_dict("records"),
    }  # fmt: skip


def _percents(numbers: pd.Series) -> dict[str, str]:
    names = ("r_at_1", "r_at_1_low", "r_at_1_high", "r_at_5", "r_at_1_views", "r_at_1_baked")
    return {name: "–" if pd.isna(numbers[name]) else f"{100 * float(numbers[name]):.0f}" for name in names}
