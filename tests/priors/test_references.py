"""Every family computes what diffusers computes: schedulers, prompt encoding, and a whole sampling loop of SDXL."""

from dataclasses import dataclass

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionXLPipeline

from avatargen.config.settings import PriorSettings
from avatargen.method.sds import sds_gradient, weight
from avatargen.priors import kandinsky, stable_diffusion
from avatargen.priors.base import Prior, load_prior
from avatargen.priors.diffusion import add_noise, ddim_step, guided_epsilon, to_epsilon, to_sample
from avatargen.priors.foreground import Denoising, denoise
from avatargen.priors.schedule import SMALLEST, finite_levels, schedule
from tests.small_families import FAMILIES, KIND, small_vae
from tests.small_kandinsky import write_kandinsky

ALL = (*FAMILIES, "kandinsky")
SCALE = 7.5


@pytest.fixture(scope="module")
def priors(family_folders, tmp_path_factory):
    """A prior of each family, in float32."""
    torch.manual_seed(0)
    folder = write_kandinsky(tmp_path_factory.mktemp("kandinsky"))
    with pytest.MonkeyPatch.context() as patch:
        for module in (stable_diffusion, kandinsky):
            patch.setattr(module, "network_dtype", lambda _: torch.float32)
        loaded = {
            family: load_prior(PriorSettings(kind=KIND[family], path=str(path)))
            for family, path in family_folders.items()
        }
        return {**loaded, "kandinsky": load_prior(PriorSettings(kind="kandinsky", path=str(folder)))}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def reference_output(prior: Prior, noisy, t, condition, empty, scale: float) -> torch.Tensor:
    """Guide the network's own output, as the pipelines of diffusers do."""
    without = prior.predict(noisy, t, empty.expand_as(condition))
    named = prior.predict(noisy, t, condition)
    return without + scale * (named - without)


@pytest.mark.parametrize("family", ALL)
def test_distillation_gradient_is_that_of_the_scheduler(priors, family):
    """Noise by `add_noise`; the predicted noise from `step`'s estimate of the clean latents."""
    prior = priors[family]
    scheduler = DDIMScheduler(
        trained_betas=betas_of(prior), prediction_type=prior.prediction, clip_sample=False, set_alpha_to_one=False
    )
    scheduler.set_timesteps(10)
    latents, noise, t = drawn(4, 4, 16, 16), drawn(4, 4, 16, 16, seed=1), torch.tensor([20, 300, 700, 979])
    condition, empty = prior.embed(["a man", "a girl", "a statue", "an old man"]), prior.embed([""])
    a = prior.alphas_cumprod[t]
    noisy = add_noise(latents, noise, a)
    torch.testing.assert_close(noisy, scheduler.add_noise(latents, noise, t), atol=1e-6, rtol=1e-5)
    output = reference_output(prior, noisy, t, condition, empty, SCALE)
    clean = [scheduler.step(output[k : k + 1], int(t[k]), noisy[k : k + 1]).pred_original_sample for k in range(len(t))]
    levels = scheduler.alphas_cumprod[t][:, None, None, None]
    predicted = (noisy - levels.sqrt() * torch.cat(clean)) / (1 - levels).sqrt()
    expected = (1 - levels) * (predicted - noise)
    epsilon = guided_epsilon(prior, noisy, t, condition, empty, SCALE)
    gradient = sds_gradient(epsilon, noise, weight(a, "dreamfusion"))
    assert gradient.abs().mean() > 0.01
    torch.testing.assert_close(gradient, expected, atol=2e-4, rtol=1e-3)


def betas_of(prior: Prior) -> list[float]:
    levels = prior.alphas_cumprod
    return (1 - levels / torch.cat([torch.ones(1), levels[:-1]])).tolist()


def test_velocity_is_that_of_the_scheduler():
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    latents, noise, t = drawn(3, 4, 8, 8), drawn(3, 4, 8, 8, seed=1), torch.tensor([0, 500, 999])
    a, noisy = scheduler.alphas_cumprod[t], scheduler.add_noise(latents, noise, t)
    velocity = scheduler.get_velocity(latents, noise, t)
    epsilon = to_epsilon(velocity, noisy, a, "v_prediction")
    torch.testing.assert_close(epsilon, noise, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(to_sample(epsilon, noisy, a), latents, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("family", ALL)
def test_denoising_is_that_of_the_ddim_scheduler(priors, family):
    """In even steps from 0.8: the scheduler's steps at a fifth of the schedule, without its last."""
    prior = priors[family]
    scheduler = DDIMScheduler(trained_betas=betas_of(prior), prediction_type=prior.prediction, clip_sample=False)
    scheduler.set_timesteps(5)
    latents, noise = drawn(2, 4, 16, 16), drawn(2, 4, 16, 16, seed=1)
    condition, empty = prior.embed(["a man", "a girl"]), prior.embed([""])
    made = denoise(prior, latents, noise, condition, empty, Denoising(start=0.8, steps=4, guidance=3.0))
    times = [800, 600, 400, 200]
    noisy, clean = scheduler.add_noise(latents, noise, torch.tensor([times[0]])), latents
    for time in times:
        output = reference_output(prior, noisy, torch.tensor([time] * 2), condition, empty, 3.0)
        step = scheduler.step(output, time, noisy)
        noisy, clean = step.prev_sample, step.pred_original_sample
    assert (made - latents).abs().mean() > 0.05
    torch.testing.assert_close(made, clean, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_conditions_are_those_of_the_pipeline(priors, pipelines, family):
    prompts = ["a man with a beard, side view", "a girl"]
    condition, empty = priors[family].embed(prompts), priors[family].embed([""])
    with torch.no_grad():
        if family != "sdxl":
            named, without = pipelines[family].encode_prompt(prompts, "cpu", 1, True)
            expected, unconditional = named, without[:1]
        else:
            named, without, pooled, without_pooled = pipelines[family].encode_prompt(prompts)
            expected = torch.cat([named, padded(pooled, named.shape[-1])], dim=1)
            unconditional = torch.cat([without, padded(without_pooled, named.shape[-1])], dim=1)[:1]
    torch.testing.assert_close(condition, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(empty, unconditional, atol=1e-6, rtol=1e-5)


def padded(pooled: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(pooled, (0, width - pooled.shape[-1]))[:, None]


def test_empty_prompt_of_sdxl_is_zero_only_where_the_pipeline_says_so(pipelines, tmp_path):
    pipeline = StableDiffusionXLPipeline(**pipelines["sdxl"].components, force_zeros_for_empty_prompt=False)
    pipeline.save_pretrained(tmp_path)
    prior = load_prior(PriorSettings(kind="sdxl", path=str(tmp_path)))
    with torch.no_grad():
        _, without, _, pooled = pipeline.encode_prompt("a man", negative_prompt="")
    expected = torch.cat([without, padded(pooled, without.shape[-1])], dim=1)
    assert without.abs().max() > 0.1
    torch.testing.assert_close(prior.embed([""]), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scaling", [{}, {"latents_mean": [0.3, -0.2, 0.1, 0.0], "latents_std": [0.8, 1.1, 0.9, 1.2]}])
def test_sampling_with_sdxl_is_that_of_the_pipeline(pipelines, scaling, tmp_path, monkeypatch):
    """The pipeline's own call, with its size conditioning, against our adapter and DDIM steps; then the images."""
    torch.manual_seed(7)
    vae = small_vae("sdxl", **scaling)
    StableDiffusionXLPipeline(**{**pipelines["sdxl"].components, "vae": vae}).save_pretrained(tmp_path)
    monkeypatch.setattr(stable_diffusion, "network_dtype", lambda _: torch.float32)
    prior = load_prior(PriorSettings(kind="sdxl", path=str(tmp_path)))
    pipeline = StableDiffusionXLPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    latents, prompts = drawn(2, 4, 24, 24), ["a man, front view", "a girl"]
    made = {
        form: pipeline(
            prompts, num_inference_steps=4, guidance_scale=5.0, height=48, width=48, latents=latents, output_type=form
        ).images
        for form in ("latent", "pt")
    }
    condition, empty = prior.embed(prompts), prior.embed([""])
    noisy = latents
    for time in pipeline.scheduler.timesteps:
        before = time - 1000 // 4
        following = prior.alphas_cumprod[before.clamp(min=0)].expand(2)
        _, noisy = ddim_step(prior, noisy, time, following, condition, empty, 5.0)
    assert (noisy - latents).abs().mean() > 0.1
    torch.testing.assert_close(noisy, made["latent"], atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(prior.decode(noisy), made["pt"], atol=2e-4, rtol=1e-3)


def test_size_and_pooled_embedding_reach_the_network_of_sdxl(priors):
    prior = priors["sdxl"]
    noisy, t, condition = drawn(1, 4, 16, 16), torch.tensor([500]), prior.embed(["a man"])
    changed = condition.clone()
    changed[:, -1] += 1.0
    assert (prior.predict(noisy, t, condition) - prior.predict(noisy, t, changed)).abs().max() > 1e-4
    inputs = prior._text.unet_inputs(condition, (768, 512), torch.float32)
    assert inputs["added_cond_kwargs"]["time_ids"].tolist() == [[768, 512, 0, 0, 768, 512]]


@pytest.mark.parametrize("upcast", [True, False])
def test_autoencoder_of_sdxl_runs_in_float32_unless_repaired(pipelines, upcast, tmp_path):
    torch.manual_seed(3)
    components = {**pipelines["sdxl"].components, "vae": small_vae("sdxl", force_upcast=upcast)}
    StableDiffusionXLPipeline(**components).save_pretrained(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stable_diffusion, "network_dtype", lambda _: torch.bfloat16)
        prior = load_prior(PriorSettings(kind="sdxl", path=str(tmp_path)))
    assert prior._vae.dtype == (torch.float32 if upcast else torch.bfloat16)
    assert prior._unet.dtype == torch.bfloat16
    assert prior.decode(drawn(1, 4, 8, 8)).dtype == torch.float32


def test_encoding_undoes_the_scaling_of_decoding(priors, pipelines):
    """With the autoencoder's own arithmetic in between."""
    for family in FAMILIES:
        vae, images = pipelines[family].vae, torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            latents = vae.encode(images * 2 - 1).latent_dist.mean * vae.config.scaling_factor
            decoded = vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5
        torch.testing.assert_close(priors[family].encode(images), latents, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(priors[family].decode(latents), decoded.clamp(0, 1), atol=1e-5, rtol=1e-4)


@dataclass
class Constant(Prior):
    """Answers with a fixed velocity."""

    velocity: torch.Tensor
    alphas_cumprod: torch.Tensor
    prediction = "v_prediction"

    def embed(self, prompts):
        return torch.zeros(len(prompts), 1, 1)

    def truncates(self, prompts):
        return [False] * len(prompts)

    def predict(self, noisy, timesteps, condition):
        return self.velocity[: len(noisy)]

    def decode(self, latents):
        raise NotImplementedError

    def encode(self, images):
        raise NotImplementedError


def test_zero_terminal_snr_stays_finite_up_to_the_last_timestep():
    """Against the scheduler, which has v prediction's own formula of the clean latents."""
    scheduler = schedule({"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True}, "v_prediction")
    assert scheduler.alphas_cumprod[-1] < SMALLEST
    levels = finite_levels(scheduler.alphas_cumprod)
    assert torch.equal(levels[:-1], scheduler.alphas_cumprod[:-1]) and levels[-1] == SMALLEST
    prior = Constant(drawn(2, 4, 8, 8), levels)
    noisy, t, empty = drawn(2, 4, 8, 8, seed=1), torch.tensor(999), torch.zeros(1, 1, 1)
    scheduler.set_timesteps(2)
    expected = scheduler.step(prior.velocity, 999, noisy)
    following = levels[499].expand(2)
    clean, after = ddim_step(prior, noisy, t, following, empty.expand(2, 1, 1), empty, None)
    torch.testing.assert_close(clean, expected.pred_original_sample, atol=2e-2, rtol=1e-2)
    torch.testing.assert_close(after, expected.prev_sample, atol=1e-2, rtol=1e-2)
    for kind in ("latent_paint", "dreamfusion", "uniform"):
        assert weight(levels, kind).isfinite().all()
