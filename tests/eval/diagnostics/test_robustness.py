"""Other cameras and lights, by hand-computed cases."""

import math

import numpy as np
import pytest
import torch

from avatargen.config.experiment import EvaluationSettings
from avatargen.geometry.cameras import FACE
from avatargen.geometry.types import Cameras
from avatargen.render.geometry import project
from eval.diagnostics.robustness import (
    AMBIENT,
    AZIMUTHS,
    LIGHTS,
    REFERENCE,
    Robustness,
    camera_conditions,
    magnified,
    shade,
    to_linear,
    to_srgb,
    with_field_of_view,
)
from eval.views import RenderTools, colour_and_clay, protocol_cameras

SIZE = 200
SETTINGS = EvaluationSettings(size=64, samples=2)


@pytest.fixture
def base() -> Cameras:
    one = torch.ones(1, 1)
    return Cameras(0 * one, 0 * one, 1.22 * one, 16 * one, torch.tensor([[[0.0, 0.015, 0.0]]]))


@pytest.fixture
def found(head, renderer, resize_prior, prior_settings, avatar, make_row):
    tools = RenderTools(head, renderer, resize_prior, prior_settings, "sphere", "warp")
    return Robustness().measure(avatar, make_row(), tools, SETTINGS)


def places(points, cameras):
    """Pixels from the centre of the image."""
    return project(torch.tensor([points]), cameras, SIZE)[0][0, 0] - SIZE / 2


@pytest.mark.parametrize("fov", [8.0, 30.0, 60.0])
def test_another_field_of_view_keeps_the_middle_and_changes_perspective(base, fov):
    """What lies in the plane of the target stays; the nose grows as the camera comes closer."""
    middle, nose = [[0.1, 0.1, 0.0], [-0.05, -0.1, 0.0]], [[0.05, 0.0, 0.1]]
    other = with_field_of_view(base, fov)
    assert torch.allclose(places(middle, base), places(middle, other), atol=1e-3)
    grown = (places(nose, other) / places(nose, base))[0, 0].item()
    closer, usual = (float(each.distance) for each in (other, base))
    assert grown == pytest.approx((closer / (closer - 0.1)) / (usual / (usual - 0.1)), abs=1e-4)
    assert (grown > 1) == (fov > 16)


def test_close_up_shows_the_face_larger(base):
    face = camera_conditions(base)["close-up 2.5"]
    at = torch.tensor(FACE)
    beside = [(at + torch.tensor(step)).tolist() for step in ([0.0, 0.0, 0.0], [0.02, 0.0, 0.0])]
    centre, side = places(beside, face)
    assert centre.abs().max() < 1e-3
    distance = float(base.distance)
    assert float(side[0]) == pytest.approx(2.5 * 100 * 0.02 / (distance * math.tan(math.radians(8))), rel=1e-4)
    assert torch.equal(face.distance, base.distance)
    top = [[0.0, 0.1, 0.0]]
    assert torch.allclose(places(top, magnified(base, 2.0)), 2 * places(top, base), atol=1e-3)


def test_each_condition_changes_one_thing(base):
    changed = {
        name: {field for field in vars(base) if not torch.equal(getattr(cameras, field), getattr(base, field))}
        for name, cameras in camera_conditions(base).items()
    }
    expected = {"elevation": {"elevation"}, "close-up": {"fov", "target"}, "field of view": {"fov", "distance"}}
    for name, fields in changed.items():
        assert fields == expected[name.rpartition(" ")[0]], name


def test_srgb_is_the_standard_curve():
    """8-bit 188 is half of the light, 10 lies on the straight part (IEC 61966-2-1)."""
    values = torch.tensor([0, 10, 188, 255]) / 255
    linear = to_linear(values)
    assert linear.tolist() == pytest.approx([0, 10 / 255 / 12.92, 0.5029, 1], abs=1e-4)
    assert torch.allclose(to_srgb(linear), values, atol=1e-6)


def test_shading_is_lambert_over_ambient():
    """Towards the light, at 60 degrees, and away from it; the length of a normal does not count."""
    angles = torch.deg2rad(torch.tensor([0.0, 60.0, 180.0]))
    normals = torch.stack((angles.sin(), 0 * angles, angles.cos())).view(1, 1, 3, 1, 3)
    albedo = to_srgb(torch.full((1, 1, 3, 1, 3), 0.5))
    for scale in (1.0, 0.5):
        light = to_linear(shade(albedo, scale * normals, (0.0, 0.0, 1.0)))[0, 0, 0, 0] / 0.5
        assert light.tolist() == pytest.approx([1.0, AMBIENT + 0.5 * (1 - AMBIENT), AMBIENT], abs=1e-4)


def test_lights_come_from_their_sides(found):
    """Of the ball's frontal view, the half on the side of the light is the brighter one."""
    view = AZIMUTHS.index(0.0)
    middle = SETTINGS.size // 2
    brightness = {name: found.shown[f"light {name}"][view].astype(float).mean(-1) for name in LIGHTS}
    halves = {name: (image[:, :middle].mean(), image[:, middle:].mean()) for name, image in brightness.items()}
    above, below = (brightness[name][:middle].mean() - brightness[name][middle:].mean() for name in ("above", "below"))
    assert halves["left"][1] > halves["left"][0] + 5 and halves["right"][0] > halves["right"][1] + 5
    assert above > below + 10  # the ball lies below the middle of a brighter background
    assert brightness["front"][middle, middle] > brightness["behind"][middle, middle] + 20


def test_no_light_exceeds_the_albedo_nor_leaves_the_dark_side_black(found):
    reference = found.shown[REFERENCE].astype(int)
    covered = np.abs(reference - 128).max(-1) > 20
    for name in LIGHTS:
        lit = found.shown[f"light {name}"].astype(int)
        assert (lit <= reference + 1)[covered].all()
        dark = to_srgb(AMBIENT * to_linear(torch.from_numpy(reference / 255.0))).numpy()
        assert (lit / 255 >= dark - 0.02)[covered].all()


def test_reference_is_the_protocol_from_three_sides(found, head, renderer, resize_prior, prior_settings, avatar):
    tools = RenderTools(head, renderer, resize_prior, prior_settings, "sphere", "warp")
    cameras = protocol_cameras(avatar, tools, SETTINGS, torch.tensor(AZIMUTHS))
    expected, _ = colour_and_clay(avatar, tools, cameras, SETTINGS.size, SETTINGS.samples, SETTINGS.background)
    assert np.array_equal(found.shown[REFERENCE], expected)
    assert len(found.shown) == 16 and {len(views) for views in found.shown.values()} == {3}
    assert found.pictures["conditions"].width > 4 * SETTINGS.size
