"""Cameras and triangles against values worked out by hand."""

import math

import pytest
import torch

from avatargen.render.geometry import camera_frames, intersect, project


@pytest.mark.parametrize(
    ("azimuth", "elevation", "position", "right", "up"),
    [
        (0.0, 0.0, (0, 0, 2), (1, 0, 0), (0, 1, 0)),
        (90.0, 0.0, (2, 0, 0), (0, 0, -1), (0, 1, 0)),
        (180.0, 0.0, (0, 0, -2), (-1, 0, 0), (0, 1, 0)),
        (0.0, 30.0, (0, 1, math.sqrt(3)), (1, 0, 0), (0, math.sqrt(3) / 2, -0.5)),
    ],
)
def test_camera_frames_by_hand(cameras, azimuth, elevation, position, right, up):
    frames = camera_frames(cameras([azimuth], [elevation], distance=2.0, fov=90.0))
    expected = torch.tensor([position, right, up], dtype=torch.float32)
    actual = torch.cat((frames.positions[0], frames.bases[0, 0, :2]))
    assert torch.allclose(actual, expected, atol=1e-6)
    assert frames.extents.item() == pytest.approx(1.0)


def test_projection_centres_the_target_with_y_up(cameras):
    points = torch.tensor([[[0.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]])
    place, depth = project(points, cameras([0.0], [0.0], distance=2.0, fov=90.0), 8)
    # tan(45 degrees) = 1: at depth 2 the image is 4 m tall and 8 pixels high
    assert torch.allclose(place[0, 0], torch.tensor([[4.0, 4], [4, 2], [6, 4], [4, 4]]), atol=1e-5)
    assert torch.allclose(depth[0, 0], torch.tensor([2.0, 2, 2, 1]))


def test_intersect_by_hand():
    corners = torch.tensor([[[0.0, 0, -2], [4, 0, -2], [0, 4, -2]]])
    weights, depth = intersect(corners, torch.zeros(1, 3), torch.tensor([[0.5, 1.0, -1.0]]))
    assert torch.allclose(weights, torch.tensor([[0.25, 0.25, 0.5]]))  # the ray meets (1, 2, -2)
    assert depth.item() == pytest.approx(2.0)
