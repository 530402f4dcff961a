"""The frame of the judged images holds every ground-truth head, and is no wider than a head needs."""

from dataclasses import replace

import pytest
import torch

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.places import ROOT
from avatargen.config.prompts import list_names, read_list
from avatargen.geometry.types import Cameras
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.appearance import make_appearance
from avatargen.headworld.attributes import Attributes
from avatargen.headworld.phrases import described
from avatargen.render.geometry import project
from eval.frame import framed
from eval.views import least_cameras

SETTINGS = EvaluationSettings()
MARGIN = 1.0
"""Least distance of a head from the border of the image, pixels."""
LISTS = list_names([ROOT / "prompts"])
TALLEST = Attributes(age="old", hair="mohawk", feature="wide jaw")
LOWEST = Attributes(age="old", weight="fat", hair="long", beard="long", feature="wide jaw")


@pytest.fixture(scope="module")
def anny() -> AnnyHead:
    return AnnyHead.load()


def shown(head: AnnyHead, attributes: Attributes, settings: EvaluationSettings = SETTINGS) -> tuple[Cameras, float]:
    """Return a head's cameras, and the least distance of its vertices from the border in pixels; negative if cut."""
    vertices = head.vertices(make_appearance(head, attributes).parameters)
    cameras = framed(least_cameras(settings, settings.views), vertices, settings.widest_fov)
    places = project(vertices, cameras, settings.size)[0]
    return cameras, min(places.min().item(), settings.size - places.max().item())


@pytest.mark.parametrize("name", LISTS)
def test_no_ground_truth_head_of_a_list_is_cut(anny, name):
    heads = [described(item.prompt, item.tags) for item in read_list(ROOT / f"prompts/{name}.tsv")]
    margins = [shown(anny, head)[1] for head in dict.fromkeys(heads) if head is not None]
    assert all(each >= MARGIN for each in margins)
    assert margins or name == "paper"  # the free texts, which have no ground truth


def test_a_head_that_fits_keeps_the_least_field_of_view(anny):
    cameras, margin = shown(anny, Attributes(age="child", hair="bald"))
    assert torch.equal(cameras.fov, torch.full((1, 8), SETTINGS.fov)) and margin > 2


def test_a_tall_head_gets_as_much_as_it_needs(anny):
    """The extremes of the closed world come within two pixels of the border in their own frame."""
    for head in (TALLEST, LOWEST):
        cameras, margin = shown(anny, head)
        assert SETTINGS.fov < cameras.fov.min() == cameras.fov.max() < SETTINGS.widest_fov
        assert MARGIN <= margin < 2


def test_a_head_beyond_the_widest_frame_is_cut(anny):
    cameras, margin = shown(anny, LOWEST, SETTINGS.model_copy(update={"widest_fov": 17.0}))
    assert cameras.fov.max() == SETTINGS.fov and margin < 0  # its face keeps its size


def test_rounding_of_a_vertex_does_not_move_the_frame(anny):
    vertices = anny.vertices(make_appearance(anny, TALLEST).parameters)
    least = least_cameras(SETTINGS, 8)
    moved = [framed(least, vertices * factor, 30.0).fov[0, 0].item() for factor in (1.0, 1 + 1e-7)]
    assert moved[0] == moved[1] != framed(least, vertices * 1.01, 30.0).fov[0, 0].item()


def test_a_bun_is_cut_where_cameras_aim_too_low(anny):
    low = SETTINGS.model_copy(update={"target_height": -0.06})
    assert shown(anny, replace(TALLEST, hair="bun"), low)[1] < 0
    assert torch.all(least_cameras(low, 8).target[..., 1] == torch.tensor(-0.06))


@pytest.mark.parametrize("point", [(0.0, float("nan"), 0.0), (0.0, float("inf"), 0.0), (0.0, 0.6, 0.0)])
def test_broken_meshes_and_busts_keep_the_least_field_of_view(point):
    least = least_cameras(SETTINGS, 8)
    vertices = torch.tensor([[(0.0, 0.0, 0.0), point]])
    assert torch.equal(framed(least, vertices, SETTINGS.widest_fov).fov, least.fov)
