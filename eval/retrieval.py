"""CLIP R-Precision as pure functions of similarities (Park et al. 2021; Dream Fields; DreamFusion sec. 4).

Conventions: similarities are cosines, one row a query (an avatar, or one view of it), one column a caption of
the pool. Rank 1 is the best match. Ties count against: a scorer that likes all captions equally ranks last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Retrieval:
    """How well one avatar's images find its own caption in a pool.

    Attributes:
        rank: of the own caption when similarities are averaged over the views; 1 is the best.
        view_hits: fraction of the views that, alone, rank their own caption first.
        clip_score: mean cosine of the views with the own caption.
        taken_for: index of the other caption that comes first; None where the own one does.
    """

    rank: int
    view_hits: float
    clip_score: float
    taken_for: int | None = None


def ranks(similarities: Float[np.ndarray, "Q N"], own: Int[np.ndarray, " Q"]) -> Int[np.ndarray, " Q"]:
    """Pessimistic rank of each query's own caption: 1 + how many others score as high or higher.

    Raises:
        ValueError: a similarity is not finite, or an index lies outside the pool.
    """
    if not np.isfinite(similarities).all():
        raise ValueError("similarities hold values that are not finite")
    if own.size and (own.min() < 0 or own.max() >= similarities.shape[1]):
        raise ValueError(f"own captions span {own.min()}..{own.max()}; expected 0..{similarities.shape[1] - 1}")
    score = np.take_along_axis(similarities, own[:, None], axis=1)
    return (similarities >= score).sum(axis=1)  # the own caption counts itself, which is the 1


def hits_at(ranks_: Int[np.ndarray, " Q"], k: int) -> Bool[np.ndarray, " Q"]:
    """Whether each query's own caption is among the first k."""
    return ranks_ <= k


def retrieve(images: Float[np.ndarray, "V D"], captions: Float[np.ndarray, "N D"], own: int) -> Retrieval:
    """Rank an avatar's caption against a pool, from unit-norm embeddings of its views and of the captions."""
    similarities = (images @ captions.T).astype(np.float64)
    averaged = similarities.mean(axis=0, keepdims=True)
    each_view = ranks(similarities, np.full(len(images), own))
    rank = int(ranks(averaged, np.array([own]))[0])
    others = np.where(np.arange(len(captions)) == own, -np.inf, averaged[0])
    return Retrieval(
        rank=rank,
        view_hits=float(hits_at(each_view, 1).mean()),
        clip_score=float(averaged[0, own]),
        taken_for=int(others.argmax()) if rank > 1 else None,
    )
