"""Bands of signals whose scale is known."""

import numpy as np
import pytest

from eval.curvature import vertex_normals
from eval.scale_space import LARGEST, PEAK, ScaleSpace, response
from tests.eval.meshes import middle, sheet, sphere


def rms(values, weights):
    return np.sqrt((weights * (values**2).sum(axis=-1)).sum(axis=-1) / weights.sum())


def test_response_peaks_at_one():
    u = np.geomspace(1e-4, 1e4, 20001)
    found = response(u)
    assert found.max() == pytest.approx(1, abs=1e-6) and u[found.argmax()] == pytest.approx(PEAK, rel=1e-3)
    assert response(np.array([1.0]))[0] * LARGEST == pytest.approx((1 + 1 / 2) ** -2 - (1 + 2) ** -2)


@pytest.mark.parametrize("band", range(4))
def test_a_wave_keeps_its_amplitude_in_its_band(band):
    """Across a sheet, in the direction of no edge; borders have half of the sheet's length to fade."""
    wavelength = (4.0, 8.0, 16.0, 32.0)[band]
    points, faces = sheet(lambda x, y: 0, size=6 * wavelength, count=97)
    space = ScaleSpace.of(points, faces)
    wave = np.cos(2 * np.pi / wavelength * (0.8 * points[:, 0] + 0.6 * points[:, 1]))[:, None]
    inner = middle(points, 0.4)
    found = rms(space.bands(0.3 * wave)[:, inner], space.areas[inner]) * np.sqrt(2)
    assert found.argmax() == band
    assert found[band] == pytest.approx(0.3, rel=0.03)
    octaves = 4.0 ** (np.arange(5) - band)
    assert np.allclose(found, 0.3 * response(PEAK * octaves), atol=0.02)


def test_spherical_harmonics_are_damped_by_their_eigenvalue():
    """Of degree l, with eigenvalue l (l + 1) / r²: an independent check of the diffusion on a curved surface."""
    radius, degree = 20.0, 3
    points, faces = sphere(radius, levels=5)
    z = points[:, 2] / radius
    harmonic = (z * (5 * z**2 - 3))[:, None]
    space = ScaleSpace.of(points, faces)
    times = PEAK * (np.array(space.wavelengths) / (2 * np.pi)) ** 2
    wanted = response(times * degree * (degree + 1) / radius**2)
    for band, share in zip(space.bands(harmonic), wanted, strict=True):
        assert np.allclose(band, share * harmonic, atol=0.01)


def test_bumps_of_known_height_peak_at_their_scale():
    """Bumps of height a and wavelength 8 mm tilt normals by a 2π / 8 mm, and the spectrum says so."""
    height, wavelength = 0.05, 8.0
    wave = 2 * np.pi / wavelength
    points, faces = sheet(lambda x, y: height * np.cos(wave * x), size=64, count=193)
    flat = points * [1, 1, 0]
    space, inner = ScaleSpace.of(flat, faces), middle(points)
    tilt = np.rad2deg(rms(space.bands(vertex_normals(points, faces))[:, inner], space.areas[inner]))
    assert tilt.argmax() == space.wavelengths.index(8.0)
    assert tilt[1] == pytest.approx(np.rad2deg(height * wave) / np.sqrt(2), rel=0.03)


def test_bands_add_up_to_what_lies_between_the_first_and_the_last():
    points, faces = sphere(10.0, levels=3)
    drawn = np.random.default_rng(0).normal(size=(len(points), 2))
    space = ScaleSpace.of(points, faces)
    sharp, blurred = (space._smoothed(drawn, solve) for solve in (space._solves[0], space._solves[-1]))
    assert np.allclose(space.bands(drawn).sum(axis=0) * LARGEST, sharp - blurred)
    assert np.allclose(space.areas @ blurred, space.areas @ drawn)  # diffusion loses nothing


def test_scales_are_in_mm_of_the_surface():
    """A surface twice as large moves its detail to the next band."""
    points, faces = sphere(15.0, levels=5)
    harmonic = (
        np.sin(8 * np.arctan2(points[:, 1], points[:, 0]))[:, None] * (np.hypot(*points.T[:2]) / 15)[:, None] ** 8
    )
    small, large = (rms(s.bands(harmonic), s.areas) for s in (ScaleSpace.of(k * points, faces) for k in (1, 2)))
    assert np.allclose(small[:-1], large[1:], rtol=1e-6)
