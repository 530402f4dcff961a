"""Score one avatar: a record for each judge and track, and its learning curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from avatargen.config.crossing import split_name
from avatargen.io.manifest import Row
from eval.captions import CaptionEmbeddings
from eval.convergence import CurvePoint, curve_points
from eval.embeddings import Embeddings
from eval.findings import Diagnosis
from eval.images import KINDS_OF_TRACK, TRACKS, of_track
from eval.load import AvatarFiles
from eval.pools import Pool
from eval.records import Protocol, Record, make_record
from eval.retrieval import Retrieval, retrieve


class Score(NamedTuple):
    """A record and the protocol it was made under."""

    protocol: Protocol
    record: Record


@dataclass(frozen=True)
class AvatarScores:
    """What the tables need to know of one avatar.

    Attributes:
        row: of the manifest; folder: of the avatar.
        scores: one for each judge and track.
        curve: losses and CLIP scores on the way.
        diagnosis, truth: see :class:`eval.load.AvatarFiles`.
        means: mean embedding of its views by judge and track, where its method is crossed with priors.
    """

    row: Row
    folder: Path
    scores: list[Score]
    curve: list[CurvePoint]
    diagnosis: Diagnosis | None
    truth: Mapping[str, Any]
    means: Mapping[tuple[str, str], Float[np.ndarray, " D"]] = field(default_factory=dict)


def score_avatar(
    files: AvatarFiles,
    captions: Mapping[str, CaptionEmbeddings],
    pools: Mapping[str, Pool],
    views: dict[str, Any],
) -> AvatarScores:
    """Score one avatar under the judges whose embeddings of it were read.

    Args:
        files: of the avatar.
        captions: of the experiment, by judge.
        pools: of both tracks.
        views: the view protocol that failed avatars count under; the others bring the one they were rendered with.
    """
    scores = [
        _score(files.row, track, name, embeddings, captions[name], pools[track], views)
        for name, embeddings in files.embeddings.items()
        for track in TRACKS
    ]
    curve = curve_points(files, captions)
    means = _means(files) if split_name(files.row.method)[1] else {}
    return AvatarScores(files.row, files.folder, scores, curve, files.diagnosis, files.truth, means)


def _score(
    row: Row,
    track: str,
    judge: str,
    embeddings: Embeddings | None,
    captions: CaptionEmbeddings,
    pool: Pool,
    views: dict[str, Any],
) -> Score:
    shown, own = embeddings.protocol if embeddings else views, pool.own[row.unit]
    protocol = Protocol(captions.judge, track, pool.name, pool.captions, of_track(shown, track))
    found = {
        kind: _retrieve(embeddings.kinds[kind], captions.pools[track], own)
        for kind in KINDS_OF_TRACK[track]
        if embeddings
    }
    if embeddings and not found[track]:
        row = row.model_copy(update={"status": "not_finite"})
    return Score(protocol, make_record(row, protocol, judge, own, found.get(track), found.get("baked")))


def _means(files: AvatarFiles) -> dict[tuple[str, str], Float[np.ndarray, " D"]]:
    """Return the mean embedding of an avatar's views, by judge and track; without broken renders."""
    found = {
        (judge, track): embeddings.kinds[KINDS_OF_TRACK[track][0]].mean(axis=0)
        for judge, embeddings in files.embeddings.items()
        if embeddings
        for track in TRACKS
    }
    return {key: mean for key, mean in found.items() if np.isfinite(mean).all()}


def _retrieve(images: Float[np.ndarray, "V D"], captions: Float[np.ndarray, "N D"], own: int) -> Retrieval | None:
    """Return the retrieval of an avatar; None where its embeddings are not finite: a broken render is a failure."""
    return retrieve(images, captions, own) if np.isfinite(images).all() else None
