"""Project images of one head, seen from fixed cameras, onto its texture.

A texel takes the mean of the views that see it, weighted by the cosine of incidence and by how large a camera shows it.
A mean of bilinear samples blurs. `corrected` projects what renders of a texture still lack onto it: iterative
back-projection (Irani and Peleg, "Improving resolution by image registration", 1991), whose fixed point renders as the
images do, as far as they agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from avatargen.geometry.normals import area_normals
from avatargen.geometry.types import Cameras, RenderOutput
from avatargen.render.base import Renderer
from avatargen.render.geometry import camera_frames, project
from avatargen.render.texel_map import TexelMap, nearest_indices

POWER = 4.0
"""Exponent of the cosine between normal and view direction: grazing views smear, so they get little weight."""
MAGNIFICATION_POWER = 2.0
"""Exponent of a camera's magnification: a texel counts by the pixels that show it."""
DEPTH_SLACK = 0.004
"""Largest distance behind the depth that its pixel shows at which a texel counts as visible, metres."""
LEAST_WEIGHT = 1e-3
"""Sum of its views' weights above which a texel is seen."""
DOUBT = 0.1
"""Weight of no correction at all. A texel that is seen at a grazing angle hardly shows in renders, so what these lack
would add up in it from correction to correction."""
SOLID = 0.99
"""Coverage above which a pixel shows nothing of the background."""


@dataclass(frozen=True)
class Projection:
    """Where texels lie in the images of fixed cameras, and what each image counts for them.

    Attributes:
        renderer: renders the head.
        cameras: (1, V).
        vertices: of the head, metres.
        places: of the K texels that lie in a chart, in each image, in [-1, 1].
        weights: of each image at each of them; 0 where it does not show it.
        nearest: which of them is the nearest that an image shows, for each texel of the texture.
    """

    renderer: Renderer
    cameras: Cameras
    vertices: Float[Tensor, "1 N 3"]
    places: Float[Tensor, "V 1 K 2"]
    weights: Float[Tensor, "V K"]
    nearest: Int[Tensor, "Ht Wt"]

    def mean(self, images: Float[Tensor, "V C h w"], doubt: float = 0.0) -> Float[Tensor, "C Ht Wt"]:
        """Return the texture of weighted means; a texel that no view sees takes the value of the nearest one seen.

        Args:
            images: of the views.
            doubt: weight of a further view that shows zero.
        """
        colours = F.grid_sample(images, self.places, align_corners=False)[:, :, 0].transpose(1, 2)
        total = (self.weights.sum(0) + doubt).clamp(min=1e-8)
        values = (colours * self.weights[..., None]).sum(0) / total[:, None]
        return values[self.nearest.flatten()].T.reshape(-1, *self.nearest.shape)

    def render(self, texture: Float[Tensor, "C Ht Wt"], size: int, samples: int) -> RenderOutput:
        """Render a texture on the head from the cameras."""
        return self.renderer.render(
            self.vertices, self.cameras, size, texture=texture[None], samples=samples, normals=False, gradients=False
        )

    def corrected(
        self, texture: Float[Tensor, "C Ht Wt"], images: Float[Tensor, "V C h w"], samples: int
    ) -> Float[Tensor, "C Ht Wt"]:
        """Return the texture plus the mean of what its renders lack of the images, inside the silhouette.

        Args:
            texture: to correct.
            images: that its renders should be like.
            samples: of renders, on each side of a pixel.
        """
        made = self.render(texture, images.shape[-1], samples)
        return texture + self.mean((images - made.features[0]) * (made.coverage[0] > SOLID), DOUBT)


def build_projection(
    renderer: Renderer,
    texel_map: TexelMap,
    faces: Int[Tensor, "F 3"],
    vertices: Float[Tensor, "1 N 3"],
    cameras: Cameras,
    fov: float,
    size: int,
) -> Projection:
    """Find where texels lie in the images of cameras, and which images show them.

    Args:
        renderer: renders the head.
        texel_map: of the head's topology; its size is the texture's.
        faces: of the head.
        vertices: of the head, metres.
        cameras: (1, V).
        fov: vertical field of view of a camera with magnification 1, degrees.
        size: rows and columns of depth maps that tell what is hidden.
    """
    points = texel_map.gather(vertices[0])
    normals = F.normalize(texel_map.gather(area_normals(vertices[0], faces)), dim=-1)
    pixels, depth = project(points[None], cameras, size)
    places = (pixels[0] / size * 2 - 1)[:, None]
    shown = renderer.render(vertices, cameras, size, normals=False, gradients=False).depth[0]
    nearest = F.grid_sample(shown, places, mode="nearest", align_corners=False)[:, 0, 0]
    visible = (depth[0] < nearest + DEPTH_SLACK) & (nearest > 0)
    towards = F.normalize(camera_frames(cameras).positions[0][:, None] - points, dim=-1)
    cosine = (towards * normals).sum(-1).clamp(min=0)
    weights = cosine**POWER * visible * magnification(cameras, fov)[0][:, None] ** MAGNIFICATION_POWER
    return Projection(renderer, cameras, vertices, places, weights, _nearest(texel_map, weights.sum(0) > LEAST_WEIGHT))


def _nearest(texel_map: TexelMap, seen: Bool[Tensor, " K"]) -> Int[Tensor, "Ht Wt"]:
    """Return which covered texel is the nearest that is seen, for each texel of the texture."""
    mask = torch.zeros_like(texel_map.covered)
    mask[texel_map.covered] = seen
    order = texel_map.covered.flatten().cumsum(0) - 1
    return order[nearest_indices(mask)]


def magnification(cameras: Cameras, fov: float) -> Float[Tensor, "B V"]:
    """Return how much larger cameras show things than one with a given field of view at the same place.

    Args:
        cameras: to compare.
        fov: vertical, degrees.

    Example:
        >>> one = torch.ones(1, 2)
        >>> pair = Cameras(0 * one, 0 * one, one, torch.tensor([[90.0, 2 * 26.565051]]), torch.zeros(1, 2, 3))
        >>> magnification(pair, fov=90.0).round(decimals=4).tolist()
        [[1.0, 2.0]]
    """
    extent = torch.deg2rad(cameras.fov / 2).tan()
    return torch.deg2rad(torch.full_like(cameras.fov, fov) / 2).tan() / extent
