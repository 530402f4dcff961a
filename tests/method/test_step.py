"""What a step adds up: each loss with its sign and its weight, at the rates and with the noise of the settings."""

from dataclasses import replace

import pytest
import torch

from avatargen.config.experiment import JudgeSettings
from avatargen.config.settings import MethodSettings
from avatargen.method import geometry_losses
from avatargen.method.context import Batch, embed_prompts, for_views
from avatargen.method.distillation import distillation_gradient
from avatargen.method.draws import draw
from avatargen.method.expression_reading import Reading
from avatargen.method.generator import Generator
from avatargen.method.latents import render_latents
from avatargen.method.optimise import take_step
from avatargen.method.posing import resting_vertices
from avatargen.method.segmentation import Masks
from avatargen.method.state import State, initial_state
from avatargen.priors import stable_diffusion
from avatargen.priors.clip import ClipGuide
from avatargen.priors.foreground import Denoising
from tests.small_clip import write_clip
from tests.small_prior import small_settings

SILENT = {
    "distil_silhouette": 0.0,
    "segmentation_weight": 0.0,
    "reading_weight": 0.0,
    "shape_prior_weight": 0.0,
    "laplacian_weight": 0.0,
    "offset_weight": 0.0,
    "gradient_clip": 1e12,
}
"""Settings of a step in which nothing moves the geometry."""
CUE = {"shading_alpha": 0.5, "shading_end": 0.5}
OFFSETS = ("mlp_w1", "mlp_b1", "mlp_w2", "mlp_b2", "mlp_w3")
MOVED = {
    "distil_silhouette": ("shape", "expression", *OFFSETS),
    "distil_shading": ("shape", "expression", *OFFSETS),
    "segmentation_weight": ("shape", "expression", *OFFSETS),
    "reading_weight": ("expression",),
    "shape_prior_weight": ("shape", "expression"),
    "laplacian_weight": OFFSETS,
    "offset_weight": OFFSETS,
}
"""What each weight moves."""


@pytest.fixture(scope="module")
def generator(tmp_path_factory) -> Generator:
    """In float32, so that gradients add up."""
    settings = small_settings(tmp_path_factory.mktemp("prior"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stable_diffusion, "network_dtype", lambda _: torch.float32)
        made = Generator.load("anny", "warp", settings, threads=1)
        assert made.context
    return made


def begin(generator: Generator, clip: ClipGuide | None = None, **method) -> tuple[Batch, State]:
    """Two avatars before their first step."""
    settings, keys = MethodSettings(**{"views": 1, "mask_views": 2, "phase1_steps": 0, **method}), [5, 6]
    prompts = embed_prompts(generator.prior, ["a man", "a girl"], True, "latent_paint", clip)
    size = 2 * generator.settings.latent_size
    state = initial_state(generator.head, settings, generator.settings, generator.context.start, keys, size)
    return Batch(generator.context, settings, prompts, torch.tensor(keys)), state


def within(generator: Generator, **method) -> tuple[Batch, State]:
    """The second step of phase 2, of heads that differ from the template; masks and readings are given."""
    batch, state = begin(generator, **{**SILENT, **method})
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        state.shape += 0.1 * torch.randn(state.shape.shape, generator=noise)
        state.expression += 0.2
        state.mlp["mlp_w3"] += 0.02 * torch.randn(state.mlp["mlp_w3"].shape, generator=noise)
    foreground = torch.zeros_like(state.masks.foreground)
    foreground[..., 4:28, 6:20] = 1
    state.masks = Masks(foreground, torch.ones_like(state.masks.valid))
    state.reading = Reading(torch.full_like(state.expression, 0.5), torch.ones(2, dtype=torch.bool))
    state.step = 1  # not one that refreshes them
    return batch, state


def gradients(generator: Generator, **method) -> dict[str, torch.Tensor]:
    """Return the geometry's gradients, by name."""
    batch, state = within(generator, **method)
    take_step(batch, state)
    return {name: value.grad.clone() for name, value in state.geometry().items()}


@pytest.mark.parametrize("name", MOVED)
def test_each_weight_scales_its_own_gradient(generator, name):
    cue = CUE if name == "distil_shading" else {}
    one, two = (gradients(generator, **cue, **{name: weight}) for weight in (1.0, 2.0))
    assert {key for key, value in one.items() if value.any()} == {*MOVED[name]}
    for key, value in one.items():
        torch.testing.assert_close(two[key], 2 * value, rtol=1e-3, atol=1e-3 * float(value.abs().max()))


def test_the_gradient_is_the_sum_of_all(generator):
    weights = {name: float(k) for k, name in enumerate(MOVED, start=1)}
    parts = [gradients(generator, **CUE, **{name: weight}) for name, weight in weights.items()]
    for key, value in gradients(generator, **CUE, **weights).items():
        expected = torch.stack([part[key] for part in parts]).sum(0)
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("name", [name for name in MOVED if name.endswith("_weight")])
def test_a_step_against_the_gradient_lowers_the_loss(generator, name):
    loss = "segmentation" if name == "segmentation_weight" else "regularisation"
    batch, state = within(generator, **{name: 1.0})
    start = {key: value.detach().clone() for key, value in state.geometry().items()}
    before = take_step(batch, state)[loss]
    with torch.no_grad():
        size = torch.cat([value.grad.flatten() for value in state.geometry().values()]).norm()
        for key, value in state.geometry().items():
            value.copy_(start[key] - 1e-3 * value.grad / size)
    state.step = 1
    assert (take_step(batch, state)[loss].sum() < before.sum()).all() and (before > 0).all()


def test_the_texture_follows_score_distillation(generator):
    batch, state = begin(generator, phase1_steps=4)
    draws = draw(batch, 0)
    latents, _ = render_latents(batch, state, resting_vertices(batch, state), draws)
    gradient = distillation_gradient(batch, 0, latents, draws)
    (expected,) = torch.autograd.grad(latents, state.texture, gradient)
    take_step(batch, state)
    assert expected.abs().max() > 0
    torch.testing.assert_close(state.texture.grad, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@torch.no_grad()
def similarity(batch: Batch, state: State) -> torch.Tensor:
    """Return the cosine of each avatar's first view, shading cue included, with its prompt."""
    clip, texts, draws = batch.prompts.clip, batch.prompts.clip_by_view, draw(batch, 0)
    assert clip is not None and texts is not None
    latents, _ = render_latents(batch, state, resting_vertices(batch, state), draws)
    images = batch.context.prior.decode(latents.flatten(0, 1))
    return clip.similarity(images, for_views(texts, draws.plain_views).flatten(0, 1))


def test_clip_guidance_raises_the_similarity(generator, tmp_path):
    clip = ClipGuide.load("tiny", JudgeSettings(model=write_clip(tmp_path / "clip").name), tmp_path)
    batch, state = begin(generator, clip, guide="clip", phase1_steps=20, clip_weight=500.0)
    before = similarity(batch, state)
    torch.testing.assert_close(take_step(batch, state)["clip"], 500 * (1 - before))
    while state.step < 20:
        take_step(batch, state)
    state.step = 0  # the same view
    assert (similarity(batch, state) > before).all()


def test_rates_fall_as_the_settings_say(generator):
    """Linearly: the texture's over all steps, the geometry's over phase 2."""
    context = replace(generator.context, settings=generator.settings.model_copy(update={"texture_decay": 0.2}))
    rates = {"lr_shape": 1e-3, "lr_expression": 2e-3, "lr_offsets": 3e-3}
    batch, state = begin(generator, phase1_steps=2, phase2_steps=2, geometry_decay=0.5, **rates)
    batch = Batch(context, batch.method, batch.prompts, batch.keys)
    texture, geometry = [], []
    for _ in range(4):
        take_step(batch, state)
        texture.append(state.texture_adam.param_groups[0]["lr"] / context.settings.lr_texture)
        geometry.append([group["lr"] for group in state.geometry_adam.param_groups])
    assert texture == pytest.approx([1.0, 0.8, 0.6, 0.4])
    assert geometry[2] == pytest.approx([1e-3, 2e-3, 3e-3]) and geometry[3] == pytest.approx([0.75e-3, 1.5e-3, 2.25e-3])


def test_masks_and_readings_are_denoised_as_each_is_set(generator, monkeypatch):
    how = {"mask_timestep": 0.9, "mask_steps": 2, "mask_guidance": 3.0}
    other = {"reading_timestep": 0.4, "reading_steps": 1, "reading_guidance": 1.5}
    context = replace(generator.context, settings=generator.settings.model_copy(update={**how, **other}))
    asked = {}
    for name in ("estimate_masks", "read_expression"):
        known = getattr(geometry_losses, name)

        def passed_on(*arguments, name=name, known=known):
            asked[name] = arguments[-1]
            return known(*arguments)

        monkeypatch.setattr(geometry_losses, name, passed_on)
    batch, state = begin(generator)
    take_step(Batch(context, batch.method, batch.prompts, batch.keys), state)
    assert asked == {"estimate_masks": Denoising(0.9, 2, 3.0), "read_expression": Denoising(0.4, 1, 1.5)}
