"""Build the ground-truth head of a prompt, which the closed world knows."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.types import HeadParameters
from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.base import HeadModel
from avatargen.headworld.appearance import make_appearance
from avatargen.headworld.phrases import described
from avatargen.render.texel_map import build_texel_map

TEXTURE_SIZE = 512
"""Rows and columns of the texture, texels."""


@dataclass(frozen=True)
class TrueHead:
    """Geometry, expression and albedo of the head that a prompt describes.

    Attributes:
        parameters: of a batch of one; its offsets are the volumes of hair, beard and features.
        texture: albedo, RGB in [0, 1].
    """

    parameters: HeadParameters
    texture: Float[Tensor, "3 H W"]


def true_head(prompt: str, tags: tuple[str, ...], head: HeadModel) -> TrueHead | None:
    """Return the ground-truth head of a prompt, or None if it has none (see `described`).

    Attributes that the prompt does not name have their template value.

    Args:
        prompt: any text.
        tags: the prompt's tags.
        head: the Anny head, on any device.

    Returns:
        The ground-truth head, always on the CPU.
    """
    attributes = described(prompt, tags)
    if attributes is None:
        return None
    head = head.to("cpu")
    assert isinstance(head, AnnyHead), f"true_head: got head '{head.id}'; expected the Anny head"
    appearance = make_appearance(head, attributes)
    texel_map = build_texel_map(head.topology, TEXTURE_SIZE)
    return TrueHead(appearance.parameters, texel_map.to_image(texel_map.gather(appearance.colours)))
