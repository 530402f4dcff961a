"""Crossing triangles, by hand and against a test of every edge with every triangle."""

from __future__ import annotations

import numpy as np
import torch

from eval.self_intersection import CAPACITY, added_pairs, crossing_faces
from tests.eval.conftest import uv_sphere

FLAT = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])


def crossings(*triangles: torch.Tensor) -> list[list[int]]:
    return crossing_faces(torch.cat(triangles), torch.arange(3 * len(triangles)).view(-1, 3)).tolist()


def test_triangles_a_tenth_of_a_millimetre_apart_do_not_cross():
    """Products of their sides are near 1e-6 square metres, which Warp's test takes for zero."""
    small = 1e-3 * FLAT
    assert crossings(small, small + torch.tensor([0.0, 0.0, 1e-4])) == []
    tilted = 1e-3 * torch.tensor([[0.5, 0.5, -0.1], [0.6, 0.5, 0.1], [0.5, 0.6, 0.1]])
    assert crossings(small, tilted) == [[0, 1]]
    assert crossings(small, tilted + torch.tensor([0.0, 0.0, 1.01e-4])) == []


def test_overlap_within_a_plane_counts():
    assert crossings(FLAT, FLAT + torch.tensor([0.5, 0.5, 0.0])) == [[0, 1]]
    assert crossings(FLAT, FLAT + torch.tensor([2.5, 0.0, 0.0])) == []


def test_faces_with_a_common_vertex_do_not_count():
    """The second face folds through the first, from a corner that they share."""
    vertices = torch.cat((FLAT, torch.tensor([[1.0, 0.5, 1.0], [0.5, 1.0, -1.0]])))
    assert crossing_faces(vertices, torch.tensor([[0, 1, 2], [0, 3, 4]])).tolist() == []


def test_pairs_are_those_of_brute_force():
    corners = torch.rand(80, 3, 3, generator=torch.Generator().manual_seed(2))
    triangles = corners.mean(1, keepdim=True) + 0.35 * (corners - corners.mean(1, keepdim=True))
    found = crossing_faces(triangles.view(-1, 3), torch.arange(240).view(80, 3)).tolist()
    wanted = [[i, j] for i in range(80) for j in range(i + 1, 80) if cross(triangles[i].numpy(), triangles[j].numpy())]
    assert found == wanted and len(found) > 30


def cross(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether an edge of one triangle runs through the other."""
    pairs = ((first, second), (second, first))
    return any(pierces(a[k], a[(k + 1) % 3], b) for a, b in pairs for k in range(3))


def pierces(start: np.ndarray, end: np.ndarray, triangle: np.ndarray) -> bool:
    """Solve start + t (end - start) = p + u e1 + v e2."""
    system = np.stack((start - end, triangle[1] - triangle[0], triangle[2] - triangle[0]), axis=1).astype(np.float64)
    t, u, v = np.linalg.solve(system, (start - triangle[0]).astype(np.float64))
    return bool(0 <= t <= 1 and u >= 0 and v >= 0 and u + v <= 1)


def test_more_pairs_than_there_is_room_for_are_all_found():
    """Triangles that all run through one point, more pairs than CAPACITY for each."""
    count = 24
    angles = torch.arange(count) * torch.pi / count
    ends = torch.stack((angles.cos(), angles.sin(), torch.zeros(count)), dim=-1)
    up = torch.tensor([0.0, 0.0, 2.0]).expand(count, 3)
    triangles = torch.stack((ends - up / 2, -ends - up / 2, up), dim=1)
    found = crossing_faces(triangles.reshape(-1, 3), torch.arange(3 * count).view(count, 3))
    assert len(found) == count * (count - 1) / 2 > CAPACITY * count


def test_a_sphere_crosses_nothing_until_another_moves_into_it():
    sphere, topology = uv_sphere()
    count, faces = len(topology.faces), torch.cat((topology.faces, topology.faces + len(sphere)))
    apart = torch.cat((sphere, sphere + torch.tensor([0.3, 0.0, 0.0])))
    near = torch.cat((sphere, sphere + torch.tensor([0.15, 0.0, 0.0])))
    before, after = crossing_faces(apart, faces), crossing_faces(near, faces)
    (none, some) = ((pairs // count).diff(dim=1).sum() for pairs in (before, added_pairs(after, before, 2 * count)))
    assert none == 0 and some > 20  # each sphere's seam touches itself, which counts for neither
