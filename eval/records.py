"""One score record for each avatar, judge and track, with the protocols that it counts under.

Failures count: the record of an avatar that could not be made has the last rank of the pool, no hit and a CLIP score
of 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import pandas as pd

from avatargen.config.crossing import split_name
from avatargen.headworld.vocabulary import unknown_words
from avatargen.io.manifest import Row
from eval.columns import column
from eval.images import KINDS_OF_TRACK
from eval.pools import Pool
from eval.protocol import Protocol
from eval.retrieval import Retrieval


class ProtocolError(ValueError):
    """A table would mix scores of different protocols."""


FAILED_MARGIN = -1.0
"""Margin of an avatar that failed: its own cosine is 0, as its CLIP score, and the best rival's 1."""


@dataclass(frozen=True)
class Record:
    """The scores of one avatar under one judge in one track; a line of ``records.csv``.

    Attributes:
        pool: name of the pool.
        pool_size: number of captions that the avatar's own is ranked among, itself included.
        subset: names of the subsets that it counts in, see :mod:`eval.subsets`; separated by spaces.
        protocol: hash of the protocol in each of these subsets.
        rank, view_hits, clip_score, margin: see :class:`eval.retrieval.Retrieval`; `margin` is FAILED_MARGIN for a
            failure, and NaN where no rival competes.
        reciprocal_rank: 1 / rank.
        ranks_noisy: ranks under each draw of noise, separated by spaces.
        rank_baked, view_hits_baked, clip_score_baked: the same for the exported texture; NaN in the geometry track.
        caption: the avatar's own in the track's pool, which in the geometry track need not be the prompt.
        taken_for: the rival that ranks first instead; empty for a hit, and for an avatar that failed.
        unknown_words: words of the prompt that the shipped models have never read.
    """

    method: str
    list: str
    item: str
    seed: int
    prompt: str
    status: str
    judge: str
    track: str
    subset: str
    pool: str
    pool_size: int
    protocol: str
    rank: int
    reciprocal_rank: float
    view_hits: float
    clip_score: float
    margin: float
    ranks_noisy: str = ""
    rank_baked: float = float("nan")
    view_hits_baked: float = float("nan")
    clip_score_baked: float = float("nan")
    caption: str = ""
    taken_for: str = ""
    unknown_words: str = ""


def make_record(
    row: Row,
    judge: str,
    track: str,
    pool: Pool,
    protocols: Mapping[str, Protocol],
    neural: Retrieval | None,
    baked: Retrieval | None = None,
    draws: int = 0,
) -> Record:
    """Return the record of an avatar.

    Args:
        row: of the manifest.
        judge: its name.
        track: of the scores.
        pool: of the track.
        protocols: that the scores count under, by subset.
        neural: scores of the track's images; None for an avatar that failed.
        baked: scores of the exported texture, if the track has one.
        draws: number of draws of noise, which a failure ranks last under, too.
    """
    size = pool.size(row.unit)
    lost = {"rank": size, "view_hits": 0.0, "clip_score": 0.0, "margin": FAILED_MARGIN}
    score = neural or Retrieval(**lost, ranks_noisy=(size,) * draws)
    exported = baked or (score if neural is None and "baked" in KINDS_OF_TRACK[track] else None)
    rest: dict[str, Any] = {name: getattr(row, name) for name in ("method", "list", "item", "seed", "prompt", "status")}
    if exported:
        rest |= {f"{name}_baked": float(getattr(exported, name)) for name in ("rank", "view_hits", "clip_score")}
    return Record(
        judge=judge,
        track=track,
        subset=" ".join(protocols),
        pool=pool.name,
        pool_size=size,
        protocol=" ".join(protocol.hash for protocol in protocols.values()),
        rank=score.rank,
        reciprocal_rank=1 / score.rank,
        view_hits=score.view_hits,
        clip_score=score.clip_score,
        margin=score.margin,
        ranks_noisy=" ".join(map(str, score.ranks_noisy)),
        caption=pool.captions[pool.own[row.unit]],
        taken_for="" if score.taken_for is None else pool.captions[score.taken_for],
        unknown_words=" ".join(unknown_words(row.prompt)),
        **rest,
    )


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return records as a table, with the columns of :class:`Record` even where there are none."""
    return pd.DataFrame([asdict(record) for record in records], columns=list(Record.__dataclass_fields__))


def check_protocols(records: pd.DataFrame) -> None:
    """Check that a table of records has one protocol for each judge, track and subset.

    Where methods are crossed with priors, the tracks of colour have one for each prior, which decodes its own latents.

    Args:
        records: with one subset a line, see :func:`eval.subsets.each_subset`.

    Raises:
        ProtocolError: it has more; the message lists the methods of each.
    """
    decoder = column(records, "method").map(lambda name: split_name(name)[1]).where(records["track"] != "geometry", "")
    for key, group in records.groupby(["judge", "track", "subset", decoder.rename("decoder")]):
        if column(group, "protocol").nunique() > 1:
            judge, track, subset, _ = cast(tuple[str, str, str, str], key)
            sides = group.groupby("protocol")["method"].unique()
            listing = "; ".join(f"{name}: {', '.join(sorted(methods))}" for name, methods in sides.items())
            raise ProtocolError(
                f"judge '{judge}', track '{track}', subset '{subset}': got scores of {len(sides)} protocols "
                f"({listing}); expected one. Make the older ones again: the same command with --forcerun render."
            )
