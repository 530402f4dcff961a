"""A step of the method never makes the host wait for a GPU; counted on a pretended one, and enforced on a real one."""

from dataclasses import replace

import pytest
import torch

from avatargen.config.experiment import JudgeSettings
from avatargen.config.settings import MethodSettings
from avatargen.io.history import History
from avatargen.method.context import Batch, embed_prompts
from avatargen.method.generator import Generator
from avatargen.method.optimise import take_step
from avatargen.method.posing import head_parameters, point_offsets
from avatargen.method.recorder import Recorder
from avatargen.method.refine import refine
from avatargen.method.state import initial_state
from avatargen.priors import offload, stable_diffusion
from avatargen.priors.clip import ClipGuide
from tests.host_syncs import host_syncs
from tests.pretend_gpu import pretended_gpu
from tests.small_clip import write_clip
from tests.small_prior import small_settings

FAST = {"phase1_steps": 4, "phase2_steps": 6, "mask_views": 2, "mask_period": 2}


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    """One for all tests: a card with enough memory, which keeps its autoencoder."""
    settings = small_settings(tmp_path_factory.mktemp("prior"), samples=2, refine_steps=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stable_diffusion, "network_dtype", lambda _: torch.float32)  # autocast cannot be pretended
        patch.setattr(offload, "SHORT", 0)
        with pretended_gpu(patch):
            yield Generator.load("anny", "warp", settings, threads=1)


def begin(generator: Generator, clip: ClipGuide | None = None, prior: dict | None = None, **method):
    settings = MethodSettings(**{**FAST, **method})
    own = generator.settings.model_copy(update=prior or {})
    prompts = embed_prompts(
        generator.prior, ["a man", "a girl"], True, own.view_words, clip, negative=own.negative_prompt
    )
    batch = Batch(replace(generator.context, settings=own), settings, prompts, torch.tensor([0, 3]))
    size = 2 * generator.settings.latent_size
    state = initial_state(generator.head, settings, generator.settings, generator.context.start, [0, 3], size)
    return batch, state


def waits(batch: Batch, state, steps: int) -> list[str]:
    with host_syncs() as found:
        for _ in range(steps):
            take_step(batch, state)
    assert found.operations.total() > 100  # the steps ran on the device
    return found.syncs


def test_no_step_of_either_phase_waits(generator):
    """The first step of each phase prepares what others share; phase 2 refreshes and uses masks and readings."""
    batch, state = begin(generator, phase1_steps=2, phase2_steps=4)
    take_step(batch, state)
    assert waits(batch, state, 1) == []
    take_step(batch, state)
    assert waits(batch, state, 2) == []
    assert state.masks.valid.any() and state.reading.known.all() and state.shape.abs().max() > 0


@pytest.mark.parametrize("method", [{"shading_cue": "added", "shading_end": 0.2}, {"interior_gradient": True}])
def test_no_step_of_a_variant_waits(generator, method):
    batch, state = begin(generator, phase1_steps=0, shading_alpha=0.5, **method)
    take_step(batch, state)
    assert waits(batch, state, 2) == []


@pytest.mark.parametrize(
    "prior",
    [
        {"guidance_from": 0.4},
        {"distillation": "csd", "guidance_rescale": 0.7, "dynamic_threshold": 1.0},
        {"distillation": "nfsd", "negative_prompt": "a blue girl"},
        {"distillation": "asd", "opposite_view": 0.5},
        {"distillation": "ism", "t_schedule": "linear"},
        {"t_schedule": "dreamtime"},
    ],
    ids=str,
)
def test_no_step_of_a_remedy_of_saturation_waits(generator, prior):
    """The first step prepares the schedule of the timesteps."""
    batch, state = begin(generator, prior=prior)
    take_step(batch, state)
    assert waits(batch, state, 2) == []


def test_no_step_guided_by_clip_waits(generator, tmp_path):
    clip = ClipGuide.load("tiny", JudgeSettings(model=str(write_clip(tmp_path / "clip"))), tmp_path)
    batch, state = begin(generator, clip, guide="clip", phase1_steps=1)
    take_step(batch, state)
    take_step(batch, state)
    assert waits(batch, state, 2) == []


def test_a_diverged_avatar_does_not_wait(generator):
    batch, state = begin(generator, phase1_steps=0)
    take_step(batch, state)
    with torch.no_grad():
        state.texture[0].fill_(float("nan"))
    assert waits(batch, state, 2) == []
    assert state.diverged.tolist() == [True, False]


def test_no_step_of_the_finish_waits(generator, monkeypatch):
    """What comes before its steps, once for each avatar, may: it looks for the nearest texels on the host."""
    batch, state = begin(generator)
    given = []
    monkeypatch.setattr("avatargen.method.generator.refine", lambda *arguments: given.extend(arguments) or arguments[2])
    with torch.no_grad():
        parameters = head_parameters(generator.head, state, point_offsets(batch, state))
    generator.refine(batch, 0, parameters[:1], state.texture[0].detach())
    with host_syncs() as found:
        refined = refine(*given)
    assert found.syncs == [] and found.operations.total() > 100
    assert not torch.equal(refined, state.texture[0])


def test_losses_are_read_at_checkpoints_alone(generator):
    losses, recorder = take_step(*begin(generator)), Recorder([History()])
    with host_syncs() as found:
        for step in range(1, 11):
            recorder.add(step, losses)
    assert found.syncs == []
    with host_syncs() as found:
        recorder.flush()
    assert len(found.syncs) == 1
    assert recorder.histories[0].entries[0][1]["coverage"] == pytest.approx(float(losses["coverage"][0]))
