"""Heads shown with eyes and chin at the template's."""

from dataclasses import replace

import pytest
import torch

from avatargen.config.experiment import EvaluationSettings
from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.face_points import FacePoints
from avatargen.headworld.truth import true_head
from avatargen.io.avatar_file import Avatar, zero_avatar_tensors
from avatargen.render.warp import WarpRenderer
from eval.face_fit import FaceFitted
from eval.images import view_protocol
from eval.views import RenderTools, colour_and_clay, protocol_cameras


@pytest.fixture(scope="module")
def world_head():
    return AnnyHead.load()


@pytest.mark.parametrize("caption", ["a baby girl with a bald head", "a smiling old man with a long blue beard"])
def test_eyes_and_chin_come_to_those_of_the_template(world_head, caption):
    """The beard, an offset, and the smile go along; the size is that of the bare face."""
    parameters, points = true_head(caption, (), world_head).parameters, FacePoints.of(world_head)
    fitted = FaceFitted(world_head, parameters.shape[0])
    bare = replace(parameters.neutral(), offsets=torch.zeros_like(parameters.offsets))
    shown, own = fitted.vertices(bare), world_head.canonical(world_head.shape_template[None])
    torch.testing.assert_close(points.eyes(shown), points.eyes(own), rtol=0, atol=1e-6)
    torch.testing.assert_close(shown[0, points.chin, 1], own[0, points.chin, 1], rtol=0, atol=1e-6)
    whole = fitted.vertices(parameters)
    torch.testing.assert_close(
        whole - shown, fitted.scale * (world_head.vertices(parameters) - world_head.vertices(bare)), rtol=0, atol=1e-6
    )
    assert abs(fitted.scale - 1) > 0.02


def test_the_template_stays_as_it_is(world_head):
    fitted = FaceFitted(world_head, world_head.shape_template)
    template = world_head.template(1)
    torch.testing.assert_close(fitted.vertices(template), world_head.vertices(template), rtol=0, atol=1e-7)


def test_a_baby_fills_as_much_of_the_image_as_a_man(world_head, resize_prior, prior_settings):
    settings, sizes = EvaluationSettings(views=1, size=64, samples=1), {}
    tools = RenderTools(world_head, WarpRenderer(world_head.topology), resize_prior, prior_settings, "anny", "warp")
    for caption in ("a baby girl with a bald head", "a man with a bald head"):
        truth = true_head(caption, (), world_head)
        facts = {"id": "a", "prompt": caption, "seed": 0, "method": "oracle", "head_id": world_head.id, "prior_id": ""}
        tensors = {**zero_avatar_tensors(world_head.template(1), 16), **truth.parameters.first()}
        avatar = Avatar(**facts, **tensors)
        for fit in ("metric", "face"):
            shown = tools.fitting(avatar, fit)
            clay = colour_and_clay(
                avatar, shown, protocol_cameras(avatar, shown, settings), 64, 1, settings.background
            )[1]
            sizes[caption, fit] = float((clay[0, :, :, 0] != 128).mean())
    baby, man = (
        {fit: sizes[caption, fit] for fit in ("metric", "face")} for caption in dict.fromkeys(c for c, _ in sizes)
    )
    assert baby["metric"] < 0.6 * man["metric"]
    assert 0.8 * man["face"] < baby["face"]


def test_fit_is_part_of_the_protocol(prior_settings):
    one, other = (
        view_protocol(EvaluationSettings(fit=fit), prior_settings, "anny", "warp") for fit in ("metric", "face")
    )
    assert {name for name in one if one[name] != other[name]} == {"fit"}
