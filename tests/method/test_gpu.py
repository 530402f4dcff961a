"""The method on a real GPU: steps that never wait, the same numbers as on the CPU, batches found by measurement."""

from dataclasses import replace

import pytest
import torch

from avatargen.config.places import ROOT
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.geometry.cameras import keyed_noise
from avatargen.geometry.noise import normal, splitmix64
from avatargen.method.context import Batch, embed_prompts
from avatargen.method.generator import Generator
from avatargen.method.memory import free_bytes, largest_that_fits
from avatargen.method.optimise import take_step
from avatargen.method.recorder import Recorder
from avatargen.method.state import initial_state
from avatargen.priors import stable_diffusion
from tests.method.test_memory import ITEMS, make, room_for, run_config, sizes
from tests.small_prior import small_settings

ABSENT = "no GPU is visible; on a machine with one: AVATARGEN_TEST_GPU=1 python -m pytest -m gpu"
FAST = {"phase1_steps": 3, "phase2_steps": 6, "mask_views": 2, "mask_period": 2}

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason=ABSENT)]


@pytest.fixture
def settings(tmp_path) -> PriorSettings:
    return small_settings(tmp_path / "prior", samples=2)


def begin(generator: Generator, method: MethodSettings):
    prompts = embed_prompts(generator.prior, ["a man", "a girl"], True, generator.settings.view_words)
    batch, size = Batch(generator.context, method, prompts, torch.tensor([0, 3])), 2 * generator.settings.latent_size
    state = initial_state(generator.head, method, generator.settings, generator.context.start, [0, 3], size)
    return batch, state


@pytest.mark.parametrize("shipped", [False, True])
def test_steps_of_both_phases_never_wait(settings, shipped):
    """Torch itself raises an error at a call that waits; the first step of each phase prepares what others share."""
    if shipped:
        settings = settings.model_copy(update={"path": str(ROOT / "avatargen/weights/prior"), "view_words": "sectors"})
    generator = Generator.load("anny", "warp", settings, threads=1)
    batch, state = begin(generator, MethodSettings(**FAST))
    recorder = Recorder([])
    for until in (batch.method.phase1_steps, batch.method.steps):
        take_step(batch, state)
        torch.cuda.set_sync_debug_mode("error")
        try:
            while state.step < until:
                recorder.add(state.step + 1, take_step(batch, state))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert not state.diverged.any() and state.shape.abs().max() > 0 and state.texture.isfinite().all()


def test_parts_without_noise_equal_the_cpu(settings, monkeypatch):
    """Networks in float32; heads, embeddings, renders and the gradient of both phases for the same noise."""
    monkeypatch.setattr(stable_diffusion, "network_dtype", lambda _: torch.float32)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    drawn = lambda seeds, step, views, shape, device="cpu": keyed_noise(seeds, step, views, shape).to(device)  # noqa: E731
    monkeypatch.setattr("avatargen.method.distillation.keyed_noise", drawn)
    monkeypatch.setattr("avatargen.method.geometry_losses.keyed_noise", drawn)
    there = {step: gradients_and_losses(settings, step) for step in (0, FAST["phase1_steps"])}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for step, (found, losses) in there.items():
        here, expected = gradients_and_losses(settings, step)
        assert found.keys() == here.keys() and ("shape" in here) == (step > 0)
        for name, value in here.items():
            assert (found[name] - value).norm() <= 0.01 * value.norm(), name
        for name, value in expected.items():
            torch.testing.assert_close(losses[name], value, rtol=0.01, atol=1e-3)


def gradients_and_losses(settings: PriorSettings, step: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return those of one step, by name, where torch's answer on GPUs puts the models."""
    batch, state = begin(Generator.load("anny", "warp", settings, threads=1), MethodSettings(**FAST))
    state.step = step
    losses = take_step(batch, state)
    moved = {name: value.grad.cpu() for name, value in state.parameters().items() if value.grad is not None}
    return moved, {name: value.cpu() for name, value in losses.items()}


def test_noise_has_the_same_bits_on_both_devices():
    keys = torch.tensor([[5, -3], [2**62, 0]])
    assert torch.equal(splitmix64(keys.cuda(), 1000).cpu(), splitmix64(keys, 1000))
    torch.testing.assert_close(normal(keys.cuda(), (4, 64, 64)).cpu(), normal(keys, (4, 64, 64)), rtol=1e-4, atol=1e-4)
    noise = keyed_noise(torch.tensor([7, 8]), 3, 2, (4, 64, 64), "cuda")
    assert noise.is_cuda and abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02


def test_an_avatar_does_not_depend_on_its_mates(settings, tmp_path):
    generator = Generator.load("anny", "warp", settings, threads=1)
    run = run_config(settings, 2)
    first = make(generator, run, tmp_path / "a", ITEMS[:2])[ITEMS[0].prompt]
    other = make(generator, run, tmp_path / "b", [ITEMS[0], replace(ITEMS[2])])[ITEMS[0].prompt]
    torch.testing.assert_close(first.latent_texture, other.latent_texture, rtol=1e-2, atol=1e-3)


def test_auto_finds_a_batch_and_halves_it(settings, tmp_path):
    generator = Generator.load("anny", "warp", settings, threads=1)
    made = make(generator, run_config(settings, "auto"), tmp_path / "auto")
    assert sizes(made) == [3, 3, 3] and {avatar.status for avatar in made.values()} == {"ok"}
    with room_for(1):
        made = make(generator, run_config(settings, "auto"), tmp_path / "halved")
    assert sizes(made) == [1, 1, 1]


def test_the_real_allocator_limits_trials():
    """An avatar takes a quarter of what may be used, so three fit beside what torch itself needs."""
    device = torch.device("cuda")
    torch.cuda.empty_cache()
    quarter = free_bytes(device) // 4
    made = []

    def trial(avatars: int) -> int:
        torch.cuda.reset_peak_memory_stats()
        made.append(avatars)
        tensors = [torch.empty(quarter, dtype=torch.uint8, device=device) for _ in range(avatars)]
        return torch.cuda.max_memory_allocated() if tensors else 0

    assert largest_that_fits(32, trial, lambda: free_bytes(device)) in (2, 3) and max(made) <= 4
