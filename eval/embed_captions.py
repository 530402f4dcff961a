"""Embed an experiment's captions with one judge: the pools of both tracks, and the prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.captions import CaptionEmbeddings
from eval.embed import Judge
from eval.images import TRACKS
from eval.pools import Pool


def embed_captions(judge: Judge, pools: Mapping[str, Pool], prompts: Sequence[str]) -> CaptionEmbeddings:
    """Return the embeddings of the captions of each track's pool and of the unique prompts.

    Each pool and the prompts are embedded in batches of their own: a caption's embedding depends on its batch in the
    last bits.
    """
    unique = list(dict.fromkeys(prompts))
    return CaptionEmbeddings(
        judge=judge.id,
        captions={track: pools[track].captions for track in TRACKS},
        pools={track: judge.embed_texts(pools[track].captions) for track in TRACKS},
        truncated={track: judge.truncated(pools[track].captions) for track in TRACKS},
        prompts=dict(zip(unique, judge.embed_texts(unique), strict=True)),
    )
