"""The interface of renderers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from avatargen.config.settings import SoftRasterSettings
from avatargen.geometry.types import Cameras, HeadTopology, RenderOutput

Interior = Literal["all", "normals", "none"]
"""Which renders let gradients inside the silhouette reach the vertices: features, depth and normals; normals; none."""


class Renderer(ABC):
    """Renders batches of meshes that share one topology, on its device.

    Args:
        topology: faces and texture coordinates.
        template: vertices (metres) that a renderer may build its data structures around.
        soft: settings of renderers that blend softly.
    """

    def __init__(
        self,
        topology: HeadTopology,
        template: Float[Tensor, "N 3"] | None = None,
        soft: SoftRasterSettings | None = None,
    ):
        self.topology, self.template = topology, template
        self.soft = soft or SoftRasterSettings()

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
        interior: Interior = "all",
    ) -> RenderOutput:
        """Render B meshes from V cameras each, at `size` x `size` pixels.

        Args:
            vertices: posed vertices, metres, on the renderer's device.
            cameras: (B, V) cameras.
            size: rows and columns of the output.
            texture: sampled bilinearly at the interpolated texture coordinates; any number of channels.
            attributes: interpolated over each face in place of a texture; with neither, features have no channels.
            samples: samples along each side of a pixel; k gives k x k samples.
            gradients: make coverage differentiable in the vertices.
            normals: compute normals; without, they are zero.
            interior: which renders besides coverage are differentiable in the vertices. Gradients of texture and
                attributes do not depend on it.

        Raises:
            ValueError: batch sizes differ, or both `texture` and `attributes` are given.
        """

    def silhouette(
        self, vertices: Float[Tensor, "B N 3"], cameras: Cameras, size: int, *, samples: int = 2
    ) -> Float[Tensor, "B V 1 size size"]:
        """Render coverage alone, differentiable in the vertices; see `render` for the arguments."""
        return self.render(vertices, cameras, size, samples=samples, normals=False, interior="none").coverage
