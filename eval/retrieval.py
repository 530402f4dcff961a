"""CLIP R-Precision as pure functions of similarities (Park et al. 2021; Dream Fields; DreamFusion sec. 4).

Similarities are cosines: one row for each query (an avatar, or one of its views), one column for each caption of the
pool. Rank 1 is the best match. Ties count against the own caption: if all similarities are equal, it ranks last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Retrieval:
    """How well one avatar's images retrieve its own caption from a pool.

    Attributes:
        rank: of the own caption, with similarities averaged over the views; 1 is the best.
        view_hits: fraction of the views that, taken alone, rank the own caption first.
        clip_score: mean cosine of the views with the own caption.
        taken_for: index of the other caption that ranks first; None for a hit.
    """

    rank: int
    view_hits: float
    clip_score: float
    taken_for: int | None = None


def ranks(similarities: Float[np.ndarray, "Q N"], own: Int[np.ndarray, " Q"]) -> Int[np.ndarray, " Q"]:
    """Return the rank of each query's own caption: 1 + the number of others that score as high or higher.

    Args:
        similarities: of each query with each caption.
        own: index of each query's own caption.

    Raises:
        ValueError: a similarity is not finite, or an index lies outside the pool.

    Example:
        >>> ranks(np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.6], [0.3, 0.3, 0.3]]), np.array([0, 1, 2])).tolist()
        [1, 3, 3]
    """
    if not np.isfinite(similarities).all():
        raise ValueError(
            f"similarities: got {(~np.isfinite(similarities)).sum()} NaN or infinite values; expected none"
        )
    if own.size and (own.min() < 0 or own.max() >= similarities.shape[1]):
        raise ValueError(f"own: got {own.min()}..{own.max()}; expected indices in 0..{similarities.shape[1] - 1}")
    score = np.take_along_axis(similarities, own[:, None], axis=1)
    return (similarities >= score).sum(axis=1)  # the own caption counts itself, which is the 1


def hits_at(ranks_: Int[np.ndarray, " Q"], k: int) -> Bool[np.ndarray, " Q"]:
    """Return whether each query's own caption is among the first k (R@k is the mean).

    Example:
        >>> hits_at(np.array([1, 3, 7]), k=5).tolist()
        [True, True, False]
    """
    return ranks_ <= k


def retrieve(images: Float[np.ndarray, "V D"], captions: Float[np.ndarray, "N D"], own: int) -> Retrieval:
    """Retrieve an avatar's caption from a pool.

    Args:
        images: unit-norm embeddings of the avatar's views.
        captions: unit-norm embeddings of the pool.
        own: index of the avatar's own caption.

    Raises:
        ValueError: an embedding is not finite, or `own` lies outside the pool.

    Example:
        >>> retrieve(np.array([[0.8, 0.6], [0.0, 1.0]]), np.eye(2), own=1)
        Retrieval(rank=1, view_hits=0.5, clip_score=0.8, taken_for=None)
    """
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
