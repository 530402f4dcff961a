"""Two points of a face that tell its place and size whatever its hair: between the pupils, and the chin.

Both are defined on the template of a head model and follow their vertices from there, so that every head of the model
has them. Whoever marks the points in a mesh of another system looks for the same: midway between the pupils, and on the
midline the point of the chin that lies furthest down and forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.heads.base import HeadModel

_MIDLINE = 4.0
"""What a metre to the side of the midline costs a vertex that could be the chin, in metres down or forward."""


@dataclass(frozen=True)
class FacePoints:
    """The vertices of a head model that are a face's points.

    Attributes:
        right, left: pupils: the foremost vertices of the eyes on either side.
        chin: on the midline of the face, furthest down and forward.
    """

    right: int
    left: int
    chin: int

    @classmethod
    def of(cls, head: HeadModel) -> FacePoints:
        """Find the points on the template of a head model.

        Raises:
            ValueError: the head model has no region ``eyes`` or ``face``.
        """
        regions = head.topology.regions
        if missing := [name for name in ("eyes", "face") if name not in regions or not regions[name].any()]:
            raise ValueError(f"head '{head.id}': got no region {' and '.join(missing)}; expected both eyes and face")
        x, y, z = head.canonical(head.shape_template[None])[0].unbind(-1)
        pupils = [int(z.masked_fill(~(regions["eyes"] & side), -torch.inf).argmax()) for side in (x < 0, x > 0)]
        chin = (z - y - _MIDLINE * x.abs()).masked_fill(~regions["face"], -torch.inf).argmax()
        return cls(*pupils, chin=int(chin))

    def eyes(self, vertices: Float[Tensor, "B N 3"]) -> Float[Tensor, "B 3"]:
        """Return the points between the pupils of heads with these vertices."""
        return (vertices[:, self.right] + vertices[:, self.left]) / 2
