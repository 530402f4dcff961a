"""The finish: synchronised denoising of an avatar's views, alone and as a part of the method."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler

from avatargen.config.settings import CameraSettings
from avatargen.method import refine as module
from avatargen.method.batch_run import BatchRun
from avatargen.method.generator import Generator
from avatargen.method.refine import Views, denoise_views
from avatargen.method.state import CHECKPOINT, checkpoint_place
from tests.method.test_generator import GIRL, MAN, make, poison, run_config, same
from tests.small_prior import small_settings

STEPS = 3


@pytest.fixture(scope="module")
def generator(tmp_path_factory) -> Generator:
    changes = {"reader": None, "refine_steps": STEPS, "cameras": CameraSettings(close=0.3)}
    prior = small_settings(tmp_path_factory.mktemp("prior"), **changes)
    return Generator.load("anny", "warp", prior, threads=1)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("guidance_from", "scales"), [(0.0, [3.0] * 4), (0.45, [3.0, 3.0, 1.0, 1.0])])
def test_denoising_is_that_of_the_ddim_scheduler(generator, guidance_from, scales):
    """In even steps from 0.8: the scheduler's steps at a fifth of the schedule, without its last."""
    prior = generator.prior
    before = torch.cat([torch.ones(1), prior.alphas_cumprod[:-1]])
    scheduler = DDIMScheduler(trained_betas=(1 - prior.alphas_cumprod / before).tolist(), clip_sample=False)
    scheduler.set_timesteps(5)
    latents, noise = drawn(2, 4, 16, 16), drawn(2, 4, 16, 16, seed=1)
    condition, empty = prior.embed(["a man", "a girl"]), prior.embed([""])
    steps = {"refine_timestep": 0.8, "refine_steps": 4, "refine_guidance": 3.0, "guidance_from": guidance_from}
    views = Views(torch.zeros(4), condition, empty, noise)
    made = denoise_views(prior, latents, views, generator.settings.model_copy(update=steps), lambda clean: clean)
    noisy, clean = scheduler.add_noise(latents, noise, torch.tensor([800])), latents
    for time, scale in zip([800, 600, 400, 200], scales, strict=True):
        t = torch.tensor([time] * 2)
        named, without = prior.predict(noisy, t, condition), prior.predict(noisy, t, empty.expand_as(condition))
        step = scheduler.step(without + scale * (named - without), time, noisy)
        noisy, clean = step.prev_sample, step.pred_original_sample
    assert (made - latents).abs().mean() > 0.05
    torch.testing.assert_close(made, clean, atol=1e-3, rtol=1e-3)


def test_what_views_lose_to_a_change_stays_as_noise(generator):
    """Between two steps the noisy latents move by the change of signal and noise levels alone."""
    prior, seen = generator.prior, []
    settings = generator.settings.model_copy(update={"refine_timestep": 0.5, "refine_steps": 2, "refine_guidance": 2.0})
    views = Views(torch.zeros(4), prior.embed(["a man"]), prior.embed([""]), drawn(1, 4, 16, 16, seed=1))
    predict = type(prior).predict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(prior), "predict", lambda self, x, *rest: seen.append(x[:1]) or predict(self, x, *rest))
        denoise_views(prior, drawn(1, 4, 16, 16), views, settings, lambda clean: 0 * clean + 0.5)
    first, second = (prior.alphas_cumprod[time] for time in (500, 250))
    noise = (seen[0] - first.sqrt() * 0.5) / (1 - first).sqrt()
    torch.testing.assert_close(seen[1], second.sqrt() * 0.5 + (1 - second).sqrt() * noise, atol=1e-4, rtol=1e-4)


def test_refined_texture_renders_as_the_views_are_denoised(generator, tmp_path, monkeypatch):
    """With a prior that sees one colour everywhere, the texture takes that colour, where a view shows it."""
    colour = torch.tensor([0.5, -0.3, 0.2, 0.1])
    monkeypatch.setattr(module, "to_sample", lambda epsilon, *_: colour.view(1, -1, 1, 1).expand_as(epsilon))
    (avatar,) = make(generator, run_config(generator), [MAN], tmp_path)
    far = (avatar.latent_texture - colour[:, None, None]).abs().amax(0)
    assert far.median() < 0.02 < (generator.context.start - colour).abs().max()


def test_without_the_finish_an_avatar_is_as_before(generator, tmp_path):
    """The same bits as a prior that makes none: geometry always, textures without `refine`."""
    none = replace(generator, settings=generator.settings.model_copy(update={"refine_steps": 0}))
    (expected,) = make(none, run_config(none), [MAN], tmp_path / "none")
    (without,) = make(generator, run_config(generator, refine=False), [MAN], tmp_path / "without")
    (refined,) = make(generator, run_config(generator), [MAN], tmp_path / "refined")
    assert same(without, expected)
    for name in ("shape", "expression", "offsets"):
        assert torch.equal(getattr(refined, name), getattr(expected, name))
    for name in ("latent_texture", "baked_texture"):
        assert (getattr(refined, name) - getattr(expected, name)).abs().mean() > 1e-3
    assert refined.baked_texture.min() >= 0 and refined.baked_texture.max() <= 1


def test_a_frozen_texture_is_not_refined(generator, tmp_path):
    runs = [run_config(generator, texture=False, phase1_steps=0, refine=refine) for refine in (True, False)]
    grey, other = (make(generator, run, [MAN], tmp_path / str(run.refine_steps))[0] for run in runs)
    assert [run.refine_steps for run in runs] == [0, 0] and same(grey, other)
    assert [run_config(generator, refine=refine).refine_steps for refine in (True, False)] == [STEPS, 0]


def test_a_refined_avatar_does_not_depend_on_its_batch_mates(generator, tmp_path):
    run = run_config(generator, batch=2)
    alone = make(generator, run, [GIRL], tmp_path / "alone")[0]
    first = make(generator, run, [GIRL, MAN], tmp_path / "first")[0]
    second = make(generator, run, [MAN, GIRL], tmp_path / "second")[1]
    assert same(alone, first) and same(alone, second)


def test_an_interrupted_finish_resumes_from_the_end_of_the_optimisation(generator, tmp_path):
    run, told = run_config(generator, batch=2), []
    whole = make(generator, run, [MAN, GIRL], tmp_path / "whole", lambda *progress: told.append(progress))
    assert [done for done, _ in told] == [1, 2, 3, 4, 4, 5, 5, 5, 6, 6] and {total for _, total in told} == {7}

    def stop(done: int, total: int) -> None:
        if len(made) == 1 or done == total - 1:
            raise KeyboardInterrupt

    folders, made = [tmp_path / "parts" / item.item for item in (MAN, GIRL)], []
    for folder in folders:
        folder.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        for avatar in generator.run(run, [MAN, GIRL], folders, stop):
            made.append(avatar)
    assert len(made) == 1 and same(made[0], whole[0]) and not (folders[0] / CHECKPOINT).exists()
    assert checkpoint_place(folders[1]) == (0, 4)
    steps = []
    (resumed,) = generator.run(run, [GIRL], folders[1:], lambda done, _: steps.append(done))
    assert same(resumed, whole[1]) and min(steps) > 4
    assert resumed.cost["seconds"] > 0 and not (folders[1] / CHECKPOINT).exists()


def test_a_finish_that_is_not_finite_leaves_the_texture(generator, tmp_path, monkeypatch):
    (plain,) = make(generator, run_config(generator, refine=False), [MAN], tmp_path / "plain")
    monkeypatch.setattr(module, "to_sample", lambda epsilon, *_: epsilon * torch.nan)
    (avatar,) = make(generator, run_config(generator), [MAN], tmp_path / "broken")
    assert avatar.status == "ok" and torch.equal(avatar.latent_texture, plain.latent_texture)
    assert avatar.baked_texture.isfinite().all()


def test_a_diverged_avatar_is_not_refined(generator, tmp_path, monkeypatch):
    expected = make(generator, run_config(generator, batch=2), [MAN, GIRL], tmp_path / "fine")[1]
    poison(monkeypatch, lambda _: True)
    refined, of = [], module.refine
    monkeypatch.setattr("avatargen.method.generator.refine", lambda *arguments: refined.append(None) or of(*arguments))
    mate, broken = make(generator, run_config(generator, batch=2), [MAN, GIRL], tmp_path / "poisoned")
    assert broken.status == "diverged" and len(refined) == 1 and same(mate, expected)


def test_the_trial_of_a_batch_size_takes_the_finish(generator, monkeypatch):
    told, of = [], Generator.refine
    monkeypatch.setattr(Generator, "refine", lambda self, *arguments: told.append(None) or of(self, *arguments))
    for refine, count in ((False, 0), (True, 1)):
        run = run_config(generator, refine=refine)
        assert BatchRun(generator, run, [MAN], [], None, 0, 0, 2).largest_steps() > 0 and len(told) == count


def test_the_noise_of_the_finish_follows_prompt_and_seed(generator, tmp_path, monkeypatch):
    noise = []
    monkeypatch.setattr(
        "avatargen.method.generator.refine", lambda *arguments: noise.append(arguments[3].noise) or arguments[2]
    )
    for number, item in enumerate((MAN, replace(MAN, list="other", item="z"), replace(MAN, seed=1), GIRL)):
        make(generator, run_config(generator), [item], Path(tmp_path / str(number)))
    same_prompt, other_seed, other_prompt = (torch.equal(noise[0], noise[k]) for k in (1, 2, 3))
    assert same_prompt and not other_seed and not other_prompt
    assert noise[0].shape == (15, 4, 16, 16) and not torch.equal(noise[0][0], noise[0][1])
