"""Embed an experiment's captions with one judge: the pools of all tracks, and the prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.captions import CaptionEmbeddings
from eval.embed import Judge
from eval.pools import Pool


def embed_captions(judge: Judge, pools: Mapping[str, Pool], prompts: Sequence[str]) -> CaptionEmbeddings:
    """Return the embeddings of the captions of each track's pool and of the unique prompts.

    Each pool and the prompts are embedded in batches of their own: a caption's embedding depends on its batch in the
    last bits.
    """
    unique = list(dict.fromkeys(prompts))
    return CaptionEmbeddings(
        judge=judge.id,
        content=judge.content(),
        captions={track: pool.captions for track, pool in pools.items()},
        pools={track: judge.embed_texts(pool.captions) for track, pool in pools.items()},
        truncated={track: judge.truncated(pool.captions) for track, pool in pools.items()},
        prompts=dict(zip(unique, judge.embed_texts(unique), strict=True)),
    )
