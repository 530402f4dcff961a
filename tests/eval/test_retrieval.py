"""Ranks and scores, against hand-computed cases and a naive loop."""

import numpy as np
import pytest

from eval.retrieval import hits_at, ranks, retrieve


def test_a_constant_scorer_never_hits():
    assert not hits_at(ranks(np.zeros((5, 4)), np.arange(5) % 4), 1).any()


def test_negative_cosines_rank_like_others():
    assert ranks(np.array([[-0.1, -0.2, -0.3]]), np.array([1])).tolist() == [2]


def test_ranks_against_a_naive_loop():
    rng = np.random.default_rng(0)
    similarities = rng.integers(0, 6, size=(50, 9)).astype(float)  # many ties
    own = rng.integers(0, 9, size=50)
    naive = [1 + sum(row[j] >= row[i] for j in range(9) if j != i) for row, i in zip(similarities, own, strict=True)]
    assert ranks(similarities, own).tolist() == naive


def test_ranks_average_views_and_view_hits_do_not():
    captions = np.eye(2)
    images = np.array([[0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    result = retrieve(images, captions, own=1)
    assert (result.rank, result.view_hits) == (1, pytest.approx(2 / 3))
    assert result.clip_score == pytest.approx((0.6 + 0.8 + 1.0) / 3)


def test_a_confusion_is_taken_for_the_best_other_caption():
    captions, images = np.eye(3), np.array([[0.5, 0.6, 0.1], [0.5, 0.4, 0.8]])  # on average 0.5, 0.5, 0.45
    assert retrieve(images, captions, own=2).taken_for == 0
    assert retrieve(images, captions, own=0).taken_for == 1  # a tie counts against the own caption
    assert retrieve(images, np.eye(3)[[0, 2]], own=0).taken_for is None
    assert retrieve(images, captions[:1], own=0).taken_for is None


def test_bad_similarities_and_indices_are_errors():
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        ranks(np.array([[np.nan, 1.0]]), np.array([0]))
    with pytest.raises(ValueError, match=r"expected indices in 0\.\.1"):
        ranks(np.zeros((1, 2)), np.array([2]))
