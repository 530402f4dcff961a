"""Texels, the surface points under them, and gutters."""

import torch

from avatargen.geometry.types import HeadTopology
from avatargen.render.texel_map import build_texel_map, nearest_indices

SQUARE = HeadTopology(
    faces=torch.tensor([[0, 1, 2], [0, 2, 3]]),
    uvs=torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]),
    face_uvs=torch.tensor([[0, 1, 2], [0, 2, 3]]),
    regions={},
)


def test_texels_inside_the_chart_are_covered():
    covered = build_texel_map(SQUARE, 8).covered
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:6, 2:6] = True
    assert torch.equal(covered, expected)


def test_values_are_interpolated_with_v_up():
    texel_map = build_texel_map(SQUARE, 8)
    image = texel_map.to_image(texel_map.gather(SQUARE.uvs))
    centres = (torch.arange(8) + 0.5) / 8
    assert torch.allclose(image[0, 3, 2:6], centres[2:6], atol=1e-5)
    assert torch.allclose(image[1, 2:6, 3], 1 - centres[2:6], atol=1e-5)


def test_gutters_take_the_nearest_covered_value():
    texel_map = build_texel_map(SQUARE, 8)
    image = texel_map.to_image(texel_map.gather(SQUARE.uvs))
    assert torch.equal(image[:, 0, 0], image[:, 2, 2])
    assert torch.equal(image[:, 7, 4], image[:, 5, 4])


def test_nearest_indices_point_at_known_texels():
    known = torch.zeros(3, 3, dtype=torch.bool)
    known[0, 2] = True
    assert (nearest_indices(known) == 2).all()
