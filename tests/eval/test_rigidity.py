"""Rigid and bent parts of a sphere."""

from __future__ import annotations

import math

import pytest
import roma
import torch

from eval.rigidity import bend
from tests.eval.conftest import RADIUS, uv_sphere

SPHERE, TOPOLOGY = uv_sphere()
EVERYTHING = torch.ones(len(SPHERE), dtype=torch.bool)


def test_a_rigid_motion_is_no_bend():
    moved = SPHERE @ roma.rotvec_to_rotmat(torch.tensor([0.4, -0.3, 0.2])).T + torch.tensor([0.1, 0.2, 0.3])
    assert bend(SPHERE, moved, TOPOLOGY.faces, EVERYTHING) < 1e-6 * RADIUS


def test_a_sphere_that_grows_is_off_by_what_its_radius_grows():
    found = bend(SPHERE, 1.1 * SPHERE, TOPOLOGY.faces, EVERYTHING)
    assert found == pytest.approx(0.1 * RADIUS, rel=1e-3)


def test_only_the_part_counts():
    """The lower half moves away; the upper half stays as it is."""
    upper = TOPOLOGY.regions["scalp"]
    moved = torch.where(upper[:, None], SPHERE, 2 * SPHERE)
    assert bend(SPHERE, moved, TOPOLOGY.faces, upper) < 1e-9 < bend(SPHERE, moved, TOPOLOGY.faces, EVERYTHING)
    assert math.isnan(bend(SPHERE, moved, TOPOLOGY.faces, ~EVERYTHING))
