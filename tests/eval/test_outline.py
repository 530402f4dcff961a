"""Overlap and distance of outlines whose values are known in closed form."""

import math

import pytest
import torch

from eval.outline import border_distance, border_length, overlap


def disc(radius: float, size: int = 96, right: float = 0.0) -> torch.Tensor:
    """An antialiased disc around the middle of an image: 8 x 8 samples a pixel."""
    at = (torch.arange(8 * size) + 0.5) / 8 - size / 2
    inside = (at[:, None] ** 2 + (at[None] - right) ** 2 < radius**2).float()
    return torch.nn.functional.avg_pool2d(inside[None], 8)


def test_concentric_discs_are_as_far_apart_as_their_radii():
    """The ring's area over the mean circumference is the difference of the radii; overlap is the ratio of areas."""
    small, large = disc(30), disc(33)
    assert border_distance(small, large).item() == pytest.approx(3, rel=0.02)
    assert overlap(small, large).item() == pytest.approx(30**2 / 33**2, rel=0.005)


def test_shifted_disc_has_the_mean_distance_of_a_shift():
    """Borders of a disc moved by d are |d cos a| apart at the angle a: 2 d / pi on average."""
    assert border_distance(disc(30), disc(30, right=3)).item() == pytest.approx(6 / math.pi, rel=0.03)


def test_length_of_a_circle():
    assert border_length(disc(30)).item() == pytest.approx(2 * math.pi * 30, rel=0.02)


def test_border_of_the_image_does_not_count():
    whole, half = torch.ones(1, 16, 16), torch.ones(1, 16, 16)
    half[:, 8:] = 0
    assert border_length(whole).item() == 0
    assert border_length(half).item() == pytest.approx(16)


def test_equal_masks_and_empty_masks():
    masks = torch.cat([disc(20), torch.zeros(1, 96, 96)])
    assert overlap(masks, masks).tolist() == [1, 1]
    assert border_distance(masks, masks).tolist() == [0, 0]


def test_views_are_independent():
    first, second = torch.cat([disc(20), disc(30)]), torch.cat([disc(22), disc(30)])
    assert border_distance(first, second).tolist() == pytest.approx([2, 0], rel=0.03)
