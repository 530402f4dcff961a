"""Points of a sphere, followed through renders of a texture that is fixed on it, and through images that are not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from avatargen.geometry.cameras import evaluation_cameras
from avatargen.geometry.types import HeadTopology
from avatargen.render.warp import WarpRenderer
from eval.exported_colour import exported_colour
from eval.surface_colours import Followed, colours_of, follow, swim, warped_error
from tests.eval.conftest import uv_sphere

SIZE, FRAMES = 128, 4


@pytest.fixture(scope="module")
def cameras():
    """A turntable of 2.5° a frame."""
    return replace(evaluation_cameras(1, FRAMES), azimuth=2.5 * torch.arange(FRAMES)[None].float())


@pytest.fixture(scope="module")
def followed(head, renderer, cameras) -> Followed:
    vertices = head.sphere.expand(FRAMES, -1, -1)
    return follow(renderer, vertices, head.topology.faces, cameras, SIZE)


def waves(periods: int) -> torch.Tensor:
    """A smooth texture with contrast in both directions."""
    v, u = torch.meshgrid(torch.linspace(0, 1, 256), torch.linspace(0, 1, 512), indexing="ij")
    return (0.5 + 0.4 * torch.sin(2 * torch.pi * periods * u) * torch.sin(torch.pi * periods * v)).expand(3, -1, -1)


def rendered(renderer, head, cameras, texture) -> torch.Tensor:
    grey = (0.5, 0.5, 0.5)
    return torch.from_numpy(exported_colour(renderer, head.sphere[None], texture, cameras, SIZE, 3, grey))


def test_a_fixed_texture_has_no_error_but_its_sampling(head, renderer, cameras, followed):
    images = rendered(renderer, head, cameras, waves(4))
    contrast = colours_of(images, followed)[0][followed.visible[0]].std()
    error = warped_error(colours_of(images, followed), followed.pairs(), followed.areas)
    assert error < 0.8 < 40 < contrast
    assert swim(images, followed) < 0.06


def test_a_pattern_on_the_screen_has_its_own_contrast(followed):
    """A ramp of 1.5 levels a pixel that does not move: a point's colour changes by 1.5 times the pixels it moves."""
    ramp = (1.5 * (torch.arange(SIZE) + 0.5)).round().byte()
    images = ramp[None, None, :, None].expand(FRAMES, SIZE, SIZE, 3)
    pairs, steps = followed.pairs(), followed.places.diff(dim=0)[..., 0].abs()
    wanted = 1.5 * float((steps * pairs * followed.areas).sum() / (pairs * followed.areas).sum())
    error = warped_error(colours_of(images, followed), pairs, followed.areas)
    assert error == pytest.approx(wanted, abs=0.05) and error > 1.5


def test_points_behind_and_at_the_edge_are_not_followed(head, followed):
    middles = head.sphere[head.topology.faces].mean(dim=1)
    towards = torch.tensor([0.0, math.sin(math.radians(10)), math.cos(math.radians(10))])
    front = middles @ towards / middles.norm(dim=-1)
    assert not followed.visible[0][front < 0.3].any()
    assert followed.visible[0][front > 0.6].all()


def test_what_another_part_hides_is_not_followed(head):
    """A second sphere stands behind the first."""
    sphere, topology = uv_sphere()
    faces = torch.cat((topology.faces, topology.faces + len(sphere)))
    both = HeadTopology(faces, topology.uvs, torch.cat((topology.face_uvs, topology.face_uvs)), {})
    vertices = torch.cat((sphere, sphere + torch.tensor([0.0, 0.0, -0.5])))[None]
    found = follow(WarpRenderer(both), vertices, faces, evaluation_cameras(1, 1, elevation=0.0), SIZE)
    count = len(topology.faces)
    assert found.visible[0, :count].any() and not found.visible[0, count:].any()


def test_error_is_the_mean_over_pairs_and_areas():
    """Against loops, on random colours."""
    draw = torch.Generator().manual_seed(3)
    colours, areas = 255 * torch.rand(5, 7, 3, generator=draw), torch.rand(7, generator=draw)
    pairs = torch.rand(4, 7, generator=draw) > 0.4
    total = weight = 0.0
    for t in range(4):
        for p in range(7):
            if pairs[t, p]:
                total += float(areas[p]) * float((colours[t + 1, p] - colours[t, p]).abs().mean())
                weight += float(areas[p])
    assert warped_error(colours, pairs, areas) == pytest.approx(total / weight, rel=1e-5)
    assert warped_error(colours, pairs & False, areas) != warped_error(colours, pairs & False, areas)  # NaN


def still_points(size: int, frames: int) -> Followed:
    """Every pixel's centre, which does not move, but for a border."""
    row, column = torch.meshgrid(torch.arange(4, size - 4), torch.arange(4, size - 4), indexing="ij")
    places = torch.stack((column.flatten(), row.flatten()), dim=-1) + 0.5
    shown = torch.ones(frames, len(places), dtype=torch.bool)
    return Followed(
        places.expand(frames, -1, -1), shown, torch.ones(len(places)), torch.zeros(frames, size, size).int()
    )


def pattern(shift: tuple[float, float]) -> torch.Tensor:
    row, column = torch.meshgrid(torch.arange(96) - shift[1], torch.arange(96) - shift[0], indexing="ij")
    value = 127 + 55 * torch.sin(column / 3.0) + 55 * torch.sin(row / 2.5)
    return value.round().byte()[..., None].expand(-1, -1, 3)


def test_a_pattern_that_moves_over_the_surface_swims():
    images = torch.stack([pattern((0.3 * t, 0.4 * t)) for t in range(4)])
    assert swim(images, still_points(96, 4)) == pytest.approx(0.5, rel=0.03)


def test_a_change_of_brightness_is_no_swimming():
    images = torch.stack([pattern((0.0, 0.0)) // 2 + 10 * t for t in range(4)])
    assert swim(images, still_points(96, 4)) < 0.08
    plain = torch.full((2, 96, 96, 3), 90, dtype=torch.uint8)
    assert swim(plain, still_points(96, 2)) != swim(plain, still_points(96, 2))  # NaN: no window has contrast


def test_points_rest_where_nothing_around_them_moves():
    """The picture shows points 0 and 2, half each; point 2 moves, and the pixels of point 1 touch its half."""
    faces = (torch.arange(8) >= 4).int().expand(2, 8, 8)
    column = torch.tensor([1.5, 3.5, 6.5])
    places = torch.stack((column, torch.full_like(column, 4.5)), dim=-1).repeat(2, 1, 1)
    places[1, 2, 0] += 0.5
    points = Followed(places, torch.ones(2, 3, dtype=torch.bool), torch.ones(3), 2 * faces)
    assert points.at_rest().tolist() == [[True, False, False]]


def test_a_point_at_a_pixels_centre_has_its_colour():
    images = (255 * torch.rand(2, 96, 96, 3, generator=torch.Generator().manual_seed(0))).byte()
    points = still_points(96, 2)
    assert torch.allclose(colours_of(images, points)[1], images[1, 4:-4, 4:-4].reshape(-1, 3).float(), atol=0.05)
