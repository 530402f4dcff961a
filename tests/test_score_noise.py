"""How far noise moves scores, computed by hand."""

import importlib.util

import numpy as np
import pytest

from avatargen.config.places import ROOT
from eval.embeddings import Embeddings


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("score_noise", ROOT / "benchmarks/score_noise.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_scores_are_those_without_noise_and_of_each_draw(benchmark):
    """The own caption is 1; caption 3 is no rival."""
    kinds, noisy = {"texture": np.array([[0.2, 0.6, 0.1, 0.9]])}, {"texture": np.array([[0.7, 0.6, 0.65, 0.9]])}
    embeddings = Embeddings(kinds, np.zeros((0, 4)), {}, "", noisy)
    found = benchmark.scores_of(embeddings, "texture", np.eye(4), 1, (0, 2))
    assert found == pytest.approx(np.array([[1, 1, 1, 1, 0.4, 0.6], [0, 1, 1 / 3, 3, -0.1, 0.6]]))


def test_movement_by_hand(benchmark):
    """Two methods, two prompts; draws move the first method's mean to 1 and 3, from 0, and leave the other at 4."""
    scores = np.zeros((2, 2, 3, 1))
    scores[0, :, 0, 0], scores[0, :, 1, 0], scores[0, :, 2, 0] = (-1, 1), (0, 2), (2, 4)
    scores[1, :, :, 0] = [[3], [5]]
    scatter, shift, width = benchmark.movement(scores)[:, 0]
    spread = np.sqrt(8)  # of 0 and 4
    assert (scatter, shift) == pytest.approx((1 / spread, 1 / spread))  # variances 2 and 0; shifts 2 and 0
    assert width == pytest.approx(1 / 1.96)  # half widths of 1.96 * sqrt(2) / sqrt(2)
