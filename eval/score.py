"""Score one avatar: a record for each judge and track, and its learning curve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from eval.images import KINDS_OF_TRACK
from eval.load import AvatarFiles
from eval.pools import Pool
from eval.protocol import Protocol, Protocols
from eval.records import Record, make_record
from eval.retrieval import retrieve


class Score(NamedTuple):
    """A record, and the protocol that it counts under in each subset."""

    protocols: Mapping[str, Protocol]
    record: Record


@dataclass(frozen=True)
class AvatarScores:
    """What the tables need to know of one avatar.

    Attributes:
        row: of the manifest; folder: of the avatar.
        scores: one for each judge and track.
        curve: losses and CLIP scores on the way.
        diagnosis, truth: see :class:`eval.load.AvatarFiles`.
        subset: names of the subsets that it counts in, separated by spaces.
        means: mean embedding of its views by judge and track, where its method is crossed with priors.
    """

    row: Row
    folder: Path
    scores: list[Score]
    curve: list[CurvePoint]
    diagnosis: Diagnosis | None
    truth: Mapping[str, Any]
    subset: str
    means: Mapping[tuple[str, str], Float[np.ndarray, " D"]] = field(default_factory=dict)


def score_avatar(
    files: AvatarFiles,
    captions: Mapping[str, CaptionEmbeddings],
    pools: Mapping[str, Pool],
    views: dict[str, Any],
    protocols: Protocols,
    is_flat: bool = False,
) -> AvatarScores:
    """Score one avatar under the judges whose embeddings of it were read.

    Args:
        files: of the avatar.
        captions: of the experiment, by judge.
        pools: of each track.
        views: the view protocol that failed avatars count under; the others bring the one they were rendered with.
        protocols: of the experiment.
        is_flat: it has no surface, so the geometry track does not ask for it.
    """
    scores, pools = [], {track: pool for track, pool in pools.items() if not (is_flat and track == "geometry")}
    for judge, embeddings in files.embeddings.items():
        shown = embeddings.protocol if embeddings else views
        for track, pool in pools.items():
            found = protocols.find(files.row, judge, track, shown)
            draws = views["noise_draws"]
            scores.append(
                Score(found, _record(files.row, judge, track, embeddings, captions[judge], pool, found, draws))
            )
    curve = curve_points(files, captions)
    means = _means(files, pools) if split_name(files.row.method)[1] else {}
    subset = " ".join(protocols.subsets.names(files.row))
    return AvatarScores(files.row, files.folder, scores, curve, files.diagnosis, files.truth, subset, means)


def _record(
    row: Row,
    judge: str,
    track: str,
    embeddings: Embeddings | None,
    captions: CaptionEmbeddings,
    pool: Pool,
    protocols: Mapping[str, Protocol],
    draws: int,
) -> Record:
    own, rivals, texts = pool.own[row.unit], pool.rivals[row.unit], captions.pools[track]
    found = {
        kind: retrieve(embeddings.kinds[kind], texts, own, rivals, embeddings.noisy[kind])
        for kind in KINDS_OF_TRACK[track]
        if embeddings
    }
    neural, *others = (found.get(kind) for kind in KINDS_OF_TRACK[track])
    return make_record(row, judge, track, pool, protocols, neural, *others, draws=draws)


def _means(files: AvatarFiles, tracks: Iterable[str]) -> dict[tuple[str, str], Float[np.ndarray, " D"]]:
    """Return the mean embedding of an avatar's views, by judge and track."""
    return {
        (judge, track): embeddings.kinds[KINDS_OF_TRACK[track][0]].mean(axis=0)
        for judge, embeddings in files.embeddings.items()
        if embeddings
        for track in tracks
    }
