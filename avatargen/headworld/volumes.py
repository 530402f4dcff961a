"""Displace the neutral head's vertices to form hair, beards, horns and pointed ears.

Places are given on the template, in metres in head space (x to its left, y up, z ahead; eyes at about y = 0.03), so
that they select the same vertices on every head.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from avatargen.geometry.normals import area_normals
from avatargen.geometry.types import HeadParameters
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.attributes import Attributes

HAIR_DEPTH = {"short": 0.010, "bald": 0.0, "long": 0.014, "afro": 0.036, "mohawk": 0.042, "bun": 0.008}
"""Metres that hair stands off the scalp."""
MOHAWK_WIDTH = 0.020
"""Metres from the midline at which a mohawk falls to 1/e of its depth."""
BUN = (0.0, 0.120, -0.075)
"""Centre of a bun, metres."""
HORN = (0.042, 0.112, 0.058)
"""Centre of the left horn, metres."""
SMALL = 0.6
"""Depth of a baby's hair, relative to other ages."""


def template_points(head: AnnyHead) -> Float[Tensor, "N 3"]:
    """Return the vertices of the template, metres."""
    return head.canonical(head.shape_template[None])[0]


def ramp(distance: Tensor, width: float) -> Tensor:
    """Return a smooth step from 0 at -width/2 to 1 at +width/2.

    Example:
        >>> ramp(torch.tensor([-1.0, 0.0, 0.25, 1.0]), width=1.0).tolist()
        [0.0, 0.5, 0.84375, 1.0]
    """
    t = (distance / width + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)


def curtain(head: AnnyHead, points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    """Return the mask of hanging hair: the back and sides of the neck, up to the scalp.

    Args:
        head: the head model.
        points: template vertices, metres.
    """
    border = -0.042 + 0.034 * ((-0.03 - points[:, 1]) / 0.025).clamp(0, 1)  # behind the ears, further ahead below them
    behind = ramp(border - points[:, 2], 0.014)
    below = ramp(0.005 - points[:, 1], 0.030)
    skin = head.region_weights["skin"] * (1 - head.region_weights["ears"])
    return behind * below * skin


def strip(points: Float[Tensor, "N 3"], width: float) -> Float[Tensor, " N"]:
    """Return a soft mask of the strip within `width` (metres) of the midline.

    Example:
        >>> strip(torch.tensor([[0.0, 0.0, 0.0], [0.06, 0.0, 0.0]]), width=0.02).round().tolist()
        [1.0, 0.0]
    """
    return torch.exp(-((points[:, 0] / width) ** 4))


def volumes(head: AnnyHead, attributes: Attributes, parameters: HeadParameters) -> Float[Tensor, "1 N 3"]:
    """Return the displacement of each vertex of the neutral head, metres.

    Args:
        head: the head model.
        attributes: of the head.
        parameters: a batch of one; only its shape is used.
    """
    neutral = head.canonical(parameters.shape)[0]
    normals = area_normals(neutral, head.topology.faces)
    points = template_points(head)
    depth = torch.maximum(_hair(head, attributes, points), _beard(head, attributes))
    moved = depth[:, None] * normals
    if attributes.hair == "long":
        outward = F.normalize(torch.stack([points[:, 0], 0 * points[:, 0], points[:, 2] + 0.02], dim=1), dim=1)
        hanging = curtain(head, points) * (1 - 0.75 * head.region_weights["scalp"])
        moved = moved + 0.028 * hanging[:, None] * outward
    if attributes.beard == "long":
        hanging = head.region_weights["beard"] * ramp(-0.062 - points[:, 1], 0.03)
        moved = moved + 0.055 * hanging[:, None] * torch.tensor((0.0, -1.0, 0.2))
    return (moved + _feature(head, attributes, points, normals))[None]


def _hair(head: AnnyHead, attributes: Attributes, points: Tensor) -> Float[Tensor, " N"]:
    """Return the depth of the hair, metres along the normal."""
    scale = SMALL if attributes.age == "baby" else 1.0
    scalp = head.region_weights["scalp"].clamp(0, 1)
    depth = HAIR_DEPTH[attributes.hair] * scalp**0.7
    if attributes.hair == "mohawk":
        depth = depth * torch.exp(-((points[:, 0] / MOHAWK_WIDTH) ** 2))
    if attributes.hair == "bun":
        depth = depth + 0.046 * scalp * _spot(points, BUN, 0.032, sharp=4)
    return scale * depth


def _beard(head: AnnyHead, attributes: Attributes) -> Float[Tensor, " N"]:
    """Return the depth of beard and moustache, metres along the normal."""
    beard, moustache = head.region_weights["beard"], head.region_weights["moustache"]
    if attributes.beard == "none":
        return torch.zeros_like(beard)
    if attributes.beard == "moustache":
        return 0.007 * moustache**1.5
    return torch.maximum(0.010 * beard**1.5, 0.004 * moustache**1.5)


def _feature(head: AnnyHead, attributes: Attributes, points: Tensor, normals: Tensor) -> Float[Tensor, "N 3"]:
    """Return the displacement by horns or by the tips of pointed ears, metres."""
    if attributes.feature == "horns":
        right, left = (_spot(points, (side * HORN[0], *HORN[1:]), 0.014) for side in (-1, 1))
        return 0.048 * (right + left)[:, None] * F.normalize(normals + torch.tensor((0.0, 0.6, 0.2)), dim=1)
    if attributes.feature == "pointed ears":
        height = head.region_weights["ears"] * ((points[:, 1] + 0.002) / 0.036).clamp(0, 1) ** 2
        away = torch.stack([points[:, 0].sign() * 0.45, torch.ones(len(points)), torch.full((len(points),), -0.45)], 1)
        return 0.034 * height[:, None] * away
    return torch.zeros_like(points)


def _spot(points: Tensor, centre: tuple[float, float, float], radius: float, sharp: int = 2) -> Float[Tensor, " N"]:
    """Return a smooth bump around a point, in [0, 1]; a larger `sharp` flattens its top and steepens its edge."""
    return torch.exp(-(((points - torch.tensor(centre)).norm(dim=1) / radius) ** sharp))
