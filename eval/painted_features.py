"""Find where a texture shows eyes, nose and mouth, against where the mesh has its own.

The ground-truth texture has the texture coordinates of the avatar's, so on the avatar's mesh it shows every feature in
its place. Around each feature, this render is a template that is looked for in the avatar's (:mod:`eval.registration`):
the shift to its best place is the error of the painted feature. Correlations are averaged over the views before the
best place is chosen.

Only places within REACH count, and only peaks of at least SURE. On two heads that show the textures of other prompts,
encoded and decoded, whose features are in place by construction, 39 % of the features are found with such a peak, and
1.5 % of those more than 3 mm off (eyes and nose 0 %, mouth 9 %; 1,056 pairs of textures and features). With their own
textures all are found, 0.3 mm off on average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from avatargen.geometry.types import HeadTopology
from eval.registration import correlation, peak

MARGIN = 5.0
"""What a template shows around a feature, mm."""
REACH = 15.0
"""Largest shift to the right, to the left, up or down that is looked for, mm."""
SURE = 0.5
"""Least correlation at the best place with which a feature counts as found; see the module."""
FEWEST = 16
"""Pixels of a view that must show a feature of the mesh; closed eyes show none."""


class Placement(NamedTuple):
    """Where a texture shows one feature.

    Attributes:
        down, right: shift from the mesh's own feature, mm in the image; NaN where the feature is not found.
        height: correlation at the best place.
        in_place: correlation without a shift.
    """

    down: float
    right: float
    height: float
    in_place: float

    @property
    def found(self) -> bool:
        """Return whether the feature is shown anywhere within reach."""
        return math.isfinite(self.down)

    @property
    def offset(self) -> float:
        """Return the distance from the mesh's own feature, mm."""
        return math.hypot(self.down, self.right)


def features_of(topology: HeadTopology, template: Float[Tensor, "N 3"]) -> dict[str, Bool[Tensor, " N"]]:
    """Return the vertices of each facial feature that a head has.

    Args:
        topology: of the head; regions that it lacks are left out.
        template: its vertices, metres; the subject's left is towards +x.

    Example:
        >>> eyes = torch.tensor([True, True, False])
        >>> topology = HeadTopology(torch.tensor([[0, 1, 2]]), torch.zeros(3, 2), torch.tensor([[0, 1, 2]]),
        ...                         {"eyes": eyes, "lips": ~eyes})
        >>> list(features_of(topology, torch.tensor([[-0.03, 0.0, 0.0], [0.03, 0.0, 0.0], [0.0, -0.05, 0.0]])))
        ['right eye', 'left eye', 'mouth']
    """
    regions, left = topology.regions, template[:, 0] > 0
    found = {"nose": regions.get("nose"), "mouth": regions.get("lips")}
    if "eyes" in regions:
        found = {"right eye": regions["eyes"] & ~left, "left eye": regions["eyes"] & left, **found}
    return {name: mask for name, mask in found.items() if mask is not None}


def placements(
    expected: Float[Tensor, "V 3 S S"],
    shown: Float[Tensor, "V 3 S S"],
    seen: Mapping[str, Bool[Tensor, "V S S"]],
    pixel: float,
) -> dict[str, Placement]:
    """Return where each feature is shown.

    Args:
        expected: renders with every feature in its place.
        shown: renders of the avatar by the same cameras.
        seen: pixels that show each feature of the mesh.
        pixel: its size at the face, mm.

    Returns:
        Without features that no view shows.

    Example:
        >>> mouth, shown = torch.zeros(1, 64, 64, dtype=torch.bool), torch.zeros(1, 3, 64, 64)
        >>> mouth[:, 30:34, 26:38] = True
        >>> expected = mouth.float()[:, None].expand(1, 3, 64, 64)
        >>> found = placements(expected, expected.roll(4, dims=2), {"mouth": mouth}, pixel=1.0)["mouth"]
        >>> round(found.down, 3), round(found.right, 3), found.found
        (4.0, 0.0, True)
    """
    found = {}
    for name, masks in seen.items():
        surfaces = [
            _surface(expected[view], shown[view], mask, pixel)
            for view, mask in enumerate(masks)
            if int(mask.sum()) >= FEWEST
        ]
        if surfaces:
            found[name] = _placement(torch.stack(surfaces).mean(0), pixel)
    return found


def _placement(surface: Float[Tensor, "k k"], pixel: float) -> Placement:
    best, middle = peak(surface), len(surface) // 2
    sure = pixel if best.height >= SURE else math.nan
    return Placement(best.down * sure, best.right * sure, best.height, float(surface[middle, middle]))


def _surface(
    expected: Float[Tensor, "3 S S"], shown: Float[Tensor, "3 S S"], mask: Bool[Tensor, "S S"], pixel: float
) -> Float[Tensor, "k k"]:
    """Return the correlation for each shift within reach."""
    margin, reach = round(MARGIN / pixel), round(REACH / pixel)
    places = mask.nonzero()
    top, left = (places.amin(0) - margin).clamp(min=0).tolist()
    bottom, right = (places.amax(0) + margin + 1).clamp(max=len(mask)).tolist()
    around = F.pad(shown[None], (reach,) * 4, mode="replicate")[0]
    window = around[:, top : bottom + 2 * reach, left : right + 2 * reach]
    return correlation(expected[:, top:bottom, left:right], window)
