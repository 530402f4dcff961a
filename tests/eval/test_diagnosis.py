"""Failure signatures on a sphere whose faults are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from avatargen.config.experiment import EvaluationSettings
from avatargen.geometry.cameras import evaluation_cameras
from avatargen.io.history import History
from avatargen.priors import foreground
from eval.diagnosis import diagnose, foreground_changes, mask_change
from eval.findings import FINDINGS, Diagnosis
from eval.views import RenderTools, decode_views, neural_colour, protocol_cameras
from tests.eval.conftest import RADIUS

SETTINGS = EvaluationSettings(views=4, size=64)


@pytest.fixture(scope="module")
def tools(head, renderer, resize_prior, prior_settings) -> RenderTools:
    return RenderTools(head, renderer, resize_prior, prior_settings, "sphere", "warp")


@pytest.fixture(autouse=True)
def content(monkeypatch):
    """A prior that changes nothing."""
    monkeypatch.setattr(foreground, "denoise", lambda _prior, latents, *_: latents)


def found(avatar, tools, history=None):
    decoded = decode_views(avatar, tools, protocol_cameras(avatar, tools, SETTINGS), SETTINGS.background)
    return diagnose(avatar, tools, SETTINGS, neural_colour(decoded, SETTINGS.size), history or History())


def test_a_sound_avatar_has_no_findings(avatar, tools):
    grey = replace(avatar, latent_texture=0.3 * avatar.latent_texture, baked_texture=0.3 * avatar.baked_texture + 0.35)
    measured = found(grey, tools)
    assert measured.findings == [] and math.isnan(measured.masks)
    assert measured.saturated == measured.at_bounds == measured.at_limit == 0


def test_full_channels_are_saturated(avatar, tools):
    assert found(avatar, tools).saturated > 0.6  # all but where the halves blend
    assert "saturated" in found(avatar, tools).findings


def test_shape_at_its_bound_and_offsets_at_their_limit(avatar, tools):
    config = {"method": {"offset_limit_mm": 30.0}}
    offsets = torch.zeros_like(avatar.offsets)
    offsets[: len(offsets) // 4, 0] = 0.03
    bad = found(replace(avatar, shape=torch.tensor([1.0]), offsets=offsets, config=config), tools)
    assert bad.at_bounds == 1 and bad.at_limit == pytest.approx(0.25, abs=0.01)


def test_a_head_that_leaves_the_image_is_cut(avatar, tools):
    """The sphere is 0.24 m wide; a bump of 0.12 m to the left is outside all views but those from left and right."""
    assert found(avatar, tools).cut == 0
    offsets = torch.zeros_like(avatar.offsets)
    offsets[tools.head.sphere[:, 0] > 0.9 * RADIUS, 0] = 0.12
    measured = found(replace(avatar, offsets=offsets), tools)
    assert measured.cut == 0.5 and "cut" in measured.findings


def test_a_texture_that_swims_flickers(avatar, tools):
    still = found(avatar, tools).flicker
    noise = torch.randn(avatar.latent_texture.shape, generator=torch.Generator().manual_seed(0))
    assert found(replace(avatar, latent_texture=avatar.latent_texture + noise), tools).flicker > still + 0.02


def test_an_outline_that_the_prior_changes_is_misaligned(avatar, tools, monkeypatch):
    assert found(avatar, tools).misaligned < 1e-6

    def left_half(_prior, latents, *_):
        """A prior that turns the right half of every image into background."""
        made = latents.clone()
        made[..., latents.shape[-1] // 2 :] = latents[..., :1, :1]
        return made

    monkeypatch.setattr(foreground, "denoise", left_half)
    assert 0.35 < found(avatar, tools).misaligned < 0.65


def test_outlines_are_measured_on_the_priors_device(avatar, distant_tools, monkeypatch):
    monkeypatch.setattr(foreground, "denoise", lambda _prior, latents, noise, *_: latents + noise)
    change = foreground_changes(avatar, distant_tools, evaluation_cameras(1, views=2))
    assert change.device == distant_tools.prior.device and change.shape[0] == 2 and change.ndim == 3


def test_mask_change_is_the_mean_over_refreshes():
    entries = [(10, {"mask_change": math.nan}), (20, {"mask_change": 0.1}), (30, {"mask_change": 0.3})]
    assert mask_change(History(entries)) == pytest.approx(0.2)
    assert math.isnan(mask_change(History()))


def test_findings_begin_at_their_thresholds():
    least = Diagnosis(**FINDINGS)
    assert least.findings == list(FINDINGS)
    below = Diagnosis(**{name: np.nextafter(value, 0) for name, value in FINDINGS.items()})
    assert below.findings == []
