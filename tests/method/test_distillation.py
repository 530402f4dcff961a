"""Each kind of score distillation against the formula of its paper, sample by sample on a small untrained prior."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMInverseScheduler
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.geometry.cameras import keyed_noise
from avatargen.method.context import Batch, embed_prompts
from avatargen.method.distillation import INVERSION_STEPS, Samples, distillation_gradient, invert
from avatargen.method.draws import draw
from avatargen.method.generator import Generator
from avatargen.priors import stable_diffusion
from tests.small_prior import write_pipeline

STEP, SCALE, VIEWS = 1, 5.0, 2
"""A step of which the first view lies in the third of 13 parts of the range of timesteps, the second in the eighth."""


@pytest.fixture(scope="module")
def generator(tmp_path_factory) -> Generator:
    """In float32, so that rows of a batch are those of a call of their own up to rounding."""
    torch.manual_seed(0)
    folder = write_pipeline(tmp_path_factory.mktemp("prior"), prediction="v_prediction")
    settings = PriorSettings(path=str(folder), guidance=SCALE, latent_size=16, texture_size=32, weighting="dreamfusion")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stable_diffusion, "network_dtype", lambda _: torch.float32)
        made = Generator.load("anny", "warp", settings, threads=1)
        assert made.context
    return made


class Case:
    """Rendered latents of two avatars with two views, and everything about one sample at a time."""

    def __init__(self, generator: Generator, **prior):
        self.settings = generator.settings.model_copy(update=prior)
        context = replace(generator.context, settings=self.settings)
        self.prior = generator.prior
        method = MethodSettings(phase1_steps=4, phase2_steps=4, views=VIEWS)
        texts = ["a man with green skin", "a girl"]
        prompts = embed_prompts(self.prior, texts, True, "sectors", negative=self.settings.negative_prompt)
        self.batch = Batch(context, method, prompts, torch.tensor([11, 12]))
        self.draws = draw(self.batch, STEP)
        self.latents = torch.randn(2, VIEWS, 4, 16, 16, generator=torch.Generator().manual_seed(1))
        self.noise = keyed_noise(self.batch.keys, STEP, VIEWS, (4, 16, 16))

    def found(self) -> torch.Tensor:
        return distillation_gradient(self.batch, STEP, self.latents, self.draws)

    def expected(self, gradient) -> torch.Tensor:
        """Apply a formula to each sample: gradient(avatar, view, t)."""
        rows = []
        for avatar in range(2):
            t = [self.time(avatar, view) for view in range(VIEWS)]
            rows.append(torch.stack([gradient(avatar, view, t[view]) for view in range(VIEWS)]))
        return torch.stack(rows)

    def time(self, avatar: int, view: int) -> int:
        low, high = self.settings.t_range
        return int((low + float(self.draws.timestep[avatar, view]) * (high - low)) * 1000)

    def named(self, avatar: int, view: int) -> torch.Tensor:
        return self.batch.prompts.by_view[self.draws.views[avatar, view], avatar]

    def noisy(self, avatar: int, view: int, t: int) -> torch.Tensor:
        a = self.prior.alphas_cumprod[t]
        return a.sqrt() * self.latents[avatar, view] + (1 - a).sqrt() * self.noise[avatar, view]

    def epsilon(self, noisy: torch.Tensor, t: int, condition: torch.Tensor) -> torch.Tensor:
        a = self.prior.alphas_cumprod[t]
        v = self.prior.predict(noisy[None], torch.tensor([t]), condition[None])[0]
        return a.sqrt() * v + (1 - a).sqrt() * noisy

    def three(self, avatar: int, view: int, t: int):
        """Weight, prediction for the prompt and for none, of the sample with random noise."""
        noisy = self.noisy(avatar, view, t)
        named, empty = (
            self.epsilon(noisy, t, which) for which in (self.named(avatar, view), self.batch.prompts.empty[0])
        )
        return 1 - self.prior.alphas_cumprod[t], named, empty


def agree(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.abs().mean() > 0.01
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)


def test_score_distillation_is_that_of_dreamfusion(generator):
    case = Case(generator)

    def gradient(avatar, view, t):
        w, named, empty = case.three(avatar, view, t)
        return w * (empty + SCALE * (named - empty) - case.noise[avatar, view])

    agree(case.found(), case.expected(gradient))


def test_below_the_interval_the_prediction_is_the_prompts(generator):
    case = Case(generator, guidance_from=0.4)
    times = [case.time(avatar, view) for avatar in range(2) for view in range(VIEWS)]
    assert min(times) < 400 < max(times)

    def gradient(avatar, view, t):
        w, named, empty = case.three(avatar, view, t)
        guided = empty + SCALE * (named - empty) if t >= 400 else named
        return w * (guided - case.noise[avatar, view])

    agree(case.found(), case.expected(gradient))


def test_views_below_the_interval_are_not_asked_without_a_prompt(generator, monkeypatch):
    """Of two views of two avatars one is below: six evaluations instead of eight; and none where all are."""
    asked = []
    predict = generator.prior.predict

    def counted(noisy, *rest):
        asked.append(len(noisy))
        return predict(noisy, *rest)

    monkeypatch.setattr(generator.prior, "predict", counted)
    for guidance_from in (0.0, 0.4, 1.0):
        Case(generator, guidance_from=guidance_from).found()
    assert asked == [8, 6, 4]


def test_classifier_scores_drop_noise_and_unconditional_score(generator):
    case = Case(generator, distillation="csd")

    def gradient(avatar, view, t):
        w, named, empty = case.three(avatar, view, t)
        return w * SCALE * (named - empty)

    agree(case.found(), case.expected(gradient))


@pytest.mark.parametrize("negative", ["", "a blue girl"])
def test_noise_free_distillation_is_that_of_its_paper(generator, negative):
    """delta_D + s delta_C, where delta_D is the unconditional prediction below 200, less the negative one above."""
    case = Case(generator, distillation="nfsd", negative_prompt=negative, t_range=(0.0, 0.6))
    times = [case.time(avatar, view) for avatar in range(2) for view in range(VIEWS)]
    assert min(times) < 200 < max(times)

    def gradient(avatar, view, t):
        w, named, empty = case.three(avatar, view, t)
        bad = case.epsilon(case.noisy(avatar, view, t), t, case.batch.prompts.negative[0])
        domain = empty if t < 200 else empty - bad
        return w * (domain + SCALE * (named - empty))

    agree(case.found(), case.expected(gradient))


def test_a_negative_prompt_takes_the_empty_ones_place(generator):
    case = Case(generator, negative_prompt="a blue girl")

    def gradient(avatar, view, t):
        w, named, _ = case.three(avatar, view, t)
        bad = case.epsilon(case.noisy(avatar, view, t), t, case.batch.prompts.negative[0])
        return w * (bad + SCALE * (named - bad) - case.noise[avatar, view])

    agree(case.found(), case.expected(gradient))


def test_opposite_views_push_perpendicularly(generator):
    """Perp-Neg: the part of the opposite view's change that is perpendicular to the prompt's is subtracted."""
    case = Case(generator, opposite_view=0.5)
    names, opposite = case.batch.prompts.words.names, case.batch.prompts.opposite
    assert names[opposite[names.index("45 left view")]] == "135 left view"

    def gradient(avatar, view, t):
        w, named, empty = case.three(avatar, view, t)
        other = case.batch.prompts.by_view[opposite[case.draws.views[avatar, view]], avatar]
        change = case.epsilon(case.noisy(avatar, view, t), t, other) - empty
        along = named - empty
        away = change - (change * along).sum() / (along * along).sum() * along
        return w * (empty + SCALE * (along - 0.5 * away) - case.noise[avatar, view])

    agree(case.found(), case.expected(gradient))


def test_asynchronous_distillation_looks_a_tenth_further(generator):
    case = Case(generator, distillation="asd")

    def gradient(avatar, view, t):
        w, named, empty = case.three(avatar, view, t)
        later = int(t + 0.1 * (t - 0.02 * 1000))
        reference = case.epsilon(case.noisy(avatar, view, later), later, case.named(avatar, view))
        return w * (empty + SCALE * (named - empty) - reference)

    agree(case.found(), case.expected(gradient))


def test_interval_matching_compares_two_points_of_the_inversion(generator):
    case = Case(generator, distillation="ism")

    def gradient(avatar, view, t):
        below = max(t - 50, 0)
        times = [0, below // 3, below * 2 // 3, below, t]
        noisy, empty = case.latents[avatar, view], case.batch.prompts.empty[0]
        for now, following in pairwise(times):
            a, next_a = case.prior.alphas_cumprod[now], case.prior.alphas_cumprod[following]
            reference = case.epsilon(noisy, now, empty)
            clean = (noisy - (1 - a).sqrt() * reference) / a.sqrt()
            noisy = next_a.sqrt() * clean + (1 - next_a).sqrt() * reference
        named, without = (case.epsilon(noisy, t, which) for which in (case.named(avatar, view), empty))
        return (1 - case.prior.alphas_cumprod[t]) * (without + SCALE * (named - without) - reference)

    agree(case.found(), case.expected(gradient))


def test_inversion_is_that_of_diffusers(generator):
    """Timesteps that are multiples of a step of its inverse scheduler: 0, 200, 400, 600, then 650 by hand."""
    prior, empty = generator.prior, generator.prior.embed([""])
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    t = torch.tensor([650, 650])
    samples = Samples(latents, latents, t, empty.expand(2, -1, -1), empty.expand(2, -1, -1), empty, 2, [0])
    levels = prior.alphas_cumprod
    betas = (1 - levels / torch.cat([torch.ones(1), levels[:-1]])).tolist()
    scheduler = DDIMInverseScheduler(trained_betas=betas, prediction_type="v_prediction", clip_sample=False)
    scheduler.set_timesteps(5)
    noisy = latents
    for now in range(0, 200 * INVERSION_STEPS, 200):
        output = prior.predict(noisy, torch.tensor([now] * 2), empty.expand(2, -1, -1))
        noisy = scheduler.step(output, now + 200, noisy).prev_sample
    epsilon = torch.stack([Case.epsilon(Case(generator), one, 600, empty[0]) for one in noisy])
    found, reference = invert(prior, samples)
    torch.testing.assert_close(reference, epsilon, atol=1e-3, rtol=1e-3)
    a, b = levels[600], levels[650]
    expected = b.sqrt() * (noisy - (1 - a).sqrt() * epsilon) / a.sqrt() + (1 - b).sqrt() * epsilon
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_guided_estimates_are_rescaled_then_thresholded(generator):
    case = Case(generator, guidance_rescale=0.7, dynamic_threshold=1.5)

    def gradient(avatar, view, t):
        w, named, empty = case.three(avatar, view, t)
        noisy, a = case.noisy(avatar, view, t), case.prior.alphas_cumprod[t]
        guided = empty + SCALE * (named - empty)
        clean, plain = ((noisy - (1 - a).sqrt() * one) / a.sqrt() for one in (guided, named))
        clean = rescale_noise_cfg(clean[None], plain[None], 0.7)[0]
        largest = max(1.5, float(clean.abs().flatten().quantile(0.995)))
        clean = clean.clamp(-largest, largest) * 1.5 / largest
        return w * ((noisy - a.sqrt() * clean) / (1 - a).sqrt() - case.noise[avatar, view])

    agree(case.found(), case.expected(gradient))


@pytest.mark.parametrize(
    "prior", [{"distillation": kind} for kind in ("sds", "csd", "nfsd", "asd", "ism")] + [{"opposite_view": 0.5}]
)
def test_gradients_do_not_depend_on_batch_mates(generator, prior):
    """To the bit, in a batch of the same size."""
    one, other = (Case(generator, guidance_from=0.4, **prior) for _ in range(2))
    other.latents[1] += 1.0
    found, expected = other.found(), one.found()
    assert torch.equal(found[0], expected[0]) and not torch.equal(found[1], expected[1])
