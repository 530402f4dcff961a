"""The shading cue: Lambert by hand, greys through a known response, and a schedule that reaches zero."""

import pytest
import torch

from avatargen.shading_cue import AMBIENT, alpha, grey_to_latents, shading


def test_shading_is_ambient_away_from_the_light_and_full_towards_it():
    normals = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.6, 0.0, 0.8]]).T.view(1, 1, 3, 1, 3)
    level = shading(normals, torch.tensor([[[0.0, 0.0, 1.0]]])).flatten()
    assert level.tolist() == pytest.approx([1.0, AMBIENT, AMBIENT + 0.9 * 0.8])


def test_greys_interpolate_between_measured_levels():
    response = torch.tensor([[0.0, 10.0], [1.0, 20.0], [4.0, 40.0]])
    level = torch.tensor([0.0, 0.25, 0.75, 1.0]).view(1, 1, 1, 2, 2)
    latents = grey_to_latents(level, response)
    assert latents.shape == (1, 1, 2, 2, 2)
    assert latents[0, 0, 0].flatten().tolist() == [0.0, 0.5, 2.5, 4.0]
    assert latents[0, 0, 1].flatten().tolist() == [10.0, 15.0, 30.0, 40.0]


def test_alpha_falls_to_zero_before_phase_one_ends_and_stays_there():
    values = [alpha(step, 100, 0.5, 0.6) for step in range(120)]
    assert values[0] == 0.5
    assert values[30] == pytest.approx(0.25)
    assert all(value == 0 for value in values[60:])
    assert alpha(0, 0, 0.5, 0.6) == 0
