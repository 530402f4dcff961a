"""Detail of surfaces in correspondence: normals that are turned, bumps that are added, curvature of known surfaces."""

import numpy as np
import pytest
import roma
import torch

from eval.curvature import vertex_normals
from eval.detail import (
    Skin,
    angles,
    bands_of,
    bends,
    centred,
    correlation,
    filled,
    mean_over,
    normal_errors,
    rms,
)
from eval.scale_space import ScaleSpace
from tests.eval.meshes import middle, sheet, sphere


@pytest.mark.parametrize("degrees", [0.001, 7.0, 90.0, 179.0])
def test_a_turned_sheet_is_off_by_its_angle(degrees):
    points, faces = sheet(lambda x, y: 0, size=4, count=5)
    turn = roma.rotvec_to_rotmat(torch.tensor([np.deg2rad(degrees), 0, 0])).numpy()
    assert np.allclose(normal_errors(points, points @ turn.T, faces), degrees, rtol=1e-6)


def test_normals_do_not_depend_on_size_or_place():
    points, faces = sphere(5.0, levels=2)
    assert np.allclose(normal_errors(points, 3 * points + 7, faces), 0, atol=1e-5)


def test_angles_are_exact_for_opposite_and_equal_vectors():
    one = np.array([[0.0, 0, 1], [0.6, 0.8, 0]])
    assert angles(one, -one).tolist() == [180, 180] and angles(one, one).tolist() == [0, 0]


def test_curvature_is_in_metres_and_clamped():
    points, faces = sphere(20.0)
    found = bends(points, faces)
    assert np.allclose(found.mean, 50, rtol=5e-3) and np.allclose(found.gaussian, 50, rtol=2e-2)
    assert found.defined.all()
    assert bends(points / 1000, faces).mean.tolist() == [1000.0] * len(points)  # a radius of 0.02 mm


def test_borders_take_the_curvature_of_their_neighbours():
    points, faces = sheet(lambda x, y: (x**2 + y**2) / 40, size=8, count=9)  # 1 / 20 at the bottom
    found = bends(points, faces)
    assert not found.defined.all() and (found.mean[~found.defined] == 0).all()
    whole = filled(found.mean, found.defined, faces)
    assert np.abs(whole[found.defined] - found.mean[found.defined]).max() == 0
    assert (whole < 0).sum() >= found.defined.sum() + 20  # it bends upwards, away from its normals


def test_noise_is_detail_but_not_the_truth():
    """True bumps and bumps of another phase have as much detail; only the former correlate with the truth."""
    k = 2 * np.pi / 8
    surfaces = [
        sheet(lambda x, y, shift=shift: 0.05 * np.cos(k * x + shift), size=64, count=129)
        for shift in (0.0, np.pi / 2, np.pi)
    ]
    (true, faces), (beside, _), (against, _) = surfaces
    space = ScaleSpace.of(true, faces)
    wanted, *others = (bands_of(points, faces, space) for points in (true, true, beside, against))
    weights = space.areas * middle(true)
    band = space.wavelengths.index(8.0)
    amounts = [rms(each.normals[band], weights) for each in (wanted, *others)]
    assert np.allclose(amounts, amounts[0], rtol=0.03)
    for signal, digits in (("normals", 0.02), ("curvature", 0.05)):
        agree = [correlation(getattr(each, signal)[band], getattr(wanted, signal)[band], weights) for each in others]
        assert np.allclose(agree, [1, 0, -1], atol=digits)


def test_skin_keeps_the_faces_and_regions_that_count():
    points, faces = sphere(1.0, levels=1)
    upper = faces[(points[faces][..., 2] >= 0).all(axis=1)]
    skin = Skin.of(upper, {"top": points[:, 2] > 0.5, "bottom": points[:, 2] < -0.5})
    assert list(skin.regions) == ["top"] and (points[skin.kept][:, 2] >= 0).all()
    assert np.array_equal(skin.kept[skin.faces], upper)
    inside = (points[upper][..., 2] > 0.5).sum(axis=1) >= 2
    assert skin.faces_of("top").tolist() == inside.tolist()


def test_means_without_weight_are_not_defined():
    nothing = np.zeros(3)
    assert np.isnan(mean_over(np.ones(3), nothing)) and np.isnan(rms(np.ones((3, 1)), nothing))
    assert np.isnan(correlation(np.zeros((3, 1)), np.ones((3, 1)), np.ones(3)))


def test_correlation_of_centred_signals_is_pearsons():
    draw = np.random.default_rng(2)
    one, other = draw.normal(3, 1, (2, 200))
    other = other + one
    even = np.ones(200)
    found = correlation(centred(one, even), centred(other, even), even)
    assert found == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert vertex_normals(*sphere(1.0, levels=1)).shape == (18, 3)
