"""Gradient histograms against naive loops, and what they do not see."""

import math

import numpy as np
import pytest
import torch

from avatargen.priors.gradient_histograms import BINS, CELL, DARK, LARGEST, gradient_histograms


def naive(image: np.ndarray) -> np.ndarray:
    """The same, pixel by pixel, of one image (3, H, W)."""
    _, height, width = image.shape
    votes = np.zeros((BINS, height // CELL, width // CELL))
    for y in range(height):
        for x in range(width):
            options = []
            for channel in image:
                across = channel[y, min(x + 1, width - 1)] - channel[y, max(x - 1, 0)]
                down = channel[min(y + 1, height - 1), x] - channel[max(y - 1, 0), x]
                options.append((across**2 + down**2, across, down))
            _, across, down = max(options)
            place = (math.atan2(down, across) % math.pi) / math.pi * BINS
            low, share = int(place) % BINS, place % 1
            length = math.hypot(across, down) / CELL**2
            votes[low, y // CELL, x // CELL] += length * (1 - share)
            votes[(low + 1) % BINS, y // CELL, x // CELL] += length * share
    squared = (votes**2).sum(0)
    made = np.zeros_like(votes)
    for row in range(votes.shape[1]):
        for column in range(votes.shape[2]):
            around = squared[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].mean()
            made[:, row, column] = votes[:, row, column] / math.sqrt(around + DARK)
    return made.clip(max=LARGEST)


def test_histograms_match_a_naive_reference():
    image = torch.rand(2, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    found = gradient_histograms(image)
    for row in range(2):
        assert found[row].numpy() == pytest.approx(naive(image[row].double().numpy()), abs=1e-4)


def test_flat_images_have_empty_histograms():
    assert not gradient_histograms(torch.full((1, 3, 16, 16), 0.3)).any()


def test_an_image_and_its_negative_have_the_same_histograms():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(gradient_histograms(image), gradient_histograms(1 - image), atol=1e-4)
