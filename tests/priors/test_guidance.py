"""What is done to guided predictions, against diffusers and values worked out by hand."""

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from avatargen.priors.guidance import perpendicular, rescale, threshold


def drawn(seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("strength", [0.0, 0.7, 1.0])
def test_rescaling_is_that_of_diffusers(strength):
    guided, conditional = drawn(0, 5.0), drawn(1)
    expected = rescale_noise_cfg(guided, conditional, strength)
    torch.testing.assert_close(rescale(guided, conditional, strength), expected)


def test_rescaled_latents_have_the_deviation_of_unguided_ones():
    guided, conditional = drawn(0, 5.0), drawn(1)
    found = rescale(guided, conditional, 1.0).std((1, 2, 3))
    torch.testing.assert_close(found, conditional.std((1, 2, 3)))


def test_flat_latents_are_not_rescaled():
    """Their deviation is 0; diffusers would return NaN."""
    flat = torch.full((2, 4, 8, 8), 3.0)
    assert torch.equal(rescale(flat, drawn(1)[:2], 0.7), flat)


@pytest.mark.parametrize("limit", [1.0, 1.6, 100.0])
def test_thresholding_is_that_of_diffusers(limit):
    """Diffusers' limit is 1, so latents are divided by ours before and multiplied after."""
    scheduler = DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=0.995, sample_max_value=1e6)
    latents = drawn(0, 4.0) * torch.tensor([0.01, 1.0, 3.0]).view(3, 1, 1, 1)
    expected = scheduler._threshold_sample(latents / limit) * limit
    torch.testing.assert_close(threshold(latents, limit), expected)


def test_perpendicular_part_is_that_of_the_projection():
    """By Gram and Schmidt, sample by sample."""
    change, direction = drawn(0), drawn(1)
    for found, one, along in zip(perpendicular(change, direction), change, direction, strict=True):
        unit = along / along.norm()
        torch.testing.assert_close(found, one - (one * unit).sum() * unit)
        assert abs(float((found * along).sum())) < 1e-3


def test_a_parallel_change_has_no_perpendicular_part():
    """So a view that lies across from itself, a profile, changes nothing."""
    assert perpendicular(2 * drawn(0), drawn(0)).abs().max() < 1e-5


def test_without_a_direction_the_change_stays_whole():
    assert torch.equal(perpendicular(drawn(0), torch.zeros(3, 4, 8, 8)), drawn(0))
