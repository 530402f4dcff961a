"""Expressions are read in what the prior makes, and pull those of the heads; readers whose answers are known."""

from dataclasses import replace

import pytest
import torch

from avatargen.config.settings import CameraSettings, MethodSettings, PriorSettings
from avatargen.geometry.cameras import CENTRE, FACE
from avatargen.method.context import Batch, embed_prompts
from avatargen.method.expression_reading import (
    Reading,
    read_coefficients,
    read_expression,
    reading_cameras,
    reading_loss,
    reading_of,
)
from avatargen.method.generator import Generator
from avatargen.method.optimise import take_step
from avatargen.method.state import initial_state, restore, save_checkpoint
from avatargen.priors.expression_reader import ExpressionReader
from avatargen.priors.foreground import Denoising
from tests.small_prior import small_settings
from tests.small_reader import ACTIONS

FAST = {"phase1_steps": 0, "phase2_steps": 60, "views": 1, "mask_views": 2, "mask_period": 20, "offsets": False}


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> PriorSettings:
    return small_settings(tmp_path_factory.mktemp("prior"), reading_steps=1)


@pytest.fixture(scope="module")
def generator(settings) -> Generator:
    return Generator.load("anny", "warp", settings, threads=1)


class Knowing(ExpressionReader):
    """Answers the same whatever it sees, and counts the images."""

    def __init__(self, answer: list[float], actions: tuple[str, ...] = ("jawOpen", "eyeBlinkLeft")):
        self.answer, self.actions, self.seen = torch.tensor(answer), actions, 0

    def read(self, latents):
        self.seen += latents.shape[:2].numel()
        return self.answer.expand(len(latents), -1)

    @classmethod
    def load(cls, settings, root, prior):
        raise NotImplementedError


def begin(generator: Generator, reader: ExpressionReader | None, **method):
    head, method = generator.head, MethodSettings(**{**FAST, **method})
    pairs = torch.tensor(read_coefficients(head, reader), dtype=torch.long).view(-1, 2).T
    context = replace(generator.context, reader=reader, readable=pairs)
    prompts = embed_prompts(generator.prior, ["a man", "a girl"], True, generator.settings.view_words)
    batch, size = Batch(context, method, prompts, torch.tensor([0, 3])), 2 * generator.settings.latent_size
    return batch, initial_state(head, method, generator.settings, context.start, [0, 3], size)


def coefficient(generator: Generator, state, name: str) -> torch.Tensor:
    return state.expression.detach()[:, generator.head.expression_names.index(name)]


def test_the_expression_ends_where_it_was_read(generator):
    """Coefficients that are not read stay where the outline leaves them: within a tenth of neutral."""
    batch, state = begin(generator, Knowing([0.9, 0.4]))
    for _ in range(60):
        take_step(batch, state)
    assert coefficient(generator, state, "jawOpen").tolist() == pytest.approx([0.9, 0.9], abs=0.06)
    assert coefficient(generator, state, "eyeBlinkLeft").tolist() == pytest.approx([0.4, 0.4], abs=0.06)
    assert coefficient(generator, state, "mouthPucker").abs().max() < 0.1


@pytest.mark.parametrize("method", [{"reading_weight": 0.0}, {"expression": False}])
def test_nothing_is_read_where_nothing_follows(generator, method):
    reader = Knowing([0.9, 0.4])
    batch, state = begin(generator, reader, **method)
    take_step(batch, state)
    assert reader.seen == 0 and not state.reading.known.any()


def test_readings_are_refreshed_with_the_masks(generator):
    reader = Knowing([0.9, 0.4])
    batch, state = begin(generator, reader, mask_period=2)
    counts = []
    for _ in range(4):
        take_step(batch, state)
        counts.append(reader.seen)
    images = 2 * 3 * len(generator.context.mask_latents)  # two avatars, three views
    assert counts == [images, images, 2 * images, 2 * images]


@pytest.mark.parametrize("answer", [float("nan"), float("inf")])
def test_a_reading_that_is_not_finite_does_not_pull(generator, answer):
    batch, state = begin(generator, Knowing([answer, 0.5]))
    for _ in range(3):
        take_step(batch, state)
    assert not state.reading.known.any() and not state.diverged.any()
    assert state.expression.isfinite().all() and coefficient(generator, state, "eyeBlinkLeft").abs().max() < 0.05


def test_what_was_read_is_part_of_the_checkpoint(generator, tmp_path):
    batch, state = begin(generator, generator.context.reader)
    for _ in range(3):
        take_step(batch, state)
    _, again = begin(generator, generator.context.reader)
    folders = [tmp_path / name for name in "ab"]
    for row, folder in enumerate(folders):
        folder.mkdir()
        save_checkpoint(state, row, folder)
    restore(again, folders)
    assert state.reading.known.all() and (state.reading.expression != 0).sum() >= 2
    assert torch.equal(again.reading.expression, state.reading.expression)
    assert torch.equal(again.reading.known, state.reading.known)
    take_step(batch, state), take_step(batch, again)
    assert torch.equal(again.expression, state.expression)


def test_views_are_averaged_and_avatars_kept_apart(generator):
    """A reader of the latents' mean, and hardly any noise: what is read is what was rendered."""

    class Bright(Knowing):
        def read(self, latents):
            return latents.mean(dim=(1, 2, 3, 4))[:, None]

    prior, bright = generator.prior, Bright([0.0], ("jawOpen",))
    latents = torch.randn(2, 3, prior.latent_channels, 16, 16, generator=torch.Generator().manual_seed(0))
    condition, none = prior.embed(["a man"]).expand(2, 3, -1, -1), torch.zeros_like(latents)
    how = Denoising(0.001, 1, 1.0)
    found = read_expression(prior, bright, latents, none, condition, prior.embed([""]), how)
    alone = read_expression(prior, bright, latents[1:], none[1:], condition[1:], prior.embed([""]), how)
    expected = latents.mean(dim=(1, 2, 3, 4))
    assert torch.equal(found[1:], alone)
    assert found[:, 0].tolist() == pytest.approx(expected.tolist(), abs=0.02)
    assert abs(float(found[0] - found[1])) > 1e-4


def test_readings_reach_the_coefficients_of_their_names(generator):
    head = generator.head
    pairs = read_coefficients(head, Knowing([], ("mouthSmileLeft", "wink", "jawOpen")))
    assert [(k, head.expression_names[e]) for k, e in pairs] == [(0, "mouthSmileLeft"), (2, "jawOpen")]
    assert read_coefficients(head, None) == []
    reading = reading_of(torch.tensor([[0.2, 9.0, 3.0]]), head.expression_bounds, torch.tensor(pairs).T)
    assert reading.expression[0, pairs[0][1]] == pytest.approx(0.2) and reading.expression[0, pairs[1][1]] == 1.0
    assert (reading.expression != 0).sum() == 2


def test_the_loss_knows_ranges_columns_and_unread_avatars():
    expression = torch.tensor([[0.5, 3.0], [0.5, 3.0]], requires_grad=True)
    reading = Reading(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([True, False]))
    loss = reading_loss(expression, reading, torch.tensor([[0.0, 0.0], [2.0, 1.0]]), torch.tensor([0]))
    assert loss.tolist() == [0.0625, 0.0]  # (0.5 / 2) squared
    loss.sum().backward()
    assert expression.grad is not None and expression.grad.tolist() == [[-0.25, 0.0], [0.0, 0.0]]


def test_cameras_are_close_ups_where_the_prior_has_them():
    far, near = (reading_cameras(CameraSettings(close=close, close_fov=(10, 12)), 2) for close in (0.0, 0.3))
    assert far.azimuth.tolist() == [[-22.5, 0.0, 22.5]] * 2
    assert far.fov[0, 0] == 18.0 and near.fov[0, 0] == 11.0
    assert torch.allclose(far.target[1, 2], torch.tensor(CENTRE)) and torch.allclose(
        near.target[1, 2], torch.tensor(FACE)
    )


def test_a_saved_reader_has_its_names(generator):
    assert generator.context.reader is not None and generator.context.reader.actions == ACTIONS
