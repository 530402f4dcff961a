"""Timesteps: every schedule against values worked out by hand or naive sums, and what the host knows of them."""

import math

import pytest
import torch

from avatargen.config.settings import PriorSettings
from avatargen.method.timesteps import STRATA, Schedule, stratified, stratum

SIGNAL = [math.cos(0.5 * math.pi * (t + 1) / 1001) ** 2 for t in range(1000)]


def schedule(kind: str = "random", low: float = 0.1, high: float = 0.9, guidance_from: float = 0.0) -> Schedule:
    settings = PriorSettings(path="", t_schedule=kind, t_range=(low, high), guidance_from=guidance_from)
    return Schedule(settings, SIGNAL)


@pytest.mark.parametrize("views", [1, 2, 3, 13])
def test_views_in_a_row_lie_in_all_parts(views):
    """Wherever one starts to count, and in each part once."""
    parts = [stratum(step, view, views) for step in range(40) for view in range(views)]
    for start in range(len(parts) - STRATA):
        assert sorted(parts[start : start + STRATA]) == list(range(STRATA))


def test_random_timesteps_are_uniform_over_a_run():
    uniform = torch.rand(400, 130, 2, generator=torch.Generator().manual_seed(0))
    steps = torch.stack([stratified(uniform[:, step], step) for step in range(130)])
    assert steps.min() >= 0 and steps.max() < 1
    shares = torch.histc(steps, bins=26, min=0, max=1) / steps.numel()
    assert (shares - 1 / 26).abs().max() < 0.002  # four standard deviations are 0.0024


def test_annealing_lowers_the_upper_timestep_to_the_middle():
    position = torch.tensor([0.0, 0.999999])
    assert schedule("annealed").timesteps(position, 0.0).tolist() == [100, 899]
    assert schedule("annealed").timesteps(position, 1.0).tolist() == [100, 499]
    assert schedule("random").timesteps(position, 1.0).tolist() == [100, 899]


@pytest.mark.parametrize(("kind", "quarter"), [("linear", 700), ("sqrt", 500)])
def test_falling_timesteps_are_the_same_for_all_views(kind, quarter):
    position = torch.tensor([0.0, 0.3, 0.999])
    assert schedule(kind).timesteps(position, 0.0).tolist() == [900] * 3
    (found,) = set(schedule(kind).timesteps(position, 0.25).tolist())
    assert found == pytest.approx(quarter, abs=1)


def test_dreamtime_is_that_of_the_paper():
    """t(i) minimises |sum of W from t to T - i / N|, W normalised: by brute force over all timesteps."""
    weights = torch.tensor(
        [math.sqrt((1 - a) / a) * math.exp(-((t - 500) ** 2) / (2 * 125**2)) for t, a in enumerate(SIGNAL)],
        dtype=torch.float64,
    )
    falling = schedule("dreamtime", low=0.0, high=1.0)
    remaining = (weights / weights.sum()).flip(0).cumsum(0).flip(0)
    for progress in (0.05, 0.25, 0.5, 0.75, 0.95):
        expected = int((remaining - progress).abs().argmin())
        (found,) = falling.timesteps(torch.zeros(1), progress).tolist()
        assert abs(found - expected) <= 1
    all_steps = [int(falling.timesteps(torch.zeros(1), step / 50)) for step in range(50)]
    assert all_steps == sorted(all_steps, reverse=True)


def test_dreamtime_stays_in_the_range():
    falling = schedule("dreamtime", low=0.3, high=0.6)
    found = [int(falling.timesteps(torch.zeros(1), step / 50)) for step in range(50)]
    assert found[0] == 600 and 300 <= found[-1] < 400


@pytest.mark.parametrize("kind", ["random", "annealed", "linear", "sqrt", "dreamtime"])
def test_unguided_views_have_no_timestep_in_the_interval(kind):
    """And guided ones have one, or their part does: no prediction is missing, and few are wasted."""
    some, needed, asked = schedule(kind, guidance_from=0.4), 0, 0
    for step in range(100):
        guided = some.guided(step, 2, step / 100)
        uniform = torch.tensor([[0.0, 0.0], [0.9999, 0.9999]])
        for view, times in enumerate(some.timesteps(stratified(uniform, step).T.flatten(), step / 100).view(2, 2)):
            assert view in guided or times.max() <= 400
            needed, asked = needed + bool(times.max() >= 400), asked + (view in guided)
    assert 0 < asked < 200 and abs(asked - needed) <= 2


def test_a_fifth_of_the_views_need_no_guidance():
    """With the shipped prior's range, 3 parts of 13 lie below 0.2: 23% of the unconditional predictions."""
    some = schedule(low=0.05, high=0.7, guidance_from=0.2)
    assert sum(len(some.guided(step, 2, 0.0)) for step in range(13)) == 20
    assert some.guided(0, 2, 0.0) == [0, 1]  # the first step is among the largest
    everything = schedule(low=0.05, high=0.7)
    assert all(everything.guided(step, 2, 0.0) == [0, 1] for step in range(13))
