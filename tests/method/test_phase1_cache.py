"""Phase 1 is made once for methods that share it: nothing but time is saved, and nothing is taken from others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from avatargen.config.experiment import RunConfig
from avatargen.config.phase1 import PHASE2_ALONE, phase1_of
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.io.avatar_file import load_avatar
from avatargen.io.history import HISTORY, History
from avatargen.method import phase1_cache
from avatargen.method.context import Batch, embed_prompts
from avatargen.method.generator import Generator
from avatargen.method.optimise import take_step
from avatargen.method.state import CHECKPOINT, checkpoint_place, initial_state
from avatargen.preflight import disk_estimate
from avatargen.preflight.validate import needed_bytes
from avatargen.runtime import launch
from avatargen.runtime.generate_chunk import PHASE1, make_chunk, tasks_of
from avatargen.runtime.progress import weight
from avatargen.runtime.worker_pool import ExecutionSettings
from tests.small_prior import small_settings

ITEMS = [PromptItem("list", "a", "a man with green skin"), PromptItem("list", "b", "a girl", seed=3)]
SERIAL = ExecutionSettings("serial", threads=1)


@pytest.fixture(scope="module")
def prior(tmp_path_factory) -> PriorSettings:
    return small_settings(tmp_path_factory.mktemp("prior"))


@pytest.fixture(scope="module")
def generator(prior) -> Generator:
    return Generator.load("anny", "warp", prior, threads=1)


def run_of(prior, name="full", **method) -> RunConfig:
    small = {"phase1_steps": 10, "phase2_steps": 2, "views": 1, "mask_views": 2, "mask_period": 2}
    return RunConfig(
        method_name=name,
        method=MethodSettings(**{**small, **method}),
        prior_name="small",
        prior=prior,
        head="anny",
        renderer="warp",
        batch_size=2,
        threads=1,
    )


def other_than(value):
    return not value if isinstance(value, bool) else value * 2


@pytest.mark.parametrize("name", PHASE2_ALONE)
def test_phase2_settings_leave_phase1_its_bits(generator, prior, name):
    def after_phase_one(run: RunConfig) -> torch.Tensor:
        keys, size = [item.key for item in ITEMS], 2 * prior.latent_size
        state = initial_state(generator.head, run.method, prior, generator.context.start, keys, size)
        prompts = embed_prompts(generator.prior, [item.prompt for item in ITEMS], True, prior.view_words, None)
        batch = Batch(generator.context, run.method, prompts, torch.tensor(keys))
        for _ in range(run.method.phase1_steps):
            take_step(batch, state)
        assert not any(value.grad is not None for value in state.geometry().values())
        return state.texture.detach()

    full = run_of(prior, phase1_steps=2)
    changed = run_of(prior, phase1_steps=2, **{name: other_than(getattr(full.method, name))})
    assert changed.method != full.method and phase1_of(changed) == phase1_of(full)
    assert torch.equal(after_phase_one(changed), after_phase_one(full))


def test_second_method_resumes_after_the_shared_phase1(prior, tmp_path, monkeypatch):
    full, ablation = run_of(prior), run_of(prior, "no_segmentation", segmentation_weight=0)
    told = []
    monkeypatch.setattr(
        "avatargen.runtime.progress.Board.steps", lambda board, run, batches: told.append(batches[0].done)
    )

    def made(run: RunConfig, place: str, beside) -> list:
        folder = tmp_path / place / run.method_name / "avatars"
        told.clear()
        assert [row.status for row in make_chunk(run, ITEMS, folder, SERIAL, beside)] == ["ok"] * 2
        return [(load_avatar(folder / item.id), History.load(folder / item.id)) for item in ITEMS]

    alone = made(ablation, "alone", [ablation])
    assert told == list(range(1, 13)) and not (tmp_path / "alone" / PHASE1).exists()
    first = made(full, "both", [full, ablation])
    assert told == list(range(1, 13)) and len(list((tmp_path / "both" / PHASE1).iterdir())) == 2
    second = made(ablation, "both", [full, ablation])
    assert told == [11, 12]
    for (own, history), (other, expected) in zip(second, alone, strict=True):
        for name in ("shape", "expression", "offsets", "latent_texture", "baked_texture"):
            assert torch.equal(getattr(own, name), getattr(other, name)), name
        assert repr(history.entries) == repr(expected.entries)  # nan is not equal to itself
        assert [step for step, _ in history.snapshots] == [step for step, _ in expected.snapshots]
        assert all(map(np.array_equal, [s for _, s in history.snapshots], [s for _, s in expected.snapshots]))
    shared = [load_file(file)["elapsed"] for file in (tmp_path / "both" / PHASE1).glob(f"*/{CHECKPOINT}")]
    assert all(avatar.cost["seconds"] > float(min(shared)) > 0 for avatar, _ in [*first, *second])


def test_whole_batches_resume_and_only_sound_ones_are_stored(generator, prior, tmp_path):
    run = run_of(prior)
    folders, starts = ([tmp_path / f"{kind}-{n}" for n in "ab"] for kind in ("avatar", "start"))
    for folder in folders:
        folder.mkdir()

    class EndedError(Exception):
        pass

    def until_phase_two(done: int, _total: int) -> None:
        if done == 11:
            raise EndedError

    with pytest.raises(EndedError):
        list(replace(generator).run(run, ITEMS, folders, until_phase_two))
    assert [checkpoint_place(folder) for folder in folders] == [(0, 10)] * 2
    sick = load_file(folders[1] / CHECKPOINT)
    well = (folders[1] / CHECKPOINT).read_bytes()
    facts = {"step": "10", "attempt": "0", "texture": "10", "geometry": "0"}
    save_file({**sick, "diverged": torch.tensor(True)}, folders[1] / CHECKPOINT, metadata=facts)
    phase1_cache.store(folders, starts, 10)
    assert (starts[0] / CHECKPOINT).exists() and not starts[1].exists()
    fresh = [tmp_path / f"fresh-{n}" for n in "ab"]
    for folder in fresh:
        folder.mkdir()
    phase1_cache.resume(fresh, starts)
    assert not any((folder / CHECKPOINT).exists() for folder in fresh)
    (folders[1] / CHECKPOINT).write_bytes(well)
    phase1_cache.store(folders, starts, 9)
    assert not starts[1].exists()  # it does not stand there
    phase1_cache.store(folders, starts, 10)
    (starts[1] / HISTORY).rename(tmp_path / "history")
    phase1_cache.resume(fresh, starts)
    assert not any((folder / CHECKPOINT).exists() for folder in fresh)
    (tmp_path / "history").rename(starts[1] / HISTORY)
    phase1_cache.resume(fresh, starts)
    assert [checkpoint_place(folder) for folder in fresh] == [(0, 10)] * 2
    assert len(History.load(fresh[1]).entries) == 1


def test_methods_without_a_common_phase1_share_nothing(prior):
    full = phase1_of(run_of(prior))
    assert full == phase1_of(run_of(prior, "frozen", phase2_texture=False))
    differing = (
        {"shading_alpha": 0.2},
        {"phase2_steps": 3},
        {"phase3_steps": 3},
        {"mask_views": 3},
        {"view_prompts": False},
        {"views": 2},
    )
    for changed in differing:
        assert phase1_of(run_of(prior, **changed)) != full
    assert phase1_of(run_of(prior, phase1_steps=0)) is None and phase1_of(run_of(prior, phase2_steps=0)) is None
    assert phase1_of(run_of(prior, source="template")) is None


def shared_folders(study, name):
    """The folders that a method shares phase 1 in, for one list, avatar by avatar."""
    avatars = Path("results/embedded/embedded") / name / "avatars"
    tasks = tasks_of(study.runs[name], study.items("embedded", name), avatars, study.runs.values())
    return [task.phase1 for task in tasks]


def test_stale_phase1_folders_are_removed(workplace):
    study = launch.study_of(
        {"experiment": "embedded", "methods": ["full", "no_segmentation", "template"]}, check_disk=False
    )
    wanted, folder = shared_folders(study, "full"), workplace / "results/embedded/embedded" / PHASE1
    assert wanted == shared_folders(study, "no_segmentation")
    assert set(shared_folders(study, "template")) == {None}
    for start in (*wanted, folder / "stale"):
        start.mkdir(parents=True)
    launch._remove_stale_phase1(study)
    assert sorted(folder.iterdir()) == sorted(wanted) and len(wanted) == 12
    alone = launch.study_of({"experiment": "embedded", "methods": ["full", "template"]}, check_disk=False)
    launch._remove_stale_phase1(alone)
    assert not list(folder.iterdir())


def test_remaining_work_counts_a_shared_phase1_once(workplace):
    study = launch.study_of({"experiment": "embedded", "methods": ["full", "no_segmentation"]}, check_disk=False)
    full, ablation = study.runs.values()
    steps = full.method.phase1_steps
    assert [*launch.waiting(study)] == [weight(full)] * 12 + [weight(ablation, steps)] * 12
    for start in shared_folders(study, "full"):
        start.mkdir(parents=True)
    assert [*launch.waiting(study)] == [weight(full, steps)] * 12 + [weight(ablation, steps)] * 12


def test_needed_space_counts_a_shared_phase1_once(workplace, monkeypatch):
    needed = []
    monkeypatch.setattr(disk_estimate, "report_bytes", lambda runs, units: 0)
    for methods in (["full"], ["added_cue"], ["full", "added_cue"], ["full", "no_segmentation", "no_offsets"]):
        study = launch.study_of({"experiment": "embedded", "methods": methods}, check_disk=False)
        needed.append(needed_bytes(study, workplace / "results"))
    one, other, apart, together = needed
    run = study.runs["full"]
    assert apart == one + other
    assert together == 3 * one + len(study.items("embedded", "full")) * disk_estimate.phase1_bytes(run)
