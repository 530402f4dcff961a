"""Normalised cross-correlation against a naive loop, and shifts of known size."""

import math

import numpy as np
import pytest
import torch

from eval.registration import correlation, peak


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_correlation_equals_that_of_a_naive_loop():
    """All patches, flattened and centred channel by channel, against numpy's cosine."""
    template, window = random(0, 3, 4, 5), random(1, 3, 9, 7)
    found = correlation(template, window)
    for row in range(6):
        for column in range(3):
            patch = window[:, row : row + 4, column : column + 5].double().numpy()
            first, second = (part - part.mean((1, 2), keepdims=True) for part in (template.double().numpy(), patch))
            cosine = (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum())
            assert found[row, column].item() == pytest.approx(cosine, abs=1e-5)


def test_gain_and_tint_do_not_change_it():
    """A template that is half as bright, and tinted, correlates as well."""
    window = random(2, 3, 12, 12)
    template = 0.5 * window[:, 4:8, 5:10] + torch.tensor([0.1, 0.3, 0.0]).view(3, 1, 1)
    assert correlation(template, window)[4, 5].item() == pytest.approx(1, abs=1e-5)


def test_inverted_contrast_correlates_negatively():
    window = random(3, 1, 8, 8)
    assert correlation(1 - window[:, 2:6, 2:6], window)[2, 2].item() == pytest.approx(-1, abs=1e-5)


def test_flat_patches_correlate_with_nothing():
    assert correlation(torch.full((3, 4, 4), 0.6), random(4, 3, 9, 9)).abs().max() == 0
    assert correlation(random(5, 3, 4, 4), torch.full((3, 9, 9), 0.6)).abs().max() == 0


@pytest.mark.parametrize("shift", [0.0, 0.3, -1.7])
def test_a_blurred_spot_is_found_to_a_tenth_of_a_pixel(shift):
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")

    def spot(down: float, right: float) -> torch.Tensor:
        return torch.exp(-((y - 20 - down) ** 2 + (x - 20 - right) ** 2) / (2 * 2.5**2))[None]

    found = peak(correlation(spot(0, 0)[:, 10:31, 10:31], spot(shift, -shift)[:, 5:36, 5:36]))
    assert found.down == pytest.approx(shift, abs=0.1)
    assert found.right == pytest.approx(-shift, abs=0.1)


def test_a_peak_on_the_border_has_no_place():
    surface = torch.zeros(5, 5)
    surface[0, 2] = 0.9
    found = peak(surface)
    assert math.isnan(found.down) and found.height == pytest.approx(0.9)
