"""Cameras and noise keyed by (seed, step, view); fixed views."""

import pytest
import torch

from avatargen.config.settings import CameraSettings
from avatargen.geometry.cameras import (
    CENTRE,
    FACE,
    evaluation_cameras,
    keyed_noise,
    keyed_uniform,
    training_cameras,
)

RANGES = CameraSettings()
SEEDS = torch.tensor([7, 11, 13])


def stacked(cameras):
    fields = (cameras.azimuth, cameras.elevation, cameras.distance, cameras.fov)
    return torch.cat((torch.stack(fields, dim=-1), cameras.target), dim=-1)


def test_cameras_do_not_depend_on_the_place_in_the_batch():
    together = stacked(training_cameras(SEEDS, 5, 4, RANGES))
    reordered = stacked(training_cameras(SEEDS.flip(0), 5, 4, RANGES)).flip(0)
    alone = stacked(training_cameras(SEEDS[1:2], 5, 4, RANGES))
    assert torch.equal(together, reordered)
    assert torch.equal(together[1:2], alone)


def test_cameras_differ_between_seeds_steps_and_views():
    first, second = (stacked(training_cameras(SEEDS, step, 4, RANGES)) for step in (5, 6))
    rows = torch.cat((first, second)).flatten(0, 1)
    assert len(rows[:, 1].unique()) == len(rows)


def test_cameras_fill_their_ranges():
    ranges = CameraSettings(
        azimuth=(-90.0, 90.0),
        elevation=(-5.0, 25.0),
        distance=(1.0, 1.5),
        fov=(15.0, 20.0),
        target_jitter=0.02,
        front_bias=0.0,
    )
    cameras = training_cameras(torch.arange(4000), 0, 2, ranges)
    for name in ("azimuth", "elevation", "distance", "fov"):
        low, high = getattr(ranges, name)
        values = (getattr(cameras, name) - low) / (high - low)
        assert 0 <= values.min() < 0.01 and 0.99 < values.max() <= 1
        assert abs(values.mean() - 0.5) < 0.02
    assert 0.019 < (cameras.target - torch.tensor(CENTRE)).abs().max() <= 0.0201


def test_a_share_of_views_are_close_ups():
    whole = training_cameras(torch.arange(2000), 4, 2, CameraSettings(fov=(15.0, 18.0)))
    some = training_cameras(
        torch.arange(2000), 4, 2, CameraSettings(fov=(15.0, 18.0), close=0.3, close_fov=(9.0, 13.0))
    )
    close = some.fov <= 13
    assert close.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(some.fov[~close], whole.fov[~close]) and some.fov[close].min() < 9.1
    moved = (some.target - whole.target)[close]
    assert torch.allclose(moved, (torch.tensor(FACE) - torch.tensor(CENTRE)).expand_as(moved), atol=1e-6)
    assert torch.equal(some.azimuth, whole.azimuth)


def test_azimuths_of_a_step_are_stratified():
    azimuth = training_cameras(torch.arange(500), 3, 4, CameraSettings(front_bias=0.0)).azimuth
    ordered = azimuth.sort(dim=1).values
    gaps = torch.cat((ordered.diff(dim=1), ordered[:, :1] + 360 - ordered[:, -1:]), dim=1)
    assert gaps.max() <= 180.001  # two adjacent shares of 90 degrees
    share = ((azimuth + 180) // 90).long()
    assert (torch.bincount(share.flatten(), minlength=4) / azimuth.numel() - 0.25).abs().max() < 0.03


@pytest.mark.parametrize("bias", [0.0, 0.5, 1.0])
def test_front_bias_gives_the_documented_density(bias):
    azimuth = training_cameras(torch.arange(4000), 1, 2, CameraSettings(front_bias=bias)).azimuth
    front = (azimuth.abs() < 90).float().mean().item()
    assert front == pytest.approx(0.5 + bias / torch.pi, abs=0.015)  # integral of (1 + b cos x) / 2 pi


def splitmix64(state: int) -> int:
    """Return one output of SplitMix64 (Steele, Lea and Flood, 2014, fig. 15), in plain integers."""
    state = (state + 0x9E3779B97F4A7C15) % 2**64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
    return state ^ (state >> 31)


def test_keyed_numbers_against_plain_integers():
    """The first output of SplitMix64 for seed 0 is published."""
    assert splitmix64(0) == 0xE220A8397B1DCDAF
    seeds, step, stream = [1, 2, -3], 5, 7
    for seed, row in zip(seeds, keyed_uniform(torch.tensor(seeds), step, 2, stream).tolist(), strict=True):
        for view, number in enumerate(row):
            key = splitmix64(seed % 2**64)
            for part in (step, view, stream):
                key = splitmix64(key ^ splitmix64(part))
            assert number == (key >> 40) / 2**24


def test_noise_is_standard_normal_and_keyed():
    noise = keyed_noise(SEEDS, 9, 2, (4, 32, 32))
    assert noise.shape == (3, 2, 4, 32, 32)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    assert torch.equal(noise[2:], keyed_noise(SEEDS[2:], 9, 2, (4, 32, 32)))
    assert torch.equal(noise[:, :1], keyed_noise(SEEDS, 9, 1, (4, 32, 32)))
    assert abs(torch.corrcoef(noise.flatten(0, 1).flatten(1)).fill_diagonal_(0)).max() < 0.06
    assert not torch.equal(noise, keyed_noise(SEEDS, 10, 2, (4, 32, 32)))


def test_streams_of_random_numbers_are_independent():
    first, second = (keyed_uniform(torch.arange(2000), 0, 2, stream) for stream in (0, 1))
    assert abs(torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1]) < 0.06
    assert first.min() >= 0 and first.max() < 1 and abs(first.mean() - 0.5) < 0.02
    with pytest.raises(ValueError, match="stream"):
        keyed_uniform(SEEDS, 0, 2, -1)


def test_evaluation_cameras_are_evenly_spaced_from_the_face():
    cameras = evaluation_cameras(2, views=8)
    assert cameras.azimuth[1].tolist() == [0, 45, 90, 135, 180, 225, 270, 315]
    assert cameras.elevation.unique().tolist() == [10]
    assert cameras.target.shape == (2, 8, 3) and torch.equal(cameras.target[1, 7], torch.tensor(CENTRE))
    assert evaluation_cameras(1, target=(0.0, 0.1, 0.2)).target[0, 3].tolist() == pytest.approx([0.0, 0.1, 0.2])
