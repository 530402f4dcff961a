"""Offset MLPs: zero at the start, bounded, independent between avatars."""

import torch

from avatargen.method.offset_mlp import encode_positions, initial_layers, offsets

POSITIONS = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 0.1


def test_offsets_start_at_zero():
    features = encode_positions(POSITIONS)
    assert offsets(initial_layers(features.shape[1], [3, 4]), features, 0.03).abs().max() == 0


def test_offsets_are_bounded_and_independent():
    features = encode_positions(POSITIONS)
    layers = initial_layers(features.shape[1], [3, 4])
    layers["mlp_w3"][1] = 100.0
    moved = offsets(layers, features, 0.03)
    assert moved[0].abs().max() == 0
    assert 0 < moved[1].abs().max() <= 0.03


def test_weights_depend_on_the_seed_alone():
    alone, together = initial_layers(21, [7]), initial_layers(21, [1, 7, 2])
    assert all(torch.equal(alone[name][0], together[name][1]) for name in alone)
    assert not torch.equal(together["mlp_w1"][0], together["mlp_w1"][1])
