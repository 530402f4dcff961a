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
    result = retrieve(images, captions, own=1, rivals=[0])
    assert (result.rank, result.view_hits) == (1, pytest.approx(2 / 3))
    assert result.clip_score == pytest.approx((0.6 + 0.8 + 1.0) / 3)
    assert result.margin == pytest.approx((0.6 + 0.8 + 1.0 - 0.8 - 0.6) / 3)


def test_only_rivals_compete():
    """Captions 0 and 3 score higher than the own one, 2; they count where they are rivals."""
    captions, images = np.eye(4), np.array([[0.7, 0.1, 0.3, 0.5]])
    alone, one, both = (retrieve(images, captions, 2, rivals) for rivals in ([1], [3, 1], [0, 1, 3]))
    assert [found.rank for found in (alone, one, both)] == [1, 2, 3]
    assert [found.view_hits for found in (alone, one, both)] == [1, 0, 0]
    assert [found.taken_for for found in (alone, one, both)] == [None, 3, 0]
    assert [found.margin for found in (alone, one, both)] == pytest.approx([0.2, -0.2, -0.4])


def test_a_miss_is_taken_for_the_best_rival():
    captions, images = np.eye(3), np.array([[0.5, 0.6, 0.1], [0.5, 0.4, 0.8]])  # on average 0.5, 0.5, 0.45
    assert retrieve(images, captions, own=2, rivals=[0, 1]).taken_for == 0
    tie = retrieve(images, captions, own=0, rivals=[1, 2])
    assert (tie.rank, tie.taken_for, tie.margin) == (2, 1, 0)  # a tie counts against the own caption
    assert retrieve(images, captions, own=0, rivals=[2]).taken_for is None


def test_a_caption_without_rivals_has_no_margin():
    found = retrieve(np.array([[0.5, 0.6]]), np.eye(2), own=0, rivals=[])
    assert (found.rank, found.taken_for) == (1, None) and np.isnan(found.margin)


def test_noise_has_ranks_of_its_own():
    """Rank 1 without noise; under the draws, the means of the views rank it second, first and last."""
    noisy = np.array([[0.4, 0.5, 0.3], [0.5, 0.4, 0.3], [0.3, 0.5, 0.3]])
    found = retrieve(np.array([[0.9, 0.1, 0.2]]), np.eye(3), own=0, rivals=[1, 2], noisy=noisy)
    assert (found.rank, found.ranks_noisy) == (1, (2, 1, 3))


def test_bad_similarities_and_indices_are_errors():
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        ranks(np.array([[np.nan, 1.0]]), np.array([0]))
    with pytest.raises(ValueError, match=r"expected indices in 0\.\.1"):
        ranks(np.zeros((1, 2)), np.array([2]))
    for own, rivals in ((2, [0]), (0, [2]), (0, [-1])):
        with pytest.raises(ValueError, match=r"expected indices in 0\.\.1"):
            retrieve(np.ones((1, 2)), np.eye(2), own, rivals)
