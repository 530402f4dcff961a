"""Heads of other resolutions: Loop subdivision by its masks, and what the finer head shares with the coarser one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from avatargen.heads.anny.coarse import AnnyCoarse
from avatargen.heads.anny.fine import AnnyFine
from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.flame.coarse import FlameCoarse
from avatargen.heads.flame.fine import FlameFine
from avatargen.heads.flame.head import FlameHead
from avatargen.heads.loop import loop
from eval.curvature import face_normals
from eval.detail import angles
from tests.eval.meshes import grid, sphere
from tests.small_flame import write_flame


def test_loop_agrees_with_a_naive_loop_over_masks():
    """A grid has vertices inside, of valence 6, and on a border."""
    faces, count = grid(4, 4), 16
    points = np.random.default_rng(0).normal(size=(count, 3))
    operator, fine = loop(faces, count)
    rings = {v: {int(u) for face in faces if v in face for u in face if u != v} for v in range(count)}
    owners = {frozenset((int(a), int(b))): [] for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    for face in faces:
        for a, b, c in (face, np.roll(face, -1), np.roll(face, -2)):
            owners[frozenset((int(a), int(b)))].append(int(c))
    moved = operator @ points
    for vertex, ring in rings.items():
        rim = [u for u in ring if len(owners[frozenset((vertex, u))]) == 1]
        if rim:
            wanted = 0.75 * points[vertex] + 0.125 * points[rim].sum(axis=0)
        else:
            beta = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / len(ring)) / 4) ** 2) / len(ring)
            wanted = (1 - len(ring) * beta) * points[vertex] + beta * points[list(ring)].sum(axis=0)
        assert np.allclose(moved[vertex], wanted)
    middles = moved[count:]
    for edge, opposite in owners.items():
        a, b = edge
        wanted = (points[a] + points[b]) / 2
        if len(opposite) == 2:
            wanted = 0.375 * (points[a] + points[b]) + 0.125 * points[opposite].sum(axis=0)
        assert (np.abs(middles - wanted).max(axis=1) < 1e-12).sum() == 1
    assert fine.shape == (4 * len(faces), 3) and len(moved) == fine.max() + 1


def test_loop_keeps_constants_and_planes():
    faces = grid(5, 5)
    operator, _ = loop(faces, 25)
    assert np.allclose(operator.sum(axis=1), 1)
    plane = np.random.default_rng(1).normal(size=(25, 3)) * [1, 1, 0]
    assert np.allclose((operator @ plane)[:, 2], 0)


def test_loop_makes_a_sphere_rounder():
    """Faces bend half as much across edges; the radius shrinks a little, as approximating schemes do."""
    points, faces = sphere(1.0, levels=2)
    operator, fine = loop(faces, len(points))
    smooth = operator @ points
    radii = np.linalg.norm(smooth, axis=1)
    assert radii.min() > 0.93 and radii.max() < 1

    def bend(vertices, triangles):
        """Return the mean angle between a face's normal and the sphere's at its corners."""
        return angles(face_normals(vertices, triangles)[:, None].repeat(3, axis=1), vertices[triangles]).mean()

    assert bend(smooth, fine) == pytest.approx(bend(points, faces) / 2, rel=0.05)


@pytest.fixture(scope="module", params=["anny", "flame"])
def family(request, tmp_path_factory):
    """A head model with a quarter of its faces, and with four times as many."""
    if request.param == "anny":
        return AnnyCoarse.load(), AnnyHead.load(), AnnyFine.load()
    file = write_flame(tmp_path_factory.mktemp("flame"))
    return FlameCoarse.load(file), FlameHead.load(file), FlameFine.load(file)


def test_resolutions_have_faces_in_steps_of_four(family):
    coarse, head, fine = (len(each.topology.faces) for each in family)
    assert fine == 4 * head
    assert head / coarse == pytest.approx(4, rel=0.02)


def test_resolutions_are_the_same_head(family):
    """The same coefficients give surfaces that differ by a chord's height, with the same texture coordinates."""
    _, head, fine = family
    shape = head.shape_template + 0.1 * (head.shape_bounds[1] - head.shape_bounds[0])
    points = [each.canonical(shape[None])[0] for each in family]
    for one, other, most in ((points[0], points[1], 2e-3), (points[1], points[2], 3e-3)):
        assert cKDTree(other).query(one)[0].max() < most
    count = len(head.topology.uvs)
    assert torch.equal(fine.topology.uvs[:count], head.topology.uvs)
    assert [each.shape_names for each in family] == 3 * [head.shape_names]
    assert len({each.id for each in family}) == 3


def test_faces_and_texture_coordinates_are_split_alike(family):
    """The texture coordinates of each new corner lie where its vertex lies within the old face."""
    _, head, fine = family
    step = len(head.topology.faces)
    old = head.topology.uvs[head.topology.face_uvs[:50]]
    new = fine.topology.uvs[fine.topology.face_uvs]
    assert torch.allclose(new[3 * step : 3 * step + 50].mean(dim=1), old.mean(dim=1), atol=1e-6)
    assert torch.allclose(new[:50, 0], old[:, 0])


def test_the_finer_head_optimises_the_coarser_mesh(family):
    """Its proxy mesh has the coarser head's faces; offsets are given at the coarser head's vertices."""
    _, head, fine = family
    proxy = fine.proxy()
    assert torch.equal(proxy.topology.faces, head.topology.faces)
    assert torch.equal(fine.offset_points(), head.canonical(head.shape_template[None])[0])
    offsets = torch.randn(2, len(head.topology.regions["skin"]), 3, generator=torch.Generator().manual_seed(0))
    kept = proxy.interpolate_offsets(offsets)
    assert torch.allclose(kept, fine.interpolate_offsets(offsets)[:, : kept.shape[1]], atol=1e-6)


def test_the_coarser_head_is_its_own_proxy(family):
    coarse, head, _ = family
    assert torch.equal(coarse.proxy().topology.faces, coarse.topology.faces)
    varied = replace(coarse.template(1), joints=0.2 * torch.ones(1, len(head.joint_names), 3))
    same = replace(head.proxy().template(1), joints=varied.joints)
    assert torch.equal(coarse.vertices(varied), head.proxy().vertices(same))
