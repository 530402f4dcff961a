"""State what each stage has to hold for the avatars of a chunk: the fingerprints of renders, embeddings and measures.

Jobs make what is missing of it, and the audit (:mod:`avatargen.runtime.audit`) compares it with what is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from avatargen.config.experiment import RunConfig
from avatargen.io.content_hash import digest
from avatargen.io.manifest import EmbedRow, RenderRow, Row
from avatargen.method.sources import WORLD_HEADS, flat_methods, source_of
from avatargen.preflight.plan import Study
from avatargen.runtime import fingerprint


class Shown(NamedTuple):
    """What the rule `render` has to hold for an avatar.

    Attributes:
        avatar: its row in generation's manifest.
        row: its row in the manifest of renders.
        truth: fingerprint of its distances to the ground-truth head.
        comparable: whether it can be compared vertex by vertex with that head.
    """

    avatar: Row
    row: RenderRow
    truth: str
    comparable: bool


def shown_as(study: Study, method: str) -> RunConfig:
    """Return a method with the renderer that shows the avatars of all methods."""
    return study.runs[method].model_copy(update={"renderer": study.experiment.renderer})


def renders_of(study: Study, method: str, rows: Iterable[Row]) -> list[Shown]:
    """Return what the rule `render` has to hold.

    Args:
        study: of the run.
        method: name of the run that made the avatars.
        rows: of generation's manifest.
    """
    experiment, run, prior = study.experiment, shown_as(study, method), study.prior_of(method)
    comparable = run.head in WORLD_HEADS and not source_of(run).is_external
    found = []
    for row in rows:
        render = fingerprint.of_render(row.fingerprint, row.status, run, experiment.evaluation, prior)
        render = render if run.head == experiment.head else digest(render, experiment.head)
        truth = digest(fingerprint.of_truth(row.fingerprint, row.status, run), comparable)
        shown = RenderRow(id=row.id, folder=row.folder, render_fingerprint=render)
        found.append(Shown(row, shown, truth, comparable))
    return found


def embeddings_of(study: Study, rows: Iterable[RenderRow]) -> list[EmbedRow]:
    """Return what the rule `embed` has to hold.

    Args:
        study: of the run.
        rows: of the manifest of renders.
    """
    draws = study.experiment.evaluation.noise_draws
    found = []
    for row in rows:
        render = row.render_fingerprint
        asked = {name: fingerprint.of_embedding(render, name, judge, draws) for name, judge in study.judges.items()}
        found.append(EmbedRow(id=row.id, folder=row.folder, embedding_fingerprints=asked))
    return found


def measures_of(study: Study, method: str, row: Row) -> dict[str, tuple[str, str]]:
    """Return the two fingerprints of each diagnostic of an avatar; none for one that failed or has no surface.

    Args:
        study: of the run.
        method: name of the run that made the avatar.
        row: of generation's manifest.
    """
    experiment, judges = study.experiment, study.judges
    shown_by = (shown_as(study, method), experiment.evaluation, study.prior_of(method), judges)
    has_surface = row.status == "ok" and method not in flat_methods(study.runs)
    names = experiment.diagnose if has_surface else ()
    return {name: fingerprint.of_diagnostic(name, row.fingerprint, row.status, *shown_by) for name in names}
