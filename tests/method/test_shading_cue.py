"""The shading cue: shading by hand, greys in a known response, blending and adding, the schedule."""

import pytest
import torch

from avatargen.method.shading_cue import AMBIENT, add_contrast, alpha, blend, grey_to_latents, shading


def test_shading_by_hand():
    normals = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.6, 0.0, 0.8]]).T.view(1, 1, 3, 1, 3)
    level = shading(normals, torch.tensor([[[0.0, 0.0, 1.0]]])).flatten()
    assert level.tolist() == pytest.approx([1.0, AMBIENT, AMBIENT + 0.9 * 0.8])


def test_greys_are_interpolated_in_the_response():
    response = torch.tensor([[0.0, 10.0], [1.0, 20.0], [4.0, 40.0]])
    level = torch.tensor([0.0, 0.25, 0.75, 1.0]).view(1, 1, 1, 2, 2)
    latents = grey_to_latents(level, response)
    assert latents.shape == (1, 1, 2, 2, 2)
    assert latents[0, 0, 0].flatten().tolist() == [0.0, 0.5, 2.5, 4.0]
    assert latents[0, 0, 1].flatten().tolist() == [10.0, 15.0, 30.0, 40.0]


RESPONSE = torch.tensor([[0.0, 0.0], [1.0, -2.0]])  # two channels' response to black and white


def test_added_contrast_keeps_the_mean():
    features = torch.randn(2, 1, 2, 4, 4)
    level, coverage = torch.rand(2, 1, 1, 4, 4), (torch.rand(2, 1, 1, 4, 4) > 0.4).float()
    added = add_contrast(features, level, coverage, RESPONSE, 0.5) - features
    assert (added * coverage).sum((-2, -1)).abs().max() < 1e-5
    assert torch.allclose(added[:, :, 1], -2 * added[:, :, 0], atol=1e-6)
    flat = add_contrast(features, torch.full_like(level, 0.3), coverage, RESPONSE, 0.5)
    assert torch.allclose(flat, features, atol=1e-6)


def test_blending_replaces_the_texture():
    features, level = torch.randn(1, 1, 2, 4, 4), torch.rand(1, 1, 1, 4, 4)
    assert torch.allclose(blend(features, level, RESPONSE, 1.0), grey_to_latents(level, RESPONSE))
    assert torch.allclose(blend(features, level, RESPONSE, 0.0), features)


def test_alpha_falls_to_its_last_value_and_stays():
    values = [alpha(step, 100, 0.5, 0.6, 0.2) for step in range(120)]
    assert values[0] == 0.5
    assert values[30] == pytest.approx(0.35)
    assert values[60:] == pytest.approx([0.2] * 60)
    assert alpha(60, 100, 0.5, 0.6) == 0  # the paper's: gone before phase 1 ends
    assert alpha(0, 0, 0.5, 0.6, 0.2) == 0.2  # no phase 1
    assert alpha(70, 100, 0.0, 0.6, 0.2) == 0  # no cue
