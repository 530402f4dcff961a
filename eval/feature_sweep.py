"""Scale one feature of ground-truth heads, and measure how near the head model comes, whatever the prior.

Captions of the closed world name a feature without its strength. So the strength is made: with B a bald head and F the
same head with the feature, the wanted head is B + s (F - B). At s = 1 it is the ground truth; where coefficients make
the feature, they are at or near their bounds there, and the model's span ends soon after. Distances are means over the
surface that the feature moves by more than MOVED.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.appearance import make_appearance
from avatargen.headworld.attributes import Attributes
from eval.span import nearest_offsets, nearest_shape
from eval.surface import faces_within, vertex_areas
from eval.truth import HIDDEN, outside, surface_distances

FEATURES = ("long nose", "wide jaw", "big ears", "pointed ears")
STRENGTHS = (0.25, 0.5, 1.0, 1.5, 2.0)
MOVED = 0.001  # metres


class Reached(NamedTuple):
    """How near a head model comes to a feature of some strength.

    Attributes:
        strength: 1 is the ground truth's.
        feature_mm: distance of the wanted head from the head without the feature.
        without_offsets_mm: from the nearest head of the model.
        with_offsets_mm: from this head with the nearest offsets.
    """

    feature: str
    strength: float
    feature_mm: float
    without_offsets_mm: float
    with_offsets_mm: float


def sweep(
    head: AnnyHead, limit: float, features: Sequence[str] = FEATURES, strengths: Sequence[float] = STRENGTHS
) -> list[Reached]:
    """Return how near the model comes to each feature at each strength.

    Args:
        head: the model.
        limit: largest component of an offset, metres.
        features: of the closed world.
        strengths: ascending; each search starts where the last one ended.
    """
    base = _neutral(head, Attributes(hair="bald"))
    found = []
    for feature in features:
        change = _neutral(head, Attributes(hair="bald", feature=feature)) - base
        shape = None
        for strength in strengths:
            wanted = base + strength * change
            weights = vertex_areas(wanted, faces_within(head.topology.faces, outside(head.topology, HIDDEN)))
            shape = nearest_shape(head, wanted, weights, shape)
            nearest = head.canonical(shape[None])[0]
            corrected = nearest + nearest_offsets(head, wanted - nearest, limit)
            errors = [_distance(head, made, wanted, change) for made in (base, nearest, corrected)]
            found.append(Reached(feature, strength, *errors))
    return found


def _neutral(head: AnnyHead, attributes: Attributes) -> Float[Tensor, "N 3"]:
    return head.vertices(make_appearance(head, attributes).parameters.neutral())[0]


def _distance(
    head: AnnyHead, made: Float[Tensor, "N 3"], wanted: Float[Tensor, "N 3"], change: Float[Tensor, "N 3"]
) -> float:
    """Return the mean distance of two surfaces, mm, where the feature moves them."""
    faces = faces_within(head.topology.faces, outside(head.topology, HIDDEN))
    moved = change[faces.long()].mean(dim=1).norm(dim=-1) > MOVED
    distances, areas = surface_distances(made, wanted, faces)
    return 1000 * float((distances * areas)[:, moved].sum() / areas[:, moved].sum())
