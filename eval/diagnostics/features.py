"""Do eyes, nose and mouth of the texture lie on those of the mesh, and does its outline match what the prior sees?

Measures of each feature (``right eye``, ``left eye``, ``nose``, ``mouth``), where the prompt has a ground-truth head:

offset_mm  distance from the mesh's own feature to the painted one, in the image; not defined where it is not found
found      1 where the texture shows the feature within reach, 0 where it does not, see :mod:`eval.painted_features`
in_place   correlation, at the mesh's own feature, with what an aligned texture would show: -1 to 1; needs no search

Measures of the outline, which need no ground truth:

outline_iou  overlap of the mesh's silhouette and the foreground that the prior sees, mean over the views
outline_mm   mean distance between the borders of both, mm

Painted features are read from neural colours, from AZIMUTHS in front, framed like the prior's close-ups. What an
aligned texture would show is the ground-truth texture on the avatar's mesh, shaded by the mean light of the prior's
training images: the prior paints noses as shades. An avatar without a texture shows no features.

The foreground is that of a render that the prior denoises, and is read as masks are
(:mod:`avatargen.method.segmentation`): the silhouette plus what denoising changes. It favours avatars that followed the
masks of the same prior; compare methods of one prior by it.

Without a ground-truth head, as with FLAME and Stable Diffusion, finding painted features takes a face landmark
detector: run it on the close-ups, run it on renders of the shaded mesh, and compare the points of both. On the embedded
prior's small faces such detectors, trained on photographs, are no reference.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.settings import CameraSettings
from avatargen.geometry.cameras import FACE, usual_framing
from avatargen.geometry.types import Cameras, RenderOutput
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.truth import true_head
from avatargen.io.avatar_file import Avatar
from avatargen.io.manifest import Row
from eval.diagnosis import STRIDE, foreground_changes, prior_cameras
from eval.diagnostics.base import Diagnostic, Measure, Measured
from eval.outline import border_distance, overlap
from eval.painted_features import Placement, features_of, placements
from eval.views import RenderTools, decode_views, some_views, to_bytes

AZIMUTHS = (-15.0, 0.0, 15.0)
"""Views of the face, degrees."""
SIZE = 192
"""Rows and columns of the images that features are looked for in: about 1.2 mm a pixel."""
SAMPLES = 2
GREY = (0.5, 0.5, 0.5)
"""Background of these images."""
AMBIENT, DIFFUSE, LIGHT = 0.75, 0.35, (0.0, 0.5, 1.0)
"""The mean light of the embedded prior's training images (`avatargen.training.rendering`)."""
ENLARGED = 2
"""How much larger the picture is than the images."""


class Features(Diagnostic):
    """Measures how the texture fits the mesh, and the mesh the prior's foreground; see the module."""

    def measure(self, avatar: Avatar, row: Row, tools: RenderTools, settings: EvaluationSettings) -> Measured:
        """Measure one avatar; see :meth:`eval.diagnostics.base.Diagnostic.measure`."""
        cameras = some_views(prior_cameras(tools, settings), slice(None, None, STRIDE))
        measures = [Measure("", name, value) for name, value in outline_fit(avatar, tools, cameras).items()]
        face = Face(avatar, row, tools)
        if face.expected is None:
            return Measured(tuple(measures))
        found = placements(face.expected, face.shown, face.seen, face.pixel)
        for name, place in found.items():
            measures.append(Measure(name, "offset_mm", place.offset))
            measures.append(Measure(name, "found", float(place.found)))
            measures.append(Measure(name, "in_place", place.in_place))
        return Measured(tuple(measures), pictures={"features": drawn(face, found)})


class Face:
    """The face of one avatar as it is shown, and as it would be if its texture fitted its mesh.

    Args:
        avatar, row, tools: see :meth:`Features.measure`.
    """

    def __init__(self, avatar: Avatar, row: Row, tools: RenderTools):
        self._avatar, self._row, self._tools = avatar, row, tools
        self.cameras = face_cameras(tools.prior_settings.cameras)
        self.vertices = tools.head.vertices(avatar.parameters())

    @cached_property
    def shown(self) -> Float[Tensor, "V 3 S S"]:
        """Return the neural colours."""
        decoded = decode_views(self._avatar, self._tools, self.cameras, GREY).cpu()
        return interpolate(decoded, size=(SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 1)

    @cached_property
    def expected(self) -> Float[Tensor, "V 3 S S"] | None:
        """Return the shaded ground-truth texture on the avatar's mesh; None without a ground-truth head."""
        head = self._tools.head
        truth = true_head(self._row.prompt, self._row.tags, head) if isinstance(head, AnnyHead) else None
        if truth is None:
            return None
        seen = self._tools.renderer.render(
            self.vertices, self.cameras, SIZE, texture=truth.texture[None], samples=SAMPLES, gradients=False
        )
        light = normalize(torch.tensor(LIGHT), dim=0)[:, None, None]
        lambert = (seen.normals * light).sum(dim=2, keepdim=True).clamp_min(0)
        albedo = torch.tensor(GREY)[:, None, None]
        return torch.lerp(albedo, (seen.features * (AMBIENT + DIFFUSE * lambert)).clamp(0, 1), seen.coverage)[0]

    @cached_property
    def seen(self) -> dict[str, Bool[Tensor, "V S S"]]:
        """Return the pixels that show each feature of the mesh."""
        masks, seen = self._geometry
        return dict(zip(masks, (seen.features[0] > 0.5).unbind(1), strict=True))

    @cached_property
    def pixel(self) -> float:
        """Return the size of a pixel at the depth of the features, mm."""
        seen = self._geometry[1]
        depths = seen.depth[0, :, 0][(seen.features[0] > 0.5).any(dim=1)]
        distance = float(depths.mean()) if len(depths) else float(self.cameras.distance[0, 0])
        return pixel_mm(distance, float(self.cameras.fov[0, 0]), SIZE)

    @cached_property
    def _geometry(self) -> tuple[list[str], RenderOutput]:
        """Return the names of the features, and renders of their masks."""
        head = self._tools.head
        masks = features_of(head.topology, head.canonical(head.shape_template[None])[0])
        stacked = torch.stack([mask.float() for mask in masks.values()], dim=1)
        seen = self._tools.renderer.render(self.vertices, self.cameras, SIZE, attributes=stacked[None], gradients=False)
        return list(masks), seen


def face_cameras(ranges: CameraSettings) -> Cameras:
    """Return level close-ups of the face from AZIMUTHS, framed in the middle of a prior's ranges."""
    distance, fov = usual_framing(ranges)
    azimuths = torch.tensor(AZIMUTHS)[None]
    close = sum(ranges.close_fov) / 2 if ranges.close else fov
    constants = (torch.full_like(azimuths, value) for value in (0.0, distance, close))
    return Cameras(azimuths, *constants, target=torch.tensor(FACE).expand(1, len(AZIMUTHS), 3).contiguous())


def pixel_mm(distance: float, fov: float, size: int) -> float:
    """Return the size of a pixel, mm.

    Args:
        distance: view depth of what is measured, metres.
        fov: vertical field of view, degrees.
        size: rows of the image.

    Example:
        >>> round(pixel_mm(distance=1.0, fov=90.0, size=100), 4)
        20.0
    """
    return 2000 * distance * math.tan(math.radians(fov) / 2) / size


@torch.no_grad()
def outline_fit(avatar: Avatar, tools: RenderTools, cameras: Cameras) -> dict[str, float]:
    """Return how well the silhouette fits the foreground that the prior sees; means over the views."""
    size = tools.prior_settings.latent_size * tools.prior.downscale
    vertices = tools.head.vertices(avatar.parameters())
    covered = tools.renderer.render(vertices, cameras, size, samples=2, gradients=False).coverage[0, :, 0]
    foreground = (covered + foreground_changes(avatar, tools, cameras).cpu()).clamp(0, 1)
    pixel = pixel_mm(float(cameras.distance[0, 0]), float(cameras.fov[0, 0]), size)
    distance = border_distance(covered, foreground) * pixel
    return {"outline_iou": float(overlap(covered, foreground).mean()), "outline_mm": float(distance.mean())}


def drawn(face: Face, found: dict[str, Placement]) -> Image.Image:
    """Draw the frontal view as shown and as expected, and an arrow from each feature of the mesh to the painted one."""
    assert face.expected is not None
    front = AZIMUTHS.index(0.0)
    pair = np.concatenate(to_bytes(torch.stack([face.shown[front], face.expected[front]])), axis=1)
    picture = Image.fromarray(pair).resize((2 * SIZE * ENLARGED, SIZE * ENLARGED), Image.Resampling.LANCZOS)
    draw, scale = ImageDraw.Draw(picture), ENLARGED / face.pixel
    for name, place in found.items():
        pixels = face.seen[name][front].nonzero().float()
        if len(pixels):
            y, x = (ENLARGED * pixels.mean(0)).tolist()
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), outline="white", width=1)
            if place.found:
                draw.line((x, y, x + scale * place.right, y + scale * place.down), fill="white", width=2)
    return picture
