"""Normal maps of meshes whose normals are known."""

from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from avatargen.geometry.cameras import evaluation_cameras
from avatargen.geometry.types import HeadTopology
from avatargen.render.warp import WarpRenderer
from eval.normal_maps import BACKDROP, drawn, normal_maps, screen_error
from tests.eval.meshes import sheet, sphere


def rendered(points, faces, azimuths=(0.0,), size=64):
    count = len(points)
    topology = HeadTopology(
        torch.from_numpy(faces).long(),
        torch.rand(count, 2, generator=torch.Generator().manual_seed(0)),
        torch.from_numpy(faces).long(),
        {"skin": torch.ones(count, dtype=torch.bool)},
    )
    cameras = evaluation_cameras(1, len(azimuths), elevation=0.0, target=(0.0, 0.0, 0.0))
    cameras = replace(cameras, azimuth=torch.tensor([azimuths]))
    vertices = torch.from_numpy(points).float()
    return normal_maps(WarpRenderer(topology, vertices), vertices, cameras, size), cameras


def turned(points, degrees):
    """Points turned about the x axis."""
    return points @ roma.rotvec_to_rotmat(torch.tensor([np.deg2rad(degrees), 0, 0])).numpy().T


@pytest.mark.parametrize("degrees", [5.0, 30.0])
def test_a_turned_sheet_is_off_by_its_angle_in_the_image(degrees):
    points, faces = sheet(lambda x, y: 0, size=0.1, count=9)
    flat, steep = (rendered(each, faces)[0] for each in (points, turned(points, degrees)))
    error, overlap = screen_error(flat, steep)
    assert error == pytest.approx(degrees, abs=1e-3)
    assert overlap == pytest.approx(np.cos(np.deg2rad(degrees)), abs=0.05)  # it is foreshortened


def test_a_head_agrees_with_itself():
    maps, _ = rendered(*sphere(0.08, levels=3), azimuths=(0.0, 45.0))
    error, overlap = screen_error(maps, maps)
    assert error == pytest.approx(0, abs=1e-4) and overlap == 1


def test_heads_that_never_meet_have_no_error():
    points, faces = sheet(lambda x, y: 0, size=0.02, count=3)
    left, right = (rendered(points + np.array([x, 0, 0]), faces)[0] for x in (-0.05, 0.05))
    error, overlap = screen_error(left, right)
    assert np.isnan(error) and overlap == 0


@pytest.mark.parametrize("azimuth", [0.0, -45.0, 90.0])
def test_pictures_are_in_the_camera_frame(azimuth):
    """A sphere looks the same from everywhere: blue towards the camera, red to its right, green above, paper beside."""
    maps, cameras = rendered(*sphere(0.08, levels=5), azimuths=(azimuth,))
    image = drawn(maps, cameras)[0].astype(int)
    assert image.shape == (64, 64, 3)
    rows, columns = np.nonzero(maps.covered[0].numpy())
    top, left, right = rows.min(), columns.min(), columns.max()
    assert np.abs(image[32, 32] - [128, 128, 255]).max() <= 12
    assert image[32, right - 1, 0] > 220 and image[32, left + 1, 0] < 35
    assert image[top + 1, 32, 1] > 220
    assert tuple(image[0, 0]) == BACKDROP
