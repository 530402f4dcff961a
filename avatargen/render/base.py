"""The interface that every renderer implements (Warp, PyTorch3D)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.types import Cameras, HeadTopology, RenderOutput


class Renderer(ABC):
    """Renders batches of meshes that share one topology. See :class:`avatargen.geometry.types.RenderOutput`."""

    def __init__(self, topology: HeadTopology):
        self.topology = topology

    @abstractmethod
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
        interior: bool = True,
        shaded: bool = False,
    ) -> RenderOutput:
        """Render B meshes from V cameras each, at `size` x `size` pixels.

        Args:
            vertices: posed vertices, metres, on the renderer's device.
            cameras: (B, V) cameras.
            size: rows and columns of the output.
            texture: sampled bilinearly at the interpolated texture coordinates; C may be any number.
            attributes: interpolated over each face instead of a texture (give one of the two or neither;
                with neither, features has no channels).
            samples: samples on each side of a pixel (k means k x k a pixel).
            gradients: build what coverage needs to be differentiable in the vertices (contour edges).
            normals: compute them; without, they are zero.
            interior: let the gradients of features, depth and normals reach the vertices; without, only coverage's
                does, and texture and attributes have theirs.
            shaded: let the gradient of normals reach the vertices where `interior` lets none.

        Raises:
            ValueError: shapes disagree, or both `texture` and `attributes` are given.
        """

    def silhouette(
        self, vertices: Float[Tensor, "B N 3"], cameras: Cameras, size: int, *, samples: int = 2
    ) -> Float[Tensor, "B V 1 size size"]:
        """Coverage alone, differentiable in the vertices; arguments as for `render`."""
        return self.render(vertices, cameras, size, samples=samples, normals=False, interior=False).coverage
