"""The true head of a prompt: what the closed world knows, and no other text-to-3D benchmark does."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.types import HeadParameters
from avatargen.heads.base import HeadModel
from avatargen.headworld.appearance import make_appearance
from avatargen.headworld.phrases import described
from avatargen.render.texel_map import build_texel_map

TEXTURE_SIZE = 512


@dataclass(frozen=True)
class TrueHead:
    """Geometry, expression and albedo of the head that a prompt describes.

    Attributes:
        parameters: a batch of one; hair and beard volume are its offsets.
        texture: albedo, RGB in [0, 1].
    """

    parameters: HeadParameters
    texture: Float[Tensor, "3 H W"]


def true_head(prompt: str, tags: tuple[str, ...], head: HeadModel) -> TrueHead | None:
    """The true head, or None where the prompt says something that the closed world does not know (see `described`).

    What the prompt leaves unsaid sits at its template value. Made on the CPU, where its colours and places are,
    wherever the head is.
    """
    attributes = described(prompt, tags)
    if attributes is None:
        return None
    head = head.to("cpu")
    appearance = make_appearance(head, attributes)
    texel_map = build_texel_map(head.topology, TEXTURE_SIZE)
    return TrueHead(appearance.parameters, texel_map.to_image(texel_map.gather(appearance.colours)))
