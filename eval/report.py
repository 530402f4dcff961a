"""The report: one self-contained HTML file.

Prompts, messages and names come from outside, so Jinja2 puts everything into the page with autoescaping on, and images
are data URIs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from avatargen.config.crossing import split_name
from avatargen.config.experiment import Experiment
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.io.atomic import replacing
from avatargen.io.manifest import Row
from eval.answer_section import answer_section
from eval.columns import column, groups
from eval.gallery import findings_of, gallery, sort_keys, tag_values
from eval.glossary import Glossary
from eval.head_index import FOLDER, embedded_heads, read_heads
from eval.hyperparameters import compare_priors, compare_settings
from eval.images import TRACKS
from eval.judge_section import judge_section
from eval.key_numbers import judge_lines, key_numbers, shown_run
from eval.measures_section import measure_section
from eval.page import environment, script
from eval.page_files import HEAD_ROOM, ROOM, PageFiles
from eval.plots import PLOTS
from eval.prior_section import prior_section
from eval.reproduction import reproduction
from eval.results_file import ResultsFile
from eval.tables import FOOTNOTE, MARK, MISSING, has_marks, heading, numeric_columns, read_table, rounded
from eval.tabulate import baseline_of_experiment
from eval.thumbnails import file_uri
from eval.truncated import truncated_texts
from eval.unread import unread_texts

TABLES = {
    "claims": (
        "The paper's claims",
        "Paired difference of each method to the full method. A claim holds, or is refuted, at q < 0.05 in its family: "
        "the margins by the first judge (headline, Holm's correction) or all other rows (claims, Benjamini-Hochberg). "
        "It is untestable where too few prompts differ for any outcome to reach p < 0.05. Longer distances are worse.",
    ),
    "paired": (
        "Differences to the baseline",
        "Paired over the same prompts, with 95 % bootstrap intervals, the p-values of a permutation test and the least "
        "p that the prompts that differ could give. q is p corrected over all rows of the family (Benjamini-Hochberg): "
        "the methods, or the controls, which are floors and ceilings.",
    ),
    "power": (
        "What a study could show",
        "The smallest mean difference to the baseline that is found at p < 0.05 with a probability of 80 %, by number "
        "of prompts. sd is the standard deviation over prompts of a method's differences, median over the methods that "
        "differ.",
    ),
    "truth": (
        "Distance to the ground-truth heads",
        "Geometry and expression in mm, colour as mean absolute RGB difference. Failures count as the template.",
    ),
    "truth_regions": (
        "Distance by region of the head",
        "Mean distance to the ground-truth surface, mm.",
    ),
    "confusions": (
        "Confusions by attribute",
        "Fraction of avatars whose own caption does not rank first, and, for each attribute, fraction that was taken "
        "for a head with another value of it. Only avatars whose caption is of the closed world count.",
    ),
    "baked_gap": (
        "Neural and exported textures",
        "How much lower the exported RGB texture scores than the latent texture.",
    ),
    "judges": (
        "Agreement of judges",
        "Kendall's tau-b between two judges' means of the methods, on the avatars that all of them have, with 95 % "
        "bootstrap intervals over prompts; 1 is the same ranking. Floors and ceilings are easy to rank, so these "
        "controls are left out in the second row of each metric.",
    ),
    "diagnosis": (
        "Failure signatures",
        "Means over avatars: misalignment of texture and geometry, saturation, change of the segmentation masks, shape "
        "coefficients at their bounds, offsets at their limit, flicker, rear views that the prior takes for a "
        "front; and the fraction of avatars with any finding.",
    ),
    "cost": (
        "Cost",
        "Seconds for one avatar: its share of its batch's optimisation, over all attempts and without loading models, "
        "and its baking. Peak memory during its batch, of the GPU or else of the process. Unknown for errors. Avatars "
        "that were taken over from another experiment bring the seconds of that run.",
    ),
}
"""Title and text of each table in the report."""
CSV = ("clip_r", "records", "truth_records", "diagnosis_records", "failures", "judge_controls")
"""Further tables that the report links to."""


@dataclass(frozen=True)
class ReportInputs:
    """Everything that the report shows.

    Attributes:
        experiment: its configuration.
        rows: of all manifests.
        methods: resolved settings of each run, by its name.
        priors: settings of each prior of the experiment.
        root: what the rows' folders are relative to.
        tables, plots: folders that hold them.
        run_priors: settings of the prior in each run, whose method may change some of them.
        reasons: one line on each method.
        judges: the model of each judge.
        versions: of code, packages and machine, see :func:`eval.versions.versions`.
        guides: for each method that a CLIP guided, the judges that are left out for it.
        judge_reasons: one line on each judge.
        heads: index of the 3D heads beside the report, see :mod:`eval.head_files`; None for a report without them.
        results: content of ``results.json``, which says how the numbers were made; None if it is not known.
    """

    experiment: Experiment
    rows: Sequence[Row]
    methods: Mapping[str, MethodSettings]
    priors: Mapping[str, PriorSettings]
    root: Path
    tables: Path
    plots: Path
    run_priors: Mapping[str, PriorSettings] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    judges: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    guides: Mapping[str, Sequence[str]] = field(default_factory=dict)
    judge_reasons: Mapping[str, str] = field(default_factory=dict)
    heads: Path | None = None
    results: ResultsFile | None = None


class Table(NamedTuple):
    """A table as text; `right` names the columns to align to the right, `note` stands below it."""

    title: str
    text: str
    columns: list[str]
    right: list[str]
    lines: list[dict[str, str]]
    note: str


class Plot(NamedTuple):
    """A plot as a data URI, and its caption."""

    uri: str
    text: str


class HeadlinePart(NamedTuple):
    """CLIP-R of one track under one judge for one subset; `chance` is in per cent.

    `subset` is empty where there is only one.

    Each line has the columns of ``clip_r.csv`` as text, the rates in per cent as `percent`, and as numbers for the bars
    as `bar`.
    """

    track: str
    judge: str
    subset: str
    chance: float
    lines: list[dict[str, Any]]


def write_report(path: Path, inputs: ReportInputs) -> Path:
    """Write the report atomically and return its path.

    Raises:
        FileNotFoundError: the tables were not collected yet.
    """
    page = environment().get_template("report.html.j2").render(**context(inputs, PageFiles(path.parent, ROOM)))
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def context(inputs: ReportInputs, files: PageFiles) -> dict[str, Any]:
    """Return the variables of the template."""
    experiment, made = inputs.experiment, {row.method for row in inputs.rows}
    runs = [name for name in inputs.methods if name in made]
    methods = {split_name(name)[0]: inputs.methods[name] for name in reversed(runs)}
    names = [name for name in experiment.methods if name in methods]
    found = protocols(inputs.tables)
    flat = [name for name in runs if inputs.methods[name].frames]
    solid = [row for row in inputs.rows if row.method not in flat]
    return {
        "experiment": experiment,
        "heading": heading,
        "glossary": Glossary(),
        "counts": counts(inputs.rows),
        "flat": flat,
        "truncated": truncated_texts(inputs.rows, found),
        "unread": unread_texts(inputs.rows, found, inputs.priors, inputs.judges),
        "methods": [(name, inputs.reasons.get(name, "")) for name in names],
        "headline": headline(read_table(inputs.tables, "clip_r")),
        "footnote": FOOTNOTE if has_marks(read_table(inputs.tables, "clip_r")) else "",
        "plots": {name: _plot(inputs.plots, name, text) for name, text in PLOTS.items()},
        "across": prior_section(inputs.rows, experiment.priors, experiment.judges[0], inputs.root, inputs.tables)
        if experiment.priors
        else None,
        "answer": answer_section(experiment.question, inputs.root, inputs.tables, inputs.plots),
        "diagnostics": measure_section(solid, experiment.diagnose, inputs.root, inputs.tables),
        "tables": {name: _table(inputs.tables, name, *texts) for name, texts in TABLES.items()},
        "failures": rounded(read_table(inputs.tables, "failures")).to_dict("records"),
        "hyperparameters": [
            *compare_settings({name: methods[name] for name in names}),
            *compare_priors({name: inputs.run_priors[name] for name in runs if name in inputs.run_priors}, names),
        ],
        "priors": compare_settings(inputs.priors),
        "priors_named": list(inputs.priors),
        "protocols": found,
        "judges": dict(inputs.judges),
        "controls": judge_section({name: inputs.methods[name] for name in runs}, inputs.tables),
        "guides": {method: list(judges) for method, judges in inputs.guides.items() if judges},
        "reproduction": reproduction(inputs.results, inputs.versions),
        **_top(inputs, runs),
        **_gallery(inputs, runs, files),
    }


def _top(inputs: ReportInputs, runs: Sequence[str]) -> dict[str, Any]:
    """Return the variables of the top of the page: three numbers and the judges."""
    methods = {name: inputs.methods[name] for name in runs}
    baseline = shown_run(baseline_of_experiment(inputs.experiment), runs)
    tracks, lines = judge_lines(inputs.judges, inputs.judge_reasons, baseline, methods, inputs.tables)
    return {
        "numbers": key_numbers(baseline, methods, inputs.tables),
        "judge_tracks": tracks,
        "judge_lines": lines,
    }


def _gallery(inputs: ReportInputs, runs: Sequence[str], files: PageFiles) -> dict[str, Any]:
    """Return the variables of the gallery, with its 3D heads and its links."""
    heads = read_heads(inputs.heads) if inputs.heads else {}
    entries = gallery(inputs.rows, runs, inputs.root, inputs.tables, files, heads)
    shown = [cell.head for entry in entries for cell in entry.cells if cell.head]
    return {
        "gallery": entries,
        "tags": tag_values(entries),
        "findings": findings_of(entries),
        "sorts": sort_keys(entries),
        "runs": list(runs),
        "heads": embedded_heads(inputs.heads, shown, HEAD_ROOM) if inputs.heads else {},
        "heads_folder": FOLDER,
        "viewer": script("viewer.bundle.js") if shown else "",
        "csv": {name: files.href(inputs.tables / f"{name}.csv") for name in (*CSV, *TABLES)},
    }


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many prompts, methods, runs and avatars the report is about, and how many avatars failed."""
    return {
        "avatars": len(rows),
        "made": sum(row.status == "ok" for row in rows),
        "failed": sum(row.status != "ok" for row in rows),
        "prompts": len({(row.list, row.item) for row in rows}),
        "methods": len({split_name(row.method)[0] for row in rows}),
        "runs": len({row.method for row in rows}),
    }


def headline(table: pd.DataFrame) -> list[HeadlinePart]:
    """Split the table of CLIP-R into a part for each subset, track and judge."""
    parts, several = [], column(table, "subset").nunique() > 1
    for (subset, track, judge), group in groups(table, "subset", "track", "judge"):
        texts = rounded(group).to_dict("records")
        lines = [
            {"bar": _bar(numbers), "percent": _percents(numbers), **text}
            for numbers, text in zip(group.to_dict("records"), texts, strict=True)
        ]
        chance = round(100 * float(group["chance"].iloc[0]), 1)
        name = f"{judge}{MARK if has_marks(group) else ''}"
        parts.append(HeadlinePart(track, name, subset if several else "", chance, lines))
    order = {name: position for position, name in enumerate(dict.fromkeys(table["subset"]))}
    return sorted(parts, key=lambda part: (order.get(part.subset, 0), TRACKS.index(part.track)))


def protocols(tables: Path) -> list[dict[str, Any]]:
    """Return the protocols of ``protocols.json``, each with its hash; those of several priors' decoders as one.

    `captions` are those of all pools, each once. `hashes` has one hash, or (where methods are crossed with priors) one
    for each decoder, with the priors' names.
    """
    facts = json.loads((tables / "protocols.json").read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = {}
    for name, value in facts.items():
        same = json.dumps([value[part] for part in ("judge", "track", "subset", "items", "pools")])
        captions = list(dict.fromkeys(caption for pool in value["pools"] for caption in pool))
        hashes = found.setdefault(same, {**value, "captions": captions, "hashes": []})["hashes"]
        hashes.append((name, ", ".join(value.get("priors", ()))))
        hashes.sort(key=lambda pair: pair[1])
    return list(found.values())


def _plot(folder: Path, name: str, text: str) -> Plot | None:
    path = folder / f"{name}.svg"
    return Plot(file_uri(path, "image/svg+xml"), text) if path.is_file() else None


def _table(folder: Path, name: str, title: str, text: str) -> Table | None:
    table = read_table(folder, name)
    if table.empty:
        return None
    lines, note = rounded(table), FOOTNOTE if has_marks(table) else ""
    return Table(title, text, list(lines.columns), numeric_columns(table), lines.to_dict("records"), note)


def _bar(numbers: Mapping[str, Any]) -> dict[str, float]:
    return {name: round(100 * float(numbers[name]), 1) for name in ("r_at_1", "r_at_1_low", "r_at_1_high")}


def _percents(numbers: Mapping[str, Any]) -> dict[str, str]:
    names = ("r_at_1", "r_at_1_low", "r_at_1_high", "r_at_5", "r_at_1_views", "r_at_1_baked")
    noise = ("r_at_1_noise_low", "r_at_1_noise_high")
    return {
        name: MISSING if pd.isna(numbers[name]) else f"{100 * float(numbers[name]):.0f}" for name in (*names, *noise)
    }
