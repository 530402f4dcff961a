"""Discrete curvatures against surfaces of known curvature, and against naive loops."""

import numpy as np
import pytest

from eval.curvature import (
    angle_deficits,
    border_vertices,
    cotangent_laplacian,
    curvatures,
    face_areas,
    face_normals,
    mixed_areas,
    vertex_normals,
)
from tests.eval.meshes import grid, sheet, sphere, torus


@pytest.mark.parametrize("radius", [5.0, 80.0])
def test_a_sphere_has_the_curvature_of_its_radius(radius):
    found = curvatures(*sphere(radius))
    assert np.allclose(found.mean, 1 / radius, rtol=5e-3)
    assert np.allclose(found.gaussian, 1 / radius**2, rtol=3e-2)
    assert (found.gaussian * found.areas).sum() == pytest.approx(4 * np.pi, rel=1e-12)


def test_a_sphere_inside_out_is_concave():
    points, faces = sphere(5.0, levels=3)
    turned = curvatures(points, faces[:, ::-1])
    assert np.allclose(turned.mean, -1 / 5, rtol=2e-2) and (turned.gaussian > 0).all()


def test_a_cylinder_bends_one_way():
    angle, height = np.meshgrid(np.arange(120) * 2 * np.pi / 120, np.linspace(0, 40, 60), indexing="ij")
    points = np.stack([8 * np.cos(angle), 8 * np.sin(angle), height], -1).reshape(-1, 3)
    faces = grid(120, 60, around_rows=True)
    faces = faces if face_normals(points, faces)[0] @ points[faces[0, 0]] > 0 else faces[:, ::-1]
    found, ends = curvatures(points, faces), np.isin(points[:, 2], [0, 40])
    assert np.isnan(found.mean[ends]).all() and np.isnan(found.gaussian[ends]).all()
    assert np.allclose(found.mean[~ends], 1 / 16, rtol=1e-3)
    assert np.allclose(found.gaussian[~ends], 0, atol=1e-12)


def test_a_saddle_bends_both_ways():
    """z = (x² - y²) / (2 r) has mean curvature 0 and Gaussian curvature -1 / r² at its centre."""
    points, faces = sheet(lambda x, y: (x**2 - y**2) / 40, size=4, count=41)
    found, centre = curvatures(points, faces), np.linalg.norm(points, axis=1).argmin()
    assert found.mean[centre] == pytest.approx(0, abs=1e-12)
    assert found.gaussian[centre] == pytest.approx(-1 / 400, rel=5e-3)


def test_a_torus_has_its_closed_forms():
    """Mean (R + 2 r cos v) / (2 r (R + r cos v)), Gaussian cos v / (r (R + r cos v)); the latter's integral is 0."""
    large, small = 10.0, 3.0
    points, faces = torus(large, small)
    assert ((points - (points * [1, 1, 0]) / np.hypot(*points.T[:2])[:, None] * large) * vertex_normals(points, faces)
            ).sum(axis=1).min() > 0  # fmt: skip
    cosine = (np.hypot(points[:, 0], points[:, 1]) - large) / small
    found = curvatures(points, faces)
    away = large + small * cosine
    assert np.allclose(found.mean, (large + 2 * small * cosine) / (2 * small * away), atol=2e-3)
    assert np.allclose(found.gaussian, cosine / (small * away), atol=2e-3)
    assert (found.gaussian * found.areas).sum() == pytest.approx(0, abs=1e-9)


def test_angle_deficits_sum_to_the_euler_characteristic():
    """An open sheet is a disk; without a face in its middle, a ring."""
    points, faces = sheet(lambda x, y: 0.3 * np.sin(x * y), size=4, count=12)
    assert angle_deficits(points, faces).sum() == pytest.approx(2 * np.pi)
    holed = np.delete(faces, len(faces) // 2, axis=0)
    assert angle_deficits(points, holed).sum() == pytest.approx(0, abs=1e-9)


def test_mixed_areas_tile_the_surface():
    draw = np.random.default_rng(1)
    points, faces = sheet(lambda x, y: 0, size=4, count=9)
    points = points + draw.normal(0, 0.15, points.shape)  # obtuse triangles and others
    assert mixed_areas(points, faces).sum() == pytest.approx(face_areas(points, faces).sum())
    assert (mixed_areas(points, faces) > 0).all()


def test_cotangents_agree_with_a_naive_loop():
    points, faces = sheet(lambda x, y: np.sin(x) + 0.2 * y**2, size=4, count=6)
    wanted = np.zeros((36, 36))
    for face in faces:
        for k in range(3):
            at, i, j = face[k], face[k - 2], face[k - 1]
            one, other = points[i] - points[at], points[j] - points[at]
            weight = 0.5 / np.tan(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))
            wanted[[i, j], [j, i]] -= weight
            wanted[[i, j], [i, j]] += weight
    assert np.allclose(cotangent_laplacian(points, faces).toarray(), wanted)


def test_the_gradient_of_the_area_is_the_laplacian():
    """Meyer et al., eq. 2: the Laplacian of the position is the gradient of the area, here by finite differences."""
    points, faces = sheet(lambda x, y: np.cos(x) * y, size=4, count=5)
    gradient, step = np.zeros_like(points), 1e-5
    for index in np.ndindex(points.shape):
        up, down = points.copy(), points.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (face_areas(up, faces).sum() - face_areas(down, faces).sum()) / (2 * step)
    assert np.allclose(cotangent_laplacian(points, faces) @ points, gradient, atol=1e-8)


def test_slivers_and_stray_vertices_leave_others_alone():
    points, faces = sphere(5.0, levels=2)
    more = np.concatenate([points, [[9.0, 9, 9], [20, 0, 0], [21, 0, 0], [22, 0, 0]]])
    count = len(points)
    odd = curvatures(more, np.concatenate([faces, [[count + 1, count + 2, count + 3]]]))
    assert np.allclose(odd.mean[:count], curvatures(points, faces).mean)
    assert np.isnan(odd.mean[count:]).all()
    assert border_vertices(faces, count).sum() == 0
