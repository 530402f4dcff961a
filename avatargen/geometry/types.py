"""Tensor types that all modules share, and the conventions behind them.

Axes      right-handed; y is up, the face looks along +z, +x is the subject's left.
Units     metres for lengths, degrees for camera angles, radians (axis-angle) for joint rotations.
Origin    the centre of the template head's bounding box.
Camera    azimuth 0 looks at the face from +z; positive azimuth moves the camera towards +x;
          positive elevation moves it up. The camera looks at `target`; y stays up.
Images    channels first, row 0 at the top, RGB in [0, 1]; latents are scaled as the UNet expects them
          (VAE output times its scaling factor). Pixel centres are at half-integers.
UV        u to the right, v up, both in [0, 1]; texture row 0 is v = 1.
Batch     B avatars, V views of each, N vertices, F faces, C channels, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d


@dataclass(frozen=True)
class HeadTopology:
    """Faces and texture layout that all heads of one model share.

    Attributes:
        faces: vertex indices of each triangle, counter-clockwise seen from outside.
        uvs: texture coordinates; T may exceed N where the layout has seams.
        face_uvs: indices into `uvs` for each triangle's corners.
        regions: named vertex masks (lips, brows, eyes, scalp, ears, beard, skin, …).
    """

    faces: Int[Tensor, "F 3"]
    uvs: Float[Tensor, "T 2"]
    face_uvs: Int[Tensor, "F 3"]
    regions: dict[str, Bool[Tensor, " N"]]

    def to(self, device: torch.device | str) -> HeadTopology:
        """Return the topology on another device."""
        regions = {name: mask.to(device) for name, mask in self.regions.items()}
        return HeadTopology(self.faces.to(device), self.uvs.to(device), self.face_uvs.to(device), regions)


@dataclass(frozen=True)
class HeadParameters:
    """Parameters of a batch of B heads of one head model.

    Attributes:
        shape: identity coefficients, within the head model's bounds.
        expression: expression coefficients, within the head model's bounds (0 is neutral).
        joints: axis-angle rotation of each joint relative to rest, radians.
        offsets: displacement of each vertex in canonical (neutral, unposed) space, metres.
    """

    shape: Float[Tensor, "B S"]
    expression: Float[Tensor, "B E"]
    joints: Float[Tensor, "B J 3"]
    offsets: Float[Tensor, "B N 3"]

    def __getitem__(self, index: slice | Tensor) -> HeadParameters:
        return HeadParameters(*(getattr(self, field.name)[index] for field in fields(self)))

    def first(self) -> dict[str, Tensor]:
        """Return the first head's tensors by name, without the batch."""
        return {field.name: getattr(self, field.name)[0] for field in fields(self)}

    def neutral(self) -> HeadParameters:
        """Return the same identities at rest: no expression, no joint rotation."""
        return replace(self, expression=torch.zeros_like(self.expression), joints=torch.zeros_like(self.joints))


@dataclass(frozen=True)
class Cameras:
    """Perspective cameras that orbit a target, V for each of B avatars.

    Attributes:
        azimuth, elevation: degrees, see the module's conventions.
        distance: metres from `target` to the camera.
        fov: vertical field of view, degrees.
        target: the point looked at, metres.
    """

    azimuth: Float[Tensor, "B V"]
    elevation: Float[Tensor, "B V"]
    distance: Float[Tensor, "B V"]
    fov: Float[Tensor, "B V"]
    target: Float[Tensor, "B V 3"]

    def to(self, device: torch.device | str) -> Cameras:
        """Return the cameras on another device."""
        return Cameras(*(getattr(self, field.name).to(device) for field in fields(self)))

    def view(self, index: int) -> Cameras:
        """Return one of the V views of all avatars.

        Example:
            >>> ones = torch.ones(2, 4)
            >>> Cameras(ones, ones, ones, ones, torch.zeros(2, 4, 3)).view(3).target.shape
            torch.Size([2, 1, 3])
        """
        return Cameras(*(getattr(self, field.name)[:, index : index + 1].contiguous() for field in fields(self)))

    def __getitem__(self, index: slice | Tensor) -> Cameras:
        return Cameras(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True)
class RenderOutput:
    """Renders of B avatars by V cameras each.

    Attributes:
        features: texture or vertex attributes, averaged over the samples that hit the mesh and *not* multiplied by
            coverage; zero where nothing is hit.
        coverage: fraction of each pixel that the mesh covers, in [0, 1]; differentiable in the vertices.
        depth: view depth (along the optical axis) at the nearest hit sample, metres; 0 where nothing is hit.
        normals: mean of the hit samples' unit normals in world space; zero where nothing is hit.
        face_ids: face that is visible at the pixel's centre, -1 for none.
    """

    features: Float[Tensor, "B V C H W"]
    coverage: Float[Tensor, "B V 1 H W"]
    depth: Float[Tensor, "B V 1 H W"]
    normals: Float[Tensor, "B V 3 H W"]
    face_ids: Int[Tensor, "B V H W"]

    def over(self, background: Float[Tensor, "#B #V C #H #W"]) -> Float[Tensor, "B V C H W"]:
        """Composite the features over a background, weighted by the coverage.

        Example:
            >>> pixel = torch.ones(1, 1, 1, 1, 1)
            >>> seen = RenderOutput(2 * pixel, 0.25 * pixel, pixel, pixel.expand(1, 1, 3, 1, 1), pixel[0].long())
            >>> seen.over(10 * pixel).item()
            8.0
        """
        return self.coverage * self.features + (1 - self.coverage) * background

    def extended(self) -> RenderOutput:
        """Return the same renders, with features also in the pixels just outside the outline.

        These pixels take the mean of their covered neighbours. Composites do not change, since coverage is zero there;
        their derivative in coverage, features less background, becomes right in pixels that the outline runs through
        but no sample hits.
        """
        shape, covered = self.features.shape[:2], self.coverage.detach()
        weighted = torch.cat([self.features.detach() * covered, covered], dim=2).flatten(0, 1)
        mean = avg_pool2d(weighted, 3, stride=1, padding=1).unflatten(0, shape)
        beside = mean[:, :, :-1] / mean[:, :, -1:].clamp(min=1e-6)
        return replace(self, features=torch.where(covered > 0, self.features, beside))
