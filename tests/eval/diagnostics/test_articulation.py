"""Articulation of a sphere whose lids and neck are known, and of the Anny head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from avatargen.config.experiment import EvaluationSettings
from avatargen.geometry.types import HeadParameters
from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.skinning import rotation_matrices
from eval.diagnostics.articulation import AZIMUTHS, NEUTRAL, OWN, TURNED, Articulation, Surface, cameras_of
from eval.poses import POSES, posed
from eval.views import RenderTools, colour_and_clay, protocol_cameras
from tests.eval.conftest import SphereHead

SETTINGS = EvaluationSettings(size=48, samples=2)
PIVOT = torch.tensor([0.0, -0.12, 0.0])


class NoddingHead(SphereHead):
    """A sphere whose cheeks puff it up by a tenth, and whose neck turns it about its lowest point."""

    def __init__(self) -> None:
        super().__init__()
        self.expression_names = ("cheekPuff",)

    def vertices(self, parameters: HeadParameters) -> torch.Tensor:
        points = self.canonical(parameters.shape) + parameters.offsets
        points = points * (1 + 0.1 * parameters.expression[:, :, None]) - PIVOT
        return points @ rotation_matrices(parameters.joints[:, 0]).mT + PIVOT


@pytest.fixture
def tools(renderer, resize_prior, prior_settings) -> RenderTools:
    return RenderTools(NoddingHead(), renderer, resize_prior, prior_settings, "sphere", "warp")


@pytest.fixture
def measured(avatar, tools, make_row):
    puffed = replace(avatar, expression=torch.tensor([0.5]))
    return Articulation().measure(puffed, make_row(), tools, SETTINGS)


def value(measured, condition, name):
    (found,) = [each.value for each in measured.measures if (each.condition, each.name) == (condition, name)]
    return found


def test_poses_that_the_head_lacks_are_counted_and_left_out(measured):
    assert list(measured.shown) == [NEUTRAL, OWN, "cheekPuff", *TURNED]
    assert value(measured, "", "poses_missing") == len(POSES) - 7
    assert {each.condition for each in measured.measures} == {"", *measured.shown}


def test_the_avatars_own_expression_is_shown_but_not_moved_on(measured):
    """It is half a puff; the pose is a whole one, not one and a half."""
    assert value(measured, OWN, "stretch_p99") == pytest.approx(1.05, abs=1e-4)
    assert value(measured, "cheekPuff", "stretch_p99") == pytest.approx(1.1, abs=1e-4)
    assert value(measured, "cheekPuff", "area_ratio_p99") == pytest.approx(1.21, abs=1e-3)


def test_a_turn_of_the_whole_head_changes_no_surface(measured):
    for name in TURNED:
        assert value(measured, name, "stretch_l2") == pytest.approx(1, abs=1e-4)
        assert value(measured, name, "skull_bend_mm") < 1e-3
        assert value(measured, name, "stretched_share") == 0
        assert np.isnan(value(measured, name, "eye_bend_mm"))  # a sphere has no eyes
        assert not [each for each in measured.measures if (each.condition, each.name) == (name, "visible_change")]


def test_cameras_follow_a_turned_head(tools, avatar):
    """The middle of a sphere that nods stays in the middle of the picture."""
    parameters, (nod,) = avatar.parameters(), [pose for pose in POSES if pose.name == "neck pitch +30°"]
    rest = tools.head.vertices(parameters)
    turned = tools.head.vertices(posed(tools.head, parameters, nod))
    cameras = cameras_of(nod.name, rest[0], turned, SETTINGS)
    shift = turned.mean(dim=1) - rest.mean(dim=1)
    assert shift.norm() > 0.05
    assert torch.allclose(cameras.target[0] - cameras_of(NEUTRAL, rest[0], rest, SETTINGS).target[0], shift, atol=2e-3)


def test_the_neutral_head_is_shown_as_by_the_protocol(measured, avatar, tools):
    cameras = protocol_cameras(avatar, tools, SETTINGS, torch.tensor(AZIMUTHS))
    shown = colour_and_clay(avatar, tools, cameras, SETTINGS.size, SETTINGS.samples, SETTINGS.background)[0]
    assert np.array_equal(measured.shown[NEUTRAL], shown)


def test_lids_that_close_cross_eyes_and_jaws_that_open_show():
    """On the Anny template: a blink pulls lids over eyeballs, and the gaze leaves skull and lids' neighbours alone."""
    head = AnnyHead.load()
    surface = Surface(head, head.vertices(head.template(1))[0])
    found = {}
    for name in ("eyeBlink", "jaw 25°", "gaze left", "neck yaw +30°"):
        (pose,) = [each for each in POSES if each.name == name]
        found[name] = surface.moved_to(head.vertices(posed(head, head.template(1), pose))[0])
    assert found["eyeBlink"]["crossing_faces_added"] > 100 > found["jaw 25°"]["crossing_faces_added"]
    assert found["gaze left"]["eye_bend_mm"] < 0.5 and found["gaze left"]["skull_bend_mm"] < 1e-3
    assert found["jaw 25°"]["stretched_share"] > found["gaze left"]["stretched_share"]
    assert found["neck yaw +30°"]["skull_bend_mm"] < 0.2
