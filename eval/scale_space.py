"""Split a signal on a surface into bands by its scale in mm.

A signal is smoothed by heat diffusion over the surface, a Gaussian of geodesic distance to first order, in implicit
steps that are stable on any mesh (Desbrun, Meyer, Schröder and Barr, "Implicit Fairing of Irregular Meshes using
Diffusion and Curvature Flow", 1999, eq. 6, with their eq. 14 for weights). A band is the difference of two smoothings
whose standard deviations differ by a factor of two (Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code",
1983), divided by its largest response: a wave of the band's wavelength keeps its amplitude.

A wave of wavenumber k is an eigenfunction with eigenvalue k². In time t, `STEPS` implicit steps multiply it by
(1 + t k² / STEPS)^-STEPS, and u = t k² decides the response of a band, see `response`. Of a wave an octave away from
a band 0.6 is left, of one two octaves away at most 0.2: neighbouring bands are not independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse.linalg import splu

from eval.curvature import cotangent_laplacian, mixed_areas

WAVELENGTHS = (4.0, 8.0, 16.0, 32.0, 64.0)
"""Centres of the bands, mm, an octave apart. The head's edges are 2 mm in the median, 5 mm on the scalp."""
STEPS = 2
"""Implicit steps of each smoothing; more of them come closer to a Gaussian, and take longer."""
_R = 4 ** (1 / (STEPS + 1))
PEAK = STEPS * (_R - 1) / (4 - _R)
"""Where `response` is largest: there (1 + 4 u / STEPS) = 4^(1 / (STEPS + 1)) (1 + u / STEPS)."""
LARGEST = (1 + PEAK / STEPS) ** -STEPS - (1 + 4 * PEAK / STEPS) ** -STEPS
"""What the difference of two smoothings leaves of a wave there."""
Solve = Callable[[np.ndarray], np.ndarray]


def response(u: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Return what a band leaves of a wave's amplitude, by u = t k²; 1 at most.

    Example:
        >>> lengths = np.array([4.0, 2.0, 1.0, 0.5, 0.25])  # wavelengths, relative to the band's
        >>> response(PEAK / lengths**2).round(2).tolist()
        [0.21, 0.62, 1.0, 0.55, 0.1]
    """
    return ((1 + u / STEPS) ** -STEPS - (1 + 4 * u / STEPS) ** -STEPS) / LARGEST


@dataclass(frozen=True)
class ScaleSpace:
    """The bands of signals on one surface. Make one with `ScaleSpace.of`: it factorises a matrix for each smoothing.

    Attributes:
        wavelengths: centre of each band, mm.
        areas: of the vertices, mm²; the weights of means over the surface.
    """

    wavelengths: tuple[float, ...]
    areas: Float[np.ndarray, " N"]
    _solves: tuple[Solve, ...]

    @classmethod
    def of(
        cls,
        vertices: Float[np.ndarray, "N 3"],
        faces: Int[np.ndarray, "F 3"],
        wavelengths: tuple[float, ...] = WAVELENGTHS,
    ) -> ScaleSpace:
        """Prepare the bands of a surface.

        Args:
            vertices: mm; each belongs to a face.
            faces: triangles.
            wavelengths: centres of the bands, mm, each twice the one before.
        """
        areas = np.maximum(mixed_areas(vertices, faces), 1e-9)  # of slivers, rounding may leave 0
        stiffness = cotangent_laplacian(vertices, faces)
        times = [PEAK * (length / (2 * np.pi)) ** 2 for length in (*wavelengths, 2 * wavelengths[-1])]
        return cls(wavelengths, areas, tuple(_solver(areas, stiffness, time / STEPS) for time in times))

    def bands(self, signal: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "S N C"]:
        """Return the part of a signal in each band.

        Example:
            >>> corners = np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
            >>> space = ScaleSpace.of(corners, np.array([[0, 1, 2]]))
            >>> bool(np.allclose(space.bands(np.ones((3, 1))), 0))  # a constant has no detail
            True
        """
        smoothed = np.stack([self._smoothed(signal, solve) for solve in self._solves])
        return (smoothed[:-1] - smoothed[1:]) / LARGEST

    def _smoothed(self, signal: np.ndarray, solve: Solve) -> np.ndarray:
        for _ in range(STEPS):
            signal = solve(self.areas[:, None] * signal)
        return signal


def _solver(areas: np.ndarray, stiffness: sp.csr_matrix, time: float) -> Solve:
    """Return the implicit step: solve (M + time L) x = y, which is symmetric and positive definite."""
    matrix = sp.csc_matrix(sp.diags(areas) + time * stiffness)
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True}).solve
