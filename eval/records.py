"""One score record for each avatar, judge and track, with the protocol it was made under.

A number means nothing without its protocol: every record carries a hash of what was shown (views, elevation,
background, shading), to whom (judge) and among what (pool). Tables refuse to mix hashes.

Failures count: an avatar that was asked for and not made keeps its record, with the last rank of the pool, no
hit and a CLIP score of 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from avatargen.io.manifest import Row
from eval.retrieval import Retrieval

TRACKS = ("texture", "geometry")


class ProtocolError(ValueError):
    """Scores that were made under different protocols met in one table."""


@dataclass(frozen=True)
class Protocol:
    """What decides what a score means.

    Attributes:
        judge: name and weights of the model that compares images with captions.
        track: ``texture`` (colour renders) or ``geometry`` (textureless renders).
        pool: name of the pool; captions: its captions.
        views: JSON-ready description of the images, see :func:`eval.views.view_protocol`.
    """

    judge: str
    track: str
    pool: str
    captions: tuple[str, ...]
    views: dict[str, Any]

    @property
    def hash(self) -> str:
        """12 hexadecimal digits of the SHA-256 of all of it."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Record:
    """One avatar, judge and track; `_baked` repeats a score on the exported texture (NaN: there is none).

    Attributes:
        caption: its own in the track's pool, which of clay is not the prompt.
        taken_for: the caption that came first instead; empty for a hit, and for an avatar that failed.
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
    """The record of an avatar.

    Args:
        own: index of its caption in the protocol's pool.
        neural: None where it failed.
    """
    size = len(protocol.captions)
    score = neural or Retrieval(rank=size, view_hits=0.0, clip_score=0.0)
    exported = baked or (score if neural is None and protocol.track == "texture" else None)
    extra = {f"{name}_baked": float(value) for name, value in _scores(exported).items()} if exported else {}
    asked = {name: getattr(row, name) for name in ("method", "list", "item", "seed", "prompt", "status")}
    pool = {"track": protocol.track, "pool": protocol.pool, "pool_size": size, "protocol": protocol.hash}
    captions = {"caption": protocol.captions[own], "taken_for": _caption(protocol, score.taken_for)}
    return Record(**asked, judge=judge, **pool, **_scores(score), **extra, **captions)


def _scores(retrieval: Retrieval) -> dict[str, int | float]:
    return {name: getattr(retrieval, name) for name in ("rank", "view_hits", "clip_score")}


def _caption(protocol: Protocol, index: int | None) -> str:
    return "" if index is None else protocol.captions[index]


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Records as a table, with the columns of :class:`Record` even where there are none."""
    return pd.DataFrame([asdict(record) for record in records], columns=list(Record.__dataclass_fields__))


def check_protocols(records: pd.DataFrame) -> None:
    """Refuse a table of records in which a judge and track appear under more than one protocol.

    Raises:
        ProtocolError: says which, and what methods stand on each side.
    """
    for (judge, track), group in records.groupby(["judge", "track"]):
        if group["protocol"].nunique() > 1:
            sides = group.groupby("protocol")["method"].unique()
            listing = "; ".join(f"{name}: {', '.join(sorted(methods))}" for name, methods in sides.items())
            raise ProtocolError(
                f"judge '{judge}', track '{track}': scores of {len(sides)} protocols cannot share a table "
                f"({listing}); expected one. Render and embed the older ones again."
            )
