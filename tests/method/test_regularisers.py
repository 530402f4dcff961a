"""Regularisers against naive loops."""

import pytest
import torch

from avatargen.method.regularisers import edges_of, laplacian_matrix, magnitude, roughness

FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_each_edge_is_listed_once():
    assert edges_of(FACES).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]


def test_roughness_against_a_naive_loop():
    """It is the mean squared distance to the mean of the neighbours."""
    offsets = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)) * 1e-3
    neighbours = {0: [1, 2, 3], 1: [0, 2], 2: [0, 1, 3], 3: [0, 2]}
    expected = [
        sum(float(((row[k] - row[n].mean(0)) * 1e3).square().sum()) for k, n in neighbours.items()) / 4
        for row in offsets
    ]
    assert roughness(offsets, laplacian_matrix(FACES, 4)).tolist() == pytest.approx(expected, rel=1e-4)


def test_translation_is_smooth_but_not_small():
    moved = torch.full((1, 4, 3), 0.01)
    assert roughness(moved, laplacian_matrix(FACES, 4)).item() == pytest.approx(0, abs=1e-6)
    assert magnitude(moved).item() == pytest.approx(3.0)
