"""Faces that are seen from behind."""

import math
from dataclasses import replace

import pytest
import torch

from avatargen.config.loading import load_library
from avatargen.config.places import ROOT
from avatargen.geometry.cameras import evaluation_cameras
from avatargen.headworld.truth import true_head
from avatargen.io.avatar_file import Avatar
from avatargen.priors.view_prompts import VIEW_WORDS
from eval.janus import _names, janus
from eval.views import RenderTools
from tests.eval.conftest import ResizePrior
from tests.eval.janus_head import two_faced

GREY = (0.5, 0.5, 0.5)
CAMERAS = evaluation_cameras(1, views=8)


class BallPrior(ResizePrior):
    """A prior that knows balls: red from the front, blue from elsewhere."""

    def embed(self, prompts):
        return torch.tensor([float("front" in prompt) for prompt in prompts]).view(-1, 1, 1)

    def predict(self, noisy, timesteps, condition):
        red, blue = torch.tensor([1.0, -1.0, -1.0]), torch.tensor([-1.0, -1.0, 1.0])
        clean = torch.where(condition[:, 0] > 0, red, blue)[:, :, None, None]
        level = self.alphas_cumprod[timesteps][:, None, None, None]
        return (noisy - level.sqrt() * clean) / (1 - level).sqrt()


@pytest.fixture
def tools(head, renderer, prior_settings) -> RenderTools:
    return RenderTools(head, renderer, BallPrior(), prior_settings, "anny", "warp")


def painted(avatar, colour):
    texture = torch.tensor(colour)[:, None, None].expand_as(avatar.baked_texture)
    return replace(avatar, latent_texture=2 * texture - 1, baked_texture=texture)


def test_rear_views_like_a_front_are_counted(avatar, tools):
    assert janus(avatar, tools, CAMERAS, GREY) == 0, "blue behind"
    assert janus(painted(avatar, (1.0, 0.0, 0.0)), tools, CAMERAS, GREY) == 1
    assert janus(painted(avatar, (0.0, 0.0, 1.0)), tools, CAMERAS, GREY) == 0, "front views do not count"


def test_one_of_three_rear_views_is_a_third(avatar, tools, monkeypatch):
    measured = torch.tensor([0.1, -0.1, 0.0])
    monkeypatch.setattr("eval.janus.frontness", lambda prior, latents, *_: measured[: len(latents)])
    assert janus(avatar, tools, CAMERAS, GREY) == pytest.approx(1 / 3)


def test_without_a_camera_behind_nothing_is_measured(avatar, tools):
    assert math.isnan(janus(avatar, tools, evaluation_cameras(1, views=1), GREY))


@pytest.mark.parametrize(
    ("words", "azimuth", "front", "rear"),
    [
        ("sectors", 180.0, "front view", "back view"),
        ("sectors", 0.0, "front view", "back view"),
        ("sectors", 135.0, "45 left view", "135 left view"),
        ("sectors", -135.0, "45 right view", "135 right view"),
        ("sectors", 225.0, "45 right view", "135 right view"),
        ("sectors", 45.0, "45 left view", "135 left view"),
        ("latent_paint", 135.0, "front view", "back view"),
        ("latent_paint", 180.0, "front view", "back view"),
    ],
)
def test_names_of_a_view_and_of_its_mirror(words, azimuth, front, rear):
    cameras = replace(evaluation_cameras(1, views=1), azimuth=torch.tensor([[azimuth]]))
    assert _names(cameras, VIEW_WORDS[words]) == ([front], [rear])


@pytest.mark.slow
def test_the_shipped_prior_finds_a_constructed_janus_head():
    """A head whose back is its front is found, as a mesh; the ground-truth head and its mesh are not."""
    settings = load_library().priors["mini"]
    tools = RenderTools.load("anny", "warp", settings, ROOT)
    prompt = "a woman with purple skin, an open mouth, blue eyes and red lipstick"
    truth = true_head(prompt, (), tools.head)
    assert truth is not None
    parts = {**truth.parameters.first(), "latent_texture": None, "baked_texture": truth.texture}
    avatar = Avatar("woman-1234", prompt, 0, "oracle", tools.head.id, tools.prior.id, **parts)
    faces = two_faced(avatar, tools)
    assert janus(avatar, tools, CAMERAS, GREY) == 0
    assert janus(faces, tools.fitting(faces), CAMERAS, GREY) == 1
