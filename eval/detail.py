"""Compare the geometric detail of two surfaces that share their faces: normals and curvature, by scale and by region.

A mesh is compared with another one vertex by vertex and face by face. Bands are those of the true surface
(:mod:`eval.scale_space`) for both, so that a crumpled surface is not measured by its own crumples.

Both meshes have the creases of the same triangles, and the lips and eyelids of the same head model, so even the
template's detail correlates with any head's: read correlations against the template's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from eval.curvature import Curvatures, curvatures, face_normals, vertex_normals
from eval.scale_space import ScaleSpace

TIGHTEST = 1.0
"""Largest mean curvature that counts, 1 / mm: a mesh with edges of 2 mm does not resolve tighter bends."""


@dataclass(frozen=True)
class Skin:
    """The faces of a mesh that count, over the vertices that they use.

    Attributes:
        kept: indices of these vertices in the whole mesh.
        faces: as indices into `kept`.
        regions: masks over `kept`.
    """

    kept: Int[np.ndarray, " N"]
    faces: Int[np.ndarray, "F 3"]
    regions: Mapping[str, Bool[np.ndarray, " N"]]

    @classmethod
    def of(cls, faces: Int[np.ndarray, "F 3"], regions: Mapping[str, Bool[np.ndarray, " M"]]) -> Skin:
        """Return the part of a mesh that some faces make.

        Args:
            faces: that count, as indices into the vertices of the whole mesh.
            regions: masks over these vertices; those without a vertex of the part are left out.

        Example:
            >>> skin = Skin.of(np.array([[0, 2, 5]]), {"nose": np.arange(6) > 3, "ears": np.arange(6) == 1})
            >>> skin.kept.tolist(), skin.faces.tolist(), {name: mask.tolist() for name, mask in skin.regions.items()}
            ([0, 2, 5], [[0, 1, 2]], {'nose': [False, False, True]})
        """
        kept, index = np.unique(faces, return_inverse=True)
        inside = {name: mask[kept] for name, mask in regions.items()}
        return cls(kept, index.reshape(faces.shape), {name: mask for name, mask in inside.items() if mask.any()})

    def faces_of(self, region: str) -> Bool[np.ndarray, " F"]:
        """Return the faces with two corners or three in a region."""
        return self.regions[region][self.faces].sum(axis=1) >= 2


class Bends(NamedTuple):
    """Mean curvature, 1 / m, and Gaussian curvature as its signed square root, 1 / m; 0 where not defined."""

    mean: Float[np.ndarray, " N"]
    gaussian: Float[np.ndarray, " N"]
    defined: Bool[np.ndarray, " N"]


class Bands(NamedTuple):
    """A surface's normals and mean curvature in each band.

    Attributes:
        normals: (S, N, 3), without unit: the tangent of a tilt.
        curvature: (S, N, 1), 1 / m.
        whole: its curvatures before they are split.
    """

    normals: Float[np.ndarray, "S N 3"]
    curvature: Float[np.ndarray, "S N 1"]
    whole: Bends


def bends(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Bends:
    """Return a surface's curvatures, none tighter than TIGHTEST.

    Args:
        vertices: mm.
        faces: triangles.
    """
    found: Curvatures = curvatures(vertices, faces)
    defined = np.isfinite(found.mean) & np.isfinite(found.gaussian)
    root = np.sign(found.gaussian) * np.sqrt(np.abs(found.gaussian))
    mean, root = (np.where(defined, part, 0.0).clip(-TIGHTEST, TIGHTEST) * 1e3 for part in (found.mean, root))
    return Bends(mean, root, defined)


def bands_of(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], space: ScaleSpace) -> Bands:
    """Return the bands of a surface's normals and mean curvature.

    Args:
        vertices: mm.
        faces: triangles.
        space: whose scales count.
    """
    found = bends(vertices, faces)
    curvature = filled(found.mean, found.defined, faces)
    bands = space.bands(np.concatenate([vertex_normals(vertices, faces), curvature[:, None]], axis=1))
    return Bands(bands[..., :3], bands[..., 3:], found)


def filled(
    values: Float[np.ndarray, " N"], known: Bool[np.ndarray, " N"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, " N"]:
    """Give vertices whose value is not known the mean of their neighbours with one, or 0.

    Example:
        >>> values, known = np.array([3.0, 5.0, 0.0]), np.array([True, True, False])
        >>> filled(values, known, np.array([[0, 1, 2]])).tolist()
        [3.0, 5.0, 4.0]
    """
    one, other = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    ends, count = (np.concatenate([one, other]), np.concatenate([other, one])), len(values)
    beside = sp.csr_matrix((np.ones(len(ends[0])), ends), shape=(count, count)).astype(bool).astype(float)
    total = beside @ known.astype(float)
    return np.where(known, values, (beside @ np.where(known, values, 0.0)) / np.maximum(total, 1))


def normal_errors(
    first: Float[np.ndarray, "N 3"], second: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, " F"]:
    """Return the angle between the normals of corresponding faces, degrees.

    Example:
        >>> flat = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> steep = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        >>> normal_errors(flat, steep, np.array([[0, 1, 2]])).round(3).tolist()
        [90.0]
    """
    return angles(face_normals(first, faces), face_normals(second, faces))


def angles(first: Float[np.ndarray, "*n 3"], second: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n"]:
    """Return the angles between vectors, degrees; exact for small ones, too.

    Example:
        >>> angles(np.array([[1.0, 0.0, 0.0]]), np.array([[np.cos(1e-6), np.sin(1e-6), 0.0]])) * np.pi / 180
        array([1.e-06])
    """
    sines = np.linalg.norm(np.cross(first, second), axis=-1)
    return np.rad2deg(np.arctan2(sines, (first * second).sum(axis=-1)))


def mean_over(values: Float[np.ndarray, " K"], weights: Float[np.ndarray, " K"]) -> float:
    """Return a weighted mean; NaN without weight."""
    return float((values * weights).sum() / weights.sum()) if weights.sum() > 0 else float("nan")


def rms(signal: Float[np.ndarray, "N C"], weights: Float[np.ndarray, " N"]) -> float:
    """Return the root mean square length of a signal; NaN without weight.

    Example:
        >>> rms(np.array([[3.0, 4.0], [0.0, 1.0]]), np.array([1.0, 0.0]))
        5.0
    """
    return float(np.sqrt(mean_over((signal**2).sum(axis=1), weights)))


def correlation(
    first: Float[np.ndarray, "N C"], second: Float[np.ndarray, "N C"], weights: Float[np.ndarray, " N"]
) -> float:
    """Return the weighted cosine of two signals, which bands make their correlation; NaN where one is zero.

    Example:
        >>> one = np.array([[1.0, 0.0], [0.0, 2.0]])
        >>> float(round(correlation(one, -3 * one, np.ones(2)), 6))
        -1.0
    """
    product, lengths = mean_over((first * second).sum(axis=1), weights), rms(first, weights) * rms(second, weights)
    return product / lengths if lengths > 0 else float("nan")


def centred(values: Float[np.ndarray, " N"], weights: Float[np.ndarray, " N"]) -> Float[np.ndarray, "N 1"]:
    """Return a signal less its weighted mean, for `correlation`."""
    return (values - mean_over(values, weights))[:, None]
