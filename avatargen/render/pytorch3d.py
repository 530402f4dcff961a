"""PyTorch3D as a renderer: soft rasterisation, which the paper used.

With gradients, everything is blended softly (Liu et al., "Soft Rasterizer", ICCV 2019, arXiv 1904.01786). A face lies
at the squared distance d from a sample, negative inside the face, and at depth z. It covers the sample with
probability D = sigmoid(-d / sigma), and its weight among the sample's faces is D exp(-z / gamma), normalised:

coverage   the soft silhouette, 1 - product of (1 - D); mean over the samples of a pixel.
features   texture or attributes by these weights. SoftRas gives the background a weight, too, which is 0 in float32 at
           the usual gamma; here `RenderOutput.over` composites by the coverage instead. The samples of a pixel are
           averaged by their coverage, so that a composite is the mean of its samples' composites.
normals    unit normals by the same weights.
depth      of the visible face, not blended; so is face_ids.

Without gradients nothing is soft: the visible faces are PyTorch3D's, and all outputs are computed from them as the
default renderer does. `avatargen.render.fragments` calls the rasteriser.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from avatargen.config.settings import SoftRasterSettings
from avatargen.geometry.types import Cameras, RenderOutput
from avatargen.render.base import Interior
from avatargen.render.fragments import ON_EDGE, Fragments, rasterise
from avatargen.render.geometry import Frames, camera_frames
from avatargen.render.sampling import add_rows
from avatargen.render.warp import Hits, WarpRenderer, nearest_depth

TAIL = 1.0e-4
"""Probability below which a face no longer counts at a sample (`dist_eps` of SoftRas' code)."""
DEPTH_RANGE = 99.0
"""Metres from the near to the far plane of SoftRas' code, 1 to 100; gamma is a share of it."""


class Pytorch3dRenderer(WarpRenderer):
    """PyTorch3D's rasteriser: soft with gradients, hard without; see the module and the base class.

    Args:
        topology: faces and texture coordinates.
        template: has no effect.
        soft: sigma, gamma, and the number of faces that blend.
    """

    def render(
        self,
        vertices: Float[Tensor, "B N 3"],
        cameras: Cameras,
        size: int,
        *,
        texture: Float[Tensor, "B C Ht Wt"] | None = None,
        attributes: Float[Tensor, "B N C"] | None = None,
        samples: int = 1,
        gradients: bool = True,
        normals: bool = True,
        interior: Interior = "all",
    ) -> RenderOutput:
        """See the base class, and the module for what each output is."""
        if not gradients:
            options = {"samples": samples, "gradients": False, "normals": normals, "interior": interior}
            return super().render(vertices, cameras, size, texture=texture, attributes=attributes, **options)
        self._check(vertices, cameras, texture, attributes)
        vertices, shape = vertices.contiguous(), (*cameras.fov.shape, size * samples, size * samples)
        frames = camera_frames(cameras)
        fragments = self._near_faces(vertices, frames, size * samples)
        coverage = sample_coverage(fragments, self.soft.sigma, shape)
        within = vertices if interior == "all" else vertices.detach()
        if interior != "all":
            fragments = fragments.detach()
        hits = self._fragment_hits(fragments, vertices.shape[1], shape)
        blend = Blend.of(fragments, coverage if interior == "all" else coverage.detach(), samples, self.soft)
        features = blend.mean(self._features(within, hits, texture, attributes))
        if normals:
            shading = blend.mean(self._normals(vertices if interior == "normals" else within, hits))
        else:
            shading = coverage.new_zeros(*shape[:2], 3, size, size)
        faces, directions = self._visible_faces(vertices, frames, size * samples)
        seen = self._hits(within, frames, faces, directions)
        depth = nearest_depth(seen.depth, seen.sample, faces.shape, samples)
        centres = faces[..., samples // 2 :: samples, samples // 2 :: samples]
        return RenderOutput(features, pooled(coverage, samples), depth, shading, centres)

    def silhouette(
        self, vertices: Float[Tensor, "B N 3"], cameras: Cameras, size: int, *, samples: int = 2
    ) -> Float[Tensor, "B V 1 size size"]:
        """Render the soft silhouette."""
        self._check(vertices, cameras, None, None)
        shape = (*cameras.fov.shape, size * samples, size * samples)
        fragments = self._near_faces(vertices.contiguous(), camera_frames(cameras), size * samples)
        return pooled(sample_coverage(fragments, self.soft.sigma, shape), samples)

    def _visible_faces(self, vertices: Tensor, frames: Frames, size: int) -> tuple[Tensor, Tensor]:
        """Return the visible face at each pixel's centre, -1 for none, and the directions of rays."""
        shape = (*frames.extents.shape, size, size)
        fragments = rasterise(vertices.detach(), self._faces, frames, size, blur=ON_EDGE, count=1)
        faces = torch.full((math.prod(shape),), -1, device=vertices.device)
        faces = faces.index_copy(0, fragments.sample, fragments.face).view(shape)
        return faces.int(), pixel_directions(frames, size)

    def _near_faces(self, vertices: Tensor, frames: Frames, size: int) -> Fragments:
        """Return the faces that blend at each sample."""
        blur = self.soft.sigma * math.log(1 / TAIL - 1)
        return rasterise(vertices, self._faces, frames, size, blur, self.soft.faces_per_pixel)

    def _fragment_hits(self, fragments: Fragments, vertices: int, shape: tuple[int, ...]) -> Hits:
        """Return fragments as hits of meshes with a number of vertices each, in a (B, V, H, W) grid of samples."""
        batch = torch.div(fragments.sample, math.prod(shape[1:]), rounding_mode="floor")
        corners = self._faces.index_select(0, fragments.face) + (batch * vertices)[:, None]
        return Hits(fragments.sample, batch, fragments.face, corners, fragments.weights, fragments.depth)


@dataclass(frozen=True)
class Blend:
    """Weights of fragments in the pixels of a (B, V, H, W) grid; those of a pixel sum to 1.

    Attributes:
        pixel: flat index of the pixel of each fragment.
        weights: of the fragments.
        shape: of the grid of pixels.
    """

    pixel: Int[Tensor, " P"]
    weights: Float[Tensor, " P"]
    shape: tuple[int, ...]

    @classmethod
    def of(
        cls, fragments: Fragments, coverage: Float[Tensor, "B V Hk Wk"], samples: int, soft: SoftRasterSettings
    ) -> Blend:
        """Weigh the fragments of a sample by probability and depth, and the samples of a pixel by their coverage.

        Args:
            fragments: that blend.
            coverage: of the samples.
            samples: along each side of a pixel.
            soft: sigma and gamma.
        """
        sample, count = fragments.sample, coverage.numel()
        nearest = coverage.new_full((count,), torch.inf).scatter_reduce(0, sample, fragments.depth.detach(), "amin")
        behind = (fragments.depth - nearest[sample]) / (DEPTH_RANGE * soft.gamma)
        weights = torch.sigmoid(-fragments.distance / soft.sigma) * torch.exp(-behind)
        weights = weights * (coverage.flatten() / sums(weights, sample, count).clamp(min=1e-20))[sample]
        rows, columns = coverage.shape[-2:]
        image, row, column = sample // (rows * columns), sample // columns % rows, sample % columns
        shape = (*coverage.shape[:2], rows // samples, columns // samples)
        pixel = (image * shape[2] + row // samples) * shape[3] + column // samples
        total = sums(weights, pixel, math.prod(shape))
        return cls(pixel, weights / total.clamp(min=1e-20)[pixel], shape)

    def mean(self, values: Float[Tensor, "P C"]) -> Float[Tensor, "B V C H W"]:
        """Return the weighted mean of the fragments' values in each pixel, zero where there is none."""
        table = add_rows(values * self.weights[:, None], self.pixel, math.prod(self.shape))
        return table.view(*self.shape, -1).movedim(-1, 2)


def sums(values: Float[Tensor, " P"], index: Int[Tensor, " P"], count: int) -> Float[Tensor, " {count}"]:
    """Return the sum of the values of each index."""
    return values.new_zeros(count).index_add(0, index, values)


def pooled(coverage: Float[Tensor, "B V Hk Wk"], samples: int) -> Float[Tensor, "B V 1 H W"]:
    """Return the mean coverage of each pixel's samples."""
    return torch.nn.functional.avg_pool2d(coverage, samples)[:, :, None]


def sample_coverage(fragments: Fragments, sigma: float, shape: tuple[int, ...]) -> Float[Tensor, "B V Hk Wk"]:
    """Return the soft silhouette at each sample, 1 - product of (1 - D).

    Args:
        fragments: faces near each sample.
        sigma: sharpness of the probability D.
        shape: of the grid of samples.
    """
    missed = sums(logsigmoid(fragments.distance / sigma), fragments.sample, math.prod(shape))
    return -torch.expm1(missed).view(shape)


def pixel_directions(frames: Frames, size: int) -> Float[Tensor, "B V {size} {size} 3"]:
    """Return the world directions through the pixels' centres, of length 1 along the optical axis."""
    place = (torch.arange(size, device=frames.extents.device) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(-place, place, indexing="ij")
    view = torch.stack((x, y), dim=-1) * frames.extents[..., None, None, None]
    bases = frames.bases[:, :, None, None]
    return view[..., :1] * bases[..., 0, :] + view[..., 1:] * bases[..., 1, :] + bases[..., 2, :]
