"""From manifests, embeddings and distances on disk to the tables of an experiment.

Files in the folder of tables: ``clip_r``, ``paired``, ``claims``, ``truth``, ``truth_regions``, ``baked_gap``,
``judges``, ``confusions``, ``diagnosis``, ``cost`` and ``failures`` as CSV, Markdown and LaTeX; ``records.csv``,
``truth_records.csv`` and ``diagnosis_records.csv`` with one line an avatar; ``convergence.csv``, see
:mod:`eval.convergence`; ``protocols.json``, which spells out the protocol hashes, and the captions that judges cut.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from avatargen.config.errors import InputError
from avatargen.config.experiment import Experiment
from avatargen.config.settings import PriorSettings
from avatargen.io.atomic import read_json, write_json
from avatargen.io.manifest import Row
from eval.artifacts import RENDER_FACTS, TRUTH_FACTS
from eval.claims import check_claims
from eval.confusions import confusions
from eval.convergence import convergence
from eval.diagnosis import FINDINGS, Diagnosis
from eval.embed import Judge
from eval.embeddings import load_embeddings
from eval.images import of_track, view_protocol
from eval.pools import Pool, build_pools
from eval.records import TRACKS, Protocol, Record, make_record, to_frame
from eval.retrieval import Retrieval, retrieve
from eval.summaries import (
    UNIT,
    baked_gap,
    clip_r,
    cost,
    diagnosis,
    failures,
    judge_agreement,
    paired,
    truth,
    truth_regions,
)
from eval.tables import write_table

TRUTH_COLUMNS = ("geometry_mm", "geometry_mm_p95", "expression_error", "colour_error")


def collect(
    experiment: Experiment,
    prior: PriorSettings,
    rows: Sequence[Row],
    judges: Mapping[str, Judge],
    root: Path,
    tables: Path,
    negatives: Sequence[str] = (),
    geometry_captions: Sequence[str] = (),
    guides: Mapping[str, Container[str]] | None = None,
) -> None:
    """Write all tables of an experiment.

    Args:
        prior: its settings decide how latents are shown.
        rows: of all manifests, see :func:`eval.manifest.read_manifests`.
        judges: by their configured names.
        root: what the rows' folders are relative to.
        tables: folder to write to.
        negatives, geometry_captions: extra captions of the pools, see :func:`eval.pools.build_pools`.
        guides: for each method, the judges that guided it; these do not judge it.

    Raises:
        InputError: embeddings or distances of a finished avatar are missing.
        ProtocolError: embeddings were made under different protocols.
    """
    rows = sorted(rows, key=lambda row: experiment.methods.index(row.method))  # stable: prompts keep their order
    pools = build_pools(rows, negatives, geometry_captions, experiment.geometry_pool)
    views = view_protocol(experiment.evaluation, prior)
    records, protocols = score(rows, judges, pools, views, root, guides or {})
    frame, truths = to_frame(records), read_truths(rows, root)
    baseline = "full" if "full" in experiment.methods else experiment.methods[0]
    table = clip_r(frame)
    pairs = paired(frame, truths, baseline)
    named = {
        "clip_r": table,
        "paired": pairs,
        "claims": check_claims(pairs),
        "truth": truth(truths),
        "truth_regions": truth_regions(truths),
        "baked_gap": baked_gap(table),
        "judges": judge_agreement(table),
        "confusions": confusions(frame),
        "diagnosis": diagnosis(read_diagnoses(rows, root)),
        "cost": cost(rows),
        "failures": failures(rows),
    }
    for name, content in named.items():
        write_table(content, tables, name)
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    texts = {name: dict(zip(prompts, judge.embed_texts(prompts), strict=True)) for name, judge in judges.items()}
    write_table(convergence(rows, texts, root, guides or {}), tables, "convergence", readable=False)
    write_table(frame, tables, "records", readable=False)
    write_table(read_diagnoses(rows, root), tables, "diagnosis_records", readable=False)
    write_table(truths, tables, "truth_records", readable=False)
    known = {judge.id: judge for judge in judges.values()}
    facts = {protocol.hash: _facts(protocol, known[protocol.judge]) for protocol in protocols}
    write_json(tables / "protocols.json", facts)


def score(
    rows: Sequence[Row],
    judges: Mapping[str, Judge],
    pools: Mapping[str, Pool],
    views: dict[str, Any],
    root: Path,
    guides: Mapping[str, Container[str]],
) -> tuple[list[Record], list[Protocol]]:
    """A record for each row, judge and track, and the protocols they were made under.

    Args:
        views: the protocol that failed avatars count under; the others bring the one they were rendered with.

    Raises:
        InputError: embeddings are missing; lists all.
    """
    records, protocols, problems = [], {}, []
    for name, judge in judges.items():
        captions = {track: judge.embed_texts(pools[track].captions) for track in TRACKS}
        for row in rows:
            if name in guides.get(row.method, ()):
                continue
            try:
                embedded = load_embeddings(root / row.folder, name) if row.status == "ok" else None
            except InputError as error:
                problems += error.problems
                continue
            for track in TRACKS:
                pool, own = pools[track], pools[track].own[row.unit]
                shown = embedded.protocol if embedded else views
                protocol = Protocol(judge.id, track, pool.name, pool.captions, of_track(shown, track))
                protocols[protocol.hash] = protocol
                scores = {
                    kind: _retrieve(embedded.kinds[kind], captions[track], own)
                    for kind in (("texture", "baked") if track == "texture" else ("geometry",))
                    if embedded
                }
                judged = row if not embedded or scores[track] else row.model_copy(update={"status": "not_finite"})
                records.append(make_record(judged, protocol, name, own, scores.get(track), scores.get("baked")))
    if problems:
        raise InputError(problems)
    return records, list(protocols.values())


def read_truths(rows: Sequence[Row], root: Path) -> pd.DataFrame:
    """One line for each row whose prompt has a true head; columns as in :class:`eval.truth.TruthScore`.

    Rows that were found to have none (meshes of another system) are left out.

    Raises:
        InputError: a row was not measured where another method's avatar of the same prompt was.
    """
    facts = {row: read_json(root / row.folder / TRUTH_FACTS) for row in rows}
    scores = {row: found.get("score") for row, found in facts.items()}
    known = {row.unit for row, found in scores.items() if found}
    problems = [
        f"{root / row.folder / TRUTH_FACTS}: missing, though '{row.item}' has a true head; measure it first"
        for row, found in scores.items()
        if row.unit in known and not found and "score" not in facts[row]
    ]
    if problems:
        raise InputError(problems)
    lines = []
    for row, found in scores.items():
        if found:
            about = {name: getattr(row, name) for name in ("method", "list", "item", "seed", "status")}
            regions = {f"mm_{name}": value for name, value in found["regions_mm"].items()}
            lines.append({**about, **{name: found[name] for name in TRUTH_COLUMNS}, **regions})
    return pd.DataFrame(lines) if lines else pd.DataFrame(columns=["method", *UNIT, *TRUTH_COLUMNS])


def read_diagnoses(rows: Sequence[Row], root: Path) -> pd.DataFrame:
    """One line for each finished avatar: its measures, and the names of its findings."""
    lines = []
    for row in rows:
        found = read_json(root / row.folder / RENDER_FACTS).get("diagnosis") if row.status == "ok" else None
        if found:
            measured = Diagnosis(**{name: np.nan if value is None else value for name, value in found.items()})
            facts = {name: getattr(row, name) for name in ("method", "list", "item", "seed")}
            lines.append({**facts, **asdict(measured), "findings": " ".join(measured.findings)})
    return pd.DataFrame(lines, columns=["method", *UNIT, *FINDINGS, "findings"])


def _retrieve(images: Float[np.ndarray, "V D"], captions: Float[np.ndarray, "N D"], own: int) -> Retrieval | None:
    """The retrieval of an avatar; None where its embeddings are not finite: a broken render is a failure."""
    return retrieve(images, captions, own) if np.isfinite(images).all() else None


def _facts(protocol: Protocol, judge: Judge) -> dict[str, Any]:
    """A protocol spelt out, with the captions that its judge does not read to the end."""
    return {
        "judge": protocol.judge,
        "name": judge.name,
        "track": protocol.track,
        "pool": protocol.pool,
        "pool_size": len(protocol.captions),
        "captions": list(protocol.captions),
        "truncated": judge.truncated(protocol.captions),
        "views": protocol.views,
    }
