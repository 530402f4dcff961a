"""Stretch of triangles whose maps are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eval.stretch import singular_values, stretch

CORNER = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
FACE = torch.tensor([[0, 1, 2]])


def test_a_shear_has_the_golden_ratio():
    """The singular values of [[1, 1], [0, 1]] are the golden ratio and its inverse."""
    sheared = CORNER + CORNER[:, 1:2] * torch.tensor([1.0, 0.0, 0.0])
    golden = (1 + 5**0.5) / 2
    assert singular_values(CORNER, sheared, FACE)[0].tolist() == pytest.approx([golden, 1 / golden])


def test_singular_values_are_those_of_the_jacobian():
    """Random triangles in space, against numpy's decomposition of the map between frames in their planes."""
    rest, posed = torch.randn(2, 60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    faces = torch.arange(60).view(20, 3)
    for face, found in zip(faces.tolist(), singular_values(rest, posed, faces), strict=True):
        planes = []
        for points in (rest, posed):
            edges = (points[face[1:]] - points[face[0]]).numpy().T
            planes.append(np.linalg.qr(edges)[1])  # the edges in an orthonormal frame of their plane
        wanted = np.linalg.svd(planes[1] @ np.linalg.inv(planes[0]))[1]
        assert found.numpy() == pytest.approx(wanted, rel=1e-9)


def test_a_rigid_motion_does_not_stretch():
    turned = CORNER[:, [1, 2, 0]] * 1.0 + torch.tensor([3.0, 1.0, 2.0])  # a cyclic swap of axes is a rotation
    found = stretch(CORNER, turned, FACE)
    assert found[:5] == pytest.approx((1, 1, 1, 1, 1)) and found.stretched_share == 0


def test_a_collapsed_triangle_has_no_shortest_length():
    flat = CORNER * torch.tensor([1.0, 0.0, 1.0])
    assert singular_values(CORNER, flat, FACE).tolist() == [[1.0, 0.0]]
    assert singular_values(CORNER, 0 * CORNER, FACE).tolist() == [[0.0, 0.0]]
    assert stretch(CORNER, flat, FACE).stretched_share == 1


def test_faces_count_by_their_area_at_rest():
    """A triangle of area 8 doubles in one direction, one of area 0.5 by ten; one without area does not count."""
    rest = torch.cat((4 * CORNER, CORNER, 0 * CORNER))
    posed = torch.cat((4 * CORNER * torch.tensor([2.0, 1, 1]), CORNER * torch.tensor([10.0, 1, 1]), CORNER))
    found = stretch(rest, posed, torch.arange(9).view(3, 3))
    assert found.stretch_l2 == pytest.approx(((2.5 * 8 + 50.5 * 0.5) / 8.5) ** 0.5)
    assert found.stretched_share == pytest.approx(0.5 / 8.5)  # twice is the bound, and not beyond it
    assert (found.area_ratio_p1, found.area_ratio_p99) == pytest.approx((2.0, 10.0))
