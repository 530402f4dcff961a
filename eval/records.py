"""One score record for each avatar, judge and track, with the protocol it was made under.

A number means nothing without its protocol. Every record carries a hash of the views (number, elevation, background,
shading), the judge and the pool; tables refuse to mix hashes.

Failures count: the record of an avatar that could not be made has the last rank of the pool, no hit and a CLIP score
of 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, cast

import pandas as pd

from avatargen.config.crossing import split_name
from avatargen.io.manifest import Row
from eval.columns import column
from eval.retrieval import Retrieval


class ProtocolError(ValueError):
    """A table would mix scores of different protocols."""


@dataclass(frozen=True)
class Protocol:
    """Everything that decides what a score means.

    Attributes:
        judge: id of the model that compares images with captions, see :class:`eval.embed.Judge`.
        track: ``texture`` (colour renders) or ``geometry`` (textureless renders).
        pool: name of the pool.
        captions: of the pool.
        views: JSON-ready description of the images, see :func:`eval.images.view_protocol`.
    """

    judge: str
    track: str
    pool: str
    captions: tuple[str, ...]
    views: dict[str, Any]

    @cached_property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of all attributes."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Record:
    """The scores of one avatar under one judge in one track; a line of ``records.csv``.

    Attributes:
        rank, view_hits, clip_score: see :class:`eval.retrieval.Retrieval`.
        rank_baked, view_hits_baked, clip_score_baked: the same for the exported texture; NaN in the geometry track.
        caption: the avatar's own in the track's pool, which in the geometry track need not be the prompt.
        taken_for: the caption that ranks first instead; empty for a hit, and for an avatar that failed.
    """

    method: str
    list: str
    item: str
    seed: int
    prompt: str
    status: str
    judge: str
    track: str
    pool: str
    pool_size: int
    protocol: str
    rank: int
    view_hits: float
    clip_score: float
    rank_baked: float = float("nan")
    view_hits_baked: float = float("nan")
    clip_score_baked: float = float("nan")
    caption: str = ""
    taken_for: str = ""


def make_record(
    row: Row, protocol: Protocol, judge: str, own: int, neural: Retrieval | None, baked: Retrieval | None
) -> Record:
    """Return the record of an avatar.

    Args:
        row: of the manifest.
        protocol: the scores were made under.
        judge: its name.
        own: index of the avatar's caption in the protocol's pool.
        neural: scores of the track's images; None for an avatar that failed.
        baked: scores of the exported texture, if the track has one.
    """
    size = len(protocol.captions)
    score = neural or Retrieval(rank=size, view_hits=0.0, clip_score=0.0)
    exported = baked or (score if neural is None and protocol.track == "texture" else None)
    rest: dict[str, Any] = {name: getattr(row, name) for name in ("method", "list", "item", "seed", "prompt", "status")}
    if exported:
        rest |= {f"{name}_baked": float(getattr(exported, name)) for name in ("rank", "view_hits", "clip_score")}
    return Record(
        judge=judge,
        track=protocol.track,
        pool=protocol.pool,
        pool_size=size,
        protocol=protocol.hash,
        rank=score.rank,
        view_hits=score.view_hits,
        clip_score=score.clip_score,
        caption=protocol.captions[own],
        taken_for=_caption(protocol, score.taken_for),
        **rest,
    )


def _caption(protocol: Protocol, index: int | None) -> str:
    return "" if index is None else protocol.captions[index]


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return records as a table, with the columns of :class:`Record` even where there are none."""
    return pd.DataFrame([asdict(record) for record in records], columns=list(Record.__dataclass_fields__))


def check_protocols(records: pd.DataFrame) -> None:
    """Check that a table of records has one protocol for each judge and track.

    Where methods are crossed with priors, the texture track has one for each prior, which decodes its own latents.

    Raises:
        ProtocolError: it has more; the message lists the methods of each.
    """
    decoder = column(records, "method").map(lambda name: split_name(name)[1]).where(records["track"] == "texture", "")
    for key, group in records.groupby(["judge", "track", decoder.rename("decoder")]):
        if column(group, "protocol").nunique() > 1:
            judge, track, _ = cast(tuple[str, str, str], key)
            sides = group.groupby("protocol")["method"].unique()
            listing = "; ".join(f"{name}: {', '.join(sorted(methods))}" for name, methods in sides.items())
            raise ProtocolError(
                f"judge '{judge}', track '{track}': got scores of {len(sides)} protocols ({listing}); expected one. "
                "Render and embed the older avatars again."
            )
