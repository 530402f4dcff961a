"""CLIP R-Precision as pure functions of similarities (Park et al. 2021; Dream Fields; DreamFusion sec. 4).

Similarities are cosines: one row for each query (an avatar, or one of its views), one column for each caption of the
pool. Rank 1 is the best match. Ties count against the own caption: if all similarities are equal, it ranks last.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        margin: that cosine less the best rival's: negative for a miss, NaN without rivals.
        taken_for: index of the best rival; None for a hit.
        ranks_noisy: ranks under each draw of noise.
    """

    rank: int
    view_hits: float
    clip_score: float
    margin: float = float("nan")
    taken_for: int | None = None
    ranks_noisy: tuple[int, ...] = ()


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


def retrieve(
    images: Float[np.ndarray, "V D"],
    captions: Float[np.ndarray, "N D"],
    own: int,
    rivals: Sequence[int],
    noisy: Float[np.ndarray, "K D"] | None = None,
) -> Retrieval:
    """Retrieve an avatar's caption from its pool.

    Args:
        images: unit-norm embeddings of the avatar's views.
        captions: unit-norm embeddings of all captions.
        own: index of the avatar's own caption.
        rivals: indices of the captions that compete with it.
        noisy: mean embeddings of the views under each draw of noise.

    Raises:
        ValueError: an embedding is not finite, or an index lies outside the captions.

    Example:
        >>> found = retrieve(np.array([[0.8, 0.6], [0.0, 1.0]]), np.eye(2), own=1, rivals=[0])
        >>> found.rank, found.view_hits, found.clip_score, round(found.margin, 3)
        (1, 0.5, 0.8, 0.4)
    """
    pool = np.array([own, *rivals])
    if pool.min() < 0 or pool.max() >= len(captions):
        raise ValueError(f"pool: got {pool.min()}..{pool.max()}; expected indices in 0..{len(captions) - 1}")
    similarities = (images @ captions.T).astype(np.float64)[:, pool]
    averaged = similarities.mean(axis=0, keepdims=True)
    rank, others = int(_first_ranks(averaged)[0]), averaged[0, 1:]
    drawn = () if noisy is None else _first_ranks((noisy @ captions.T).astype(np.float64)[:, pool])
    return Retrieval(
        rank=rank,
        view_hits=float(hits_at(_first_ranks(similarities), 1).mean()),
        clip_score=float(averaged[0, 0]),
        margin=float(averaged[0, 0] - others.max()) if len(others) else float("nan"),
        taken_for=int(pool[1 + others.argmax()]) if rank > 1 else None,
        ranks_noisy=tuple(int(value) for value in drawn),
    )


def _first_ranks(similarities: Float[np.ndarray, "Q N"]) -> Int[np.ndarray, " Q"]:
    """Return the rank of the first caption for each query."""
    return ranks(similarities, np.zeros(len(similarities), dtype=int))
