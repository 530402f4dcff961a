"""Flicker of a ball whose decoder is faithful, and of one whose decoder is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from avatargen.config.experiment import EvaluationSettings
from avatargen.geometry.types import HeadParameters
from eval.diagnostics.flicker import FRAMES, STEP, Flicker, blink, exported_frame, neural_frame, turntable
from eval.views import RenderTools, decode_views
from tests.eval.conftest import ResizePrior, SphereHead

SETTINGS = EvaluationSettings(size=48)


class BlinkingHead(SphereHead):
    """A sphere whose lids dent its front."""

    def __init__(self) -> None:
        super().__init__()
        self.expression_names = ("eyeBlinkLeft", "eyeBlinkRight")
        self.expression_bounds = torch.tensor([[0.0, 0.0], [1.0, 1.0]])

    def vertices(self, parameters: HeadParameters) -> torch.Tensor:
        front = (self.sphere[:, 2:] > 0.1).float() * torch.tensor([0.0, 0.0, -0.005])
        return super().canonical(parameters.shape) + parameters.expression.sum(1)[:, None, None] * front


class Shimmering(ResizePrior):
    """A decoder that adds a pattern which stays on the screen."""

    def decode(self, latents):
        made = super().decode(latents)
        stripes = 0.1 * torch.sin(torch.arange(made.shape[-1]) / 2.0)
        return (made + stripes).clamp(0, 1)


@pytest.fixture
def soft(avatar):
    """A ball of smooth, pale colours."""
    latent, baked = 0.3 * avatar.latent_texture, 0.3 * avatar.baked_texture + 0.35
    return replace(avatar, expression=torch.zeros(2), latent_texture=latent, baked_texture=baked)


@pytest.fixture
def tools(renderer, prior_settings) -> RenderTools:
    """Latents of 32 x 32, decoded to 128 x 128."""
    settings = prior_settings.model_copy(update={"latent_size": 32})
    return RenderTools(BlinkingHead(), renderer, ResizePrior(), settings, "sphere", "warp")


def found(avatar, tools, make_row):
    measured = Flicker().measure(avatar, make_row(), tools, SETTINGS)
    return {(each.condition, each.name): each.value for each in measured.measures}, measured.pictures


def test_neural_frames_are_the_judges_before_they_are_resized(soft, tools):
    arc = turntable(soft, tools, SETTINGS, 0.0)
    decoded = decode_views(soft, tools, arc.cameras, SETTINGS.background)
    frame = neural_frame(soft, tools, SETTINGS)(arc.vertices[:1], arc.cameras.view(2))
    assert np.array_equal(frame[0], (decoded[2].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


def test_frames_without_latents_are_encoded_and_decoded(soft, tools):
    truth, arc = replace(soft, latent_texture=None), turntable(soft, tools, SETTINGS, 0.0)
    decoded = decode_views(truth, tools, arc.cameras.view(0), SETTINGS.background)
    frame = neural_frame(truth, tools, SETTINGS)(arc.vertices[:1], arc.cameras.view(0))
    assert np.array_equal(frame[0], (decoded[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


def test_arcs_have_even_steps_around_their_middle(soft, tools):
    arc = turntable(soft, tools, SETTINGS, 135.0)
    assert arc.cameras.azimuth[0].diff().tolist() == pytest.approx([STEP] * (FRAMES - 1))
    assert float(arc.cameras.azimuth.mean()) == pytest.approx(135.0) and len(arc.vertices) == FRAMES


def test_a_blink_begins_and_ends_open_and_moves_only_the_lids(soft, tools):
    lids = blink(soft, tools, SETTINGS)
    shift = (lids.vertices - lids.vertices[:1]).norm(dim=-1)
    assert shift[0].max() == shift[-1].max() == 0 and shift[4].max() == pytest.approx(0.01)
    assert (shift[:, tools.head.sphere[:, 2] <= 0.1] == 0).all()
    assert lids.cameras.azimuth.unique().tolist() == [0.0]


def test_a_decoder_that_paints_the_screen_flickers(soft, tools, make_row):
    """Stripes of 25.5 levels, 12.6 pixels wide, that a head turning by 2.5° moves under."""
    true, _ = found(soft, tools, make_row)
    shimmers, _ = found(soft, replace(tools, prior=Shimmering()), make_row)
    for arc in ("turntable 0°", "turntable 135°"):
        assert true[arc, "change_exported"] == shimmers[arc, "change_exported"] < 1
        assert shimmers[arc, "change_neural"] > true[arc, "change_neural"] + 3
        assert shimmers[arc, "change_apart"] > true[arc, "change_apart"] + 3
    assert shimmers["blink", "change_neural"] < 1  # the camera and most of the head stand still


def test_points_where_nothing_moves_change_by_their_decoder_alone(soft, tools, make_row):
    """Stripes of the dented front reach other points through the decoder, which looks six pixels far."""
    stripes = (0.5 + 0.3 * torch.sin(40 * torch.linspace(0, 6.28, 128))).expand(3, 64, -1)
    striped = replace(soft, latent_texture=2 * stripes - 1, baked_texture=stripes)
    values, _ = found(striped, tools, make_row)
    assert values["blink", "still_exported"] == 0 < values["blink", "still_neural"]
    assert ("turntable 0°", "still_exported") not in values


def test_both_modes_are_timed_but_for_avatars_without_latents(soft, tools, make_row):
    values, pictures = found(soft, tools, make_row)
    assert values["", "frame_neural_s"] > 0 and values["", "frame_exported_s"] > 0
    assert list(pictures) == ["changes"]
    truth, _ = found(replace(soft, latent_texture=None), tools, make_row)
    assert ("", "frame_neural_s") not in truth and truth["", "frame_exported_s"] > 0


def test_a_head_without_lids_has_no_blink(soft, tools, make_row):
    values, _ = found(replace(soft, expression=torch.zeros(1)), replace(tools, head=SphereHead()), make_row)
    assert {condition for condition, _ in values} == {"", "turntable 0°", "turntable 135°"}


def test_exported_frames_have_the_size_of_decoded_ones(soft, tools):
    arc = turntable(soft, tools, SETTINGS, 0.0)
    modes = [make(soft, tools, SETTINGS) for make in (neural_frame, exported_frame)]
    frames = [mode(arc.vertices[:1], arc.cameras.view(0)) for mode in modes]
    assert frames[0].shape == frames[1].shape == (1, 128, 128, 3)
