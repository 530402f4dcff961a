"""Batches that do not fit into memory are halved; `auto` finds the size that fits. On a small untrained prior."""

import gc
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from avatargen.config.batch_size import AUTO_ON_CPU
from avatargen.config.experiment import RunConfig
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.method import memory
from avatargen.method.generator import Generator
from avatargen.method.memory import BatchSizes, largest_that_fits
from avatargen.priors import stable_diffusion
from avatargen.priors.precision import network_dtype
from avatargen.runtime.generate_job import make_batch
from avatargen.runtime.task import Task, outcome, prepare
from tests.pretend_gpu import pretended_gpu
from tests.small_prior import small_settings

ITEMS = [PromptItem("test", name, f"a {name}", seed=seed) for seed, name in enumerate(["man", "girl", "baby"])]


@pytest.fixture(scope="module")
def prior(tmp_path_factory) -> PriorSettings:
    return small_settings(tmp_path_factory.mktemp("prior"))


@pytest.fixture
def generator(prior) -> Generator:
    """A new one for each test: it remembers the sizes that fit."""
    return Generator.load("anny", "warp", prior, threads=1)


def run_config(prior: PriorSettings, batch_size, **method) -> RunConfig:
    fast = {"phase1_steps": 2, "phase2_steps": 2, "views": 1, "mask_views": 1, "mask_period": 2}
    return RunConfig(
        method_name="full",
        method=MethodSettings(**{**fast, **method}),
        prior_name="small",
        prior=prior,
        head="anny",
        renderer="warp",
        batch_size=batch_size,
        threads=1,
    )


def make(generator, run, folder: Path, items=tuple(ITEMS), on_step=None):
    folders = [folder / item.item for item in items]
    for path in folders:
        path.mkdir(parents=True, exist_ok=True)
    return {avatar.prompt: avatar for avatar in generator.run(run, items, folders, on_step)}


def same(a, b) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("shape", "offsets", "latent_texture"))


def sizes(made) -> list[int]:
    return [made[item.prompt].provenance["batch_size"] for item in ITEMS]


@contextmanager
def room_for(avatars: int, from_step: int = 0):
    """Let torch's optimisers run out of memory if their tensors hold more avatars; yield the sizes that they had."""
    seen: list[int] = []

    def check(optimizer, *_):
        rows = len(optimizer.param_groups[0]["params"][0])
        if isinstance(optimizer, torch.optim.Adam):
            seen.append(rows)
            if rows > avatars and len(seen) > from_step:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    handle = register_optimizer_step_pre_hook(check)
    try:
        yield seen
    finally:
        handle.remove()


def test_a_batch_that_does_not_fit_is_halved(generator, prior, tmp_path):
    """Its avatars equal those of batches that fit, and later batches start at the size that fits."""
    alone = make(generator, run_config(prior, 1), tmp_path / "alone")
    run = run_config(prior, 3)
    with room_for(1) as seen:
        made = make(generator, run, tmp_path / "halved")
        assert sizes(made) == [1, 1, 1] and seen[:2] == [3, 1]
        del seen[:]
        make(generator, run, tmp_path / "again")
        assert set(seen) == {1}
    assert all(made[item.prompt].status == "ok" and same(made[item.prompt], alone[item.prompt]) for item in ITEMS)


def test_halves_go_on_from_the_checkpoints(generator, prior, tmp_path, monkeypatch):
    monkeypatch.setattr("avatargen.method.batch_run.CHECKPOINT_STEPS", 1)
    whole = make(generator, run_config(prior, 2), tmp_path / "whole", ITEMS[:2])
    steps: list[int] = []
    with room_for(1, from_step=2) as seen:
        made = make(generator, run_config(prior, 2), tmp_path / "halved", ITEMS[:2], lambda done, _: steps.append(done))
    assert seen == [2, 2, 2, 1, 1, 1, 1] and steps == [1, 2, 3, 4, 3, 4]
    for prompt, avatar in made.items():
        assert avatar.provenance["batch_size"] == 1 and whole[prompt].provenance["batch_size"] == 2
        assert avatar.provenance["number_format"] == str(network_dtype(torch.device("cpu"))).removeprefix("torch.")
        torch.testing.assert_close(avatar.latent_texture, whole[prompt].latent_texture, rtol=1e-3, atol=1e-4)


def test_only_an_avatar_that_does_not_fit_alone_fails(generator, prior, tmp_path):
    tasks = [Task(item, tmp_path / item.item, "fingerprint") for item in ITEMS[:2]]
    for task in tasks:
        prepare(task)
    with room_for(0):
        make_batch(generator, run_config(prior, 2), tasks)
    for task in tasks:
        facts = outcome(task)
        assert facts["status"] == "out_of_memory"
        assert facts["message"].startswith("one avatar at a time needs more than")
        assert "CUDA out of memory" in (task.folder / "error.txt").read_text()


def test_other_errors_do_not_halve(generator, prior, tmp_path, monkeypatch):
    calls = []

    def fails(*_):
        calls.append(None)
        raise ValueError("no")

    monkeypatch.setattr("avatargen.method.batch_run.take_step", fails)
    with pytest.raises(ValueError, match="no"):
        make(generator, run_config(prior, 3), tmp_path)
    assert len(calls) == 1


def test_auto_on_a_cpu_is_a_fixed_padded_size(generator, prior, tmp_path):
    auto = make(generator, run_config(prior, "auto"), tmp_path / "auto")
    stated = make(generator, run_config(prior, AUTO_ON_CPU), tmp_path / "stated")
    assert sizes(auto) == [AUTO_ON_CPU] * 3
    assert all(same(auto[item.prompt], stated[item.prompt]) for item in ITEMS)


def test_auto_on_a_gpu_is_measured_and_not_padded(prior, tmp_path, monkeypatch):
    """Trials run until one fits; then batches have as many rows as avatars."""
    monkeypatch.setattr(stable_diffusion, "network_dtype", lambda _: torch.float32)
    monkeypatch.setattr(memory, "AUTO_ON_GPU", 4)
    with pretended_gpu(monkeypatch):
        generator = Generator.load("anny", "warp", prior, threads=1)
        with room_for(2) as seen:
            made = make(generator, run_config(prior, "auto"), tmp_path)
    tried = [1, 1, 2, 2, 4]  # the first step of each phase; with 4, not even the first one
    assert seen == [*tried, *[2] * 4, *[1] * 4] and sizes(made) == [2, 2, 1]


@pytest.mark.parametrize(("each", "fits"), [(100, 8), (400, 2), (850, 1), (1000, 1), (3000, 1)])
def test_the_largest_batch_is_predicted_from_two(each, fits):
    """A tenth of the memory stays free, where there is a choice: ten of 100 would fit."""
    tried = []

    def trial(avatars):
        tried.append(avatars)
        if 1000 + each * avatars > 2000:
            raise torch.OutOfMemoryError("out of memory")
        return 1000 + each * avatars

    found = largest_that_fits(32, trial, free=lambda: 2000)
    assert found == fits and len(tried) <= 4


def test_a_size_is_remembered_for_each_method(prior):
    found = BatchSizes(torch.device("cpu"))
    full, other = run_config(prior, 8), run_config(prior, 8, mask_views=2)
    found.halve(full, 8)
    assert found.of(full, 8, trial=len) == 4 and found.of(other, 8, trial=len) == 8
    found.halve(full, 1)
    assert found.of(full, 8, trial=len) == 1


def test_a_real_limit_of_memory_halves_batches(tmp_path):
    """The address space is limited, and torch's own CPU allocator fails."""
    prior = small_settings(tmp_path / "prior", texture_size=2048)
    generator, run = Generator.load("anny", "warp", prior, threads=1), run_config(prior, 3, phase1_steps=1)
    make(generator, run_config(prior, 1, phase1_steps=1), tmp_path / "warm", ITEMS[:1])  # loads what all runs need
    gc.collect()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**28, before[1]))
    try:
        made = make(generator, run, tmp_path / "limited")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert [made[item.prompt].status for item in ITEMS] == ["ok"] * 3 and set(sizes(made)) == {1}
