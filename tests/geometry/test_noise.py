"""Random numbers in tensor arithmetic: the reference generator's bits, normal numbers, no dependence on mates."""

import numpy as np
import torch
from scipy.stats import kstest

from avatargen.geometry.cameras import keyed_noise
from avatargen.geometry.noise import normal, splitmix64

KEYS = torch.tensor([[5, -3], [2**62, 0]])


def reference(seed: int, count: int) -> list[int]:
    """SplitMix64 as published, in Python's integers."""
    made, state, mask = [], seed % 2**64, 2**64 - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        made.append(z ^ (z >> 31))
    return made


def test_bits_are_those_of_splitmix64():
    made = splitmix64(KEYS, 5)
    for row in range(2):
        for view in range(2):
            assert [int(bits) % 2**64 for bits in made[row, view]] == reference(int(KEYS[row, view]), 5)


def test_numbers_are_standard_normal_and_independent():
    keys = torch.from_numpy(np.random.default_rng(0).integers(-(2**63), 2**63, (1, 60)))
    numbers = normal(keys, (4, 32, 32))[0].flatten(1)
    assert kstest(numbers.flatten().numpy(), "norm").pvalue > 0.01
    assert numbers.isfinite().all() and 4.2 < numbers.abs().max() < 7
    correlated = torch.corrcoef(numbers) - torch.eye(60)
    assert correlated.abs().max() < 5 / 64  # five standard deviations
    half = numbers.shape[1] // 2  # the two numbers of a pair
    assert torch.corrcoef(torch.stack([numbers[:, :half].flatten(), numbers[:, half:].flatten()]))[0, 1].abs() < 0.01


def test_numbers_depend_on_their_key_alone():
    whole = normal(KEYS, (3, 5, 7))  # an odd number of them
    assert whole.shape == (2, 2, 3, 5, 7)
    assert torch.equal(whole[1:, :1], normal(KEYS[1:, :1], (3, 5, 7)))
    assert len(whole.unique()) > 0.99 * whole.numel()


def test_noise_for_the_cpu_is_drawn_by_torch():
    seeds = torch.tensor([7, 8])
    noise = keyed_noise(seeds, 3, 2, (4, 8, 8), "cpu")
    assert torch.equal(noise, keyed_noise(seeds, 3, 2, (4, 8, 8)))
