"""Does the texture flicker when the head turns or blinks, and what does real time cost?

The same frames are shown in two modes:

neural    the latents of each frame rendered and decoded, as score distillation sees them; an avatar without latents
          (the ground-truth head) is rendered in RGB, encoded and decoded
exported  the baked RGB texture rendered

in two sequences: ``turntable``, arcs of a fine turntable from the front and from behind, and ``blink``, in which the
camera stands still and the lids of the neutral face close and open. Measures of both, for each mode:

change_MODE   mean change of a surface point's colour from frame to frame, 8-bit levels, see :mod:`eval.surface_colours`
swim_MODE_mm  how far the texture moves over the surface from frame to frame; NaN where it has no contrast
change_apart  the change of the difference between the two modes at a point: what images of the same surface have in
              common, such as jagged edges, cancels out
still_MODE    in the blink, the change of points that do not move, and around which nothing moves

``frame_MODE_s`` is the median time of one frame of one head, as long as a viewer would wait for it on this machine with
the worker's threads: render and decode, or render. Both have the resolution that the prior decodes to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from avatargen.config.experiment import EvaluationSettings
from avatargen.geometry.types import Cameras
from avatargen.io.avatar_file import Avatar
from avatargen.io.manifest import Row
from avatargen.priors.base import flat_latents
from eval.diagnostics.base import Diagnostic, Measure, Measured
from eval.exported_colour import exported_colour
from eval.images import Images
from eval.labelled_grid import labelled_grid
from eval.poses import POSES, posed
from eval.surface_colours import Followed, colours_of, follow, swim, warped_error
from eval.views import RenderTools, protocol_cameras, to_bytes

ARCS, FRAMES, STEP = (0.0, 135.0), 7, 2.5
"""Middles of the arcs of the turntable, degrees; frames of each arc, and the degrees between them."""
LIDS = (0.0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.0)
"""How far the lids are closed in each frame of the blink."""
Mode = Callable[[Tensor, Cameras], Images]
"""Renders one frame: vertices (1, N, 3) and one camera to one image."""
BLINK = next(pose for pose in POSES if pose.name == "eyeBlink")
SAMPLES = 2
"""Render samples on each side of a pixel of the exported texture."""
GAIN, CELL = 8, 224
"""Factor by which the picture shows changes, and pixels of its cells."""


@dataclass(frozen=True)
class Sequence:
    """T frames of one head.

    Attributes:
        vertices: of each frame, metres.
        cameras: (1, T).
    """

    vertices: Float[Tensor, "T N 3"]
    cameras: Cameras


class Flicker(Diagnostic):
    """Follows the surface through a turntable and a blink, decoded and exported."""

    @torch.no_grad()
    def measure(self, avatar: Avatar, row: Row, tools: RenderTools, settings: EvaluationSettings) -> Measured:
        """Measure one avatar; see the base class and the module."""
        size = tools.prior_settings.latent_size * tools.prior.downscale
        sequences = {f"turntable {middle:.0f}°": turntable(avatar, tools, settings, middle) for middle in ARCS}
        blinking = blink(avatar, tools, settings)
        sequences |= {} if blinking is None else {"blink": blinking}
        modes = {"neural": neural_frame(avatar, tools, settings), "exported": exported_frame(avatar, tools, settings)}
        measures, cells, seconds = [], {}, {name: [] for name in modes}
        for condition, sequence in sequences.items():
            images = {name: torch.from_numpy(played(mode, sequence, seconds[name])) for name, mode in modes.items()}
            followed = follow(tools.renderer, sequence.vertices, tools.head.topology.faces, sequence.cameras, size)
            values = changes(images, followed, sequence)
            measures += [Measure(condition, name, value) for name, value in values.items()]
            for name, shown in images.items():
                cells[f"{condition}, {name}"] = shown[len(shown) // 2].numpy()
                cells[f"change × {GAIN}, {condition}, {name}"] = change_map(shown, followed)
        known = modes if avatar.latent_texture is not None else ("exported",)
        measures += [Measure("", f"frame_{name}_s", median(seconds[name])) for name in known]
        note = f"{avatar.method} · seed {avatar.seed}"
        sheet = labelled_grid(avatar.prompt, note, cells, columns=2 * len(modes), cell=CELL)
        return Measured(tuple(measures), pictures={"changes": sheet})


def turntable(avatar: Avatar, tools: RenderTools, settings: EvaluationSettings, middle: float) -> Sequence:
    """Return an arc of a fine turntable of an avatar as it was made.

    Args:
        avatar, tools, settings: what is shown.
        middle: azimuth, degrees.
    """
    azimuths = middle + STEP * (torch.arange(FRAMES) - (FRAMES - 1) / 2)
    vertices = tools.head.vertices(avatar.parameters())
    return Sequence(vertices.expand(FRAMES, -1, -1), protocol_cameras(avatar, tools, settings, azimuths))


def blink(avatar: Avatar, tools: RenderTools, settings: EvaluationSettings) -> Sequence | None:
    """Return a blink of the neutral face, seen from the front; None where the head model cannot."""
    neutral = avatar.parameters().neutral()
    closed = posed(tools.head, neutral, BLINK)
    if closed is None:
        return None
    frames = [replace(neutral, expression=lids * closed.expression, joints=lids * closed.joints) for lids in LIDS]
    cameras = protocol_cameras(avatar, tools, settings, torch.zeros(len(LIDS)))
    return Sequence(torch.cat([tools.head.vertices(frame) for frame in frames]), cameras)


def neural_frame(avatar: Avatar, tools: RenderTools, settings: EvaluationSettings) -> Mode:
    """Return a function that renders latents and decodes them, as :func:`eval.views.decode_views` does."""
    prior, shown = tools.prior_settings, tools.prior
    if avatar.latent_texture is None:
        exported = exported_frame(avatar, tools, settings, prior.samples)
        return lambda vertices, camera: to_bytes(shown.decode(shown.encode(as_tensor(exported(vertices, camera)))))
    texture, backdrop = avatar.latent_texture[None], flat_latents(shown, torch.tensor([settings.background]))
    backdrop = backdrop[None, :, :, None, None]

    def frame(vertices: Tensor, camera: Cameras) -> Images:
        seen = tools.renderer.render(
            vertices, camera, prior.latent_size, texture=texture, samples=prior.samples, gradients=False, normals=False
        )
        features, coverage = seen.features.to(backdrop.device), seen.coverage.to(backdrop.device)
        return to_bytes(shown.decode(replace(seen, features=features, coverage=coverage).over(backdrop)[0]))

    return frame


def exported_frame(avatar: Avatar, tools: RenderTools, settings: EvaluationSettings, samples: int = SAMPLES) -> Mode:
    """Return a function that renders the exported texture at the resolution of decoded frames."""
    size = tools.prior_settings.latent_size * tools.prior.downscale
    texture, background = avatar.baked_texture, settings.background
    return lambda vertices, camera: exported_colour(
        tools.renderer, vertices, texture, camera, size, samples, background
    )


def as_tensor(images: Images) -> Float[Tensor, "V 3 H W"]:
    """Return 8-bit images as RGB in [0, 1], channels first."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def played(mode: Mode, sequence: Sequence, seconds: list[float]) -> Images:
    """Return the frames of a sequence, one by one, and append the seconds that each took to `seconds`."""
    frames = []
    for number, vertices in enumerate(sequence.vertices):
        camera, start = sequence.cameras.view(number), time.perf_counter()
        frames.append(mode(vertices[None], camera))
        seconds.append(time.perf_counter() - start)
    return np.concatenate(frames)


def changes(images: Mapping[str, Tensor], followed: Followed, sequence: Sequence) -> dict[str, float]:
    """Return the measures of a sequence; see the module.

    Args:
        images: frames by mode, ``neural`` and ``exported``.
        followed: points of the surface.
        sequence: what was shown.
    """
    pairs, areas = followed.pairs(), followed.areas
    colours = {name: colours_of(shown, followed) for name, shown in images.items()}
    found = {f"change_{name}": warped_error(seen, pairs, areas) for name, seen in colours.items()}
    found["change_apart"] = warped_error(colours["neural"] - colours["exported"], pairs, areas)
    for name, shown in images.items():
        found[f"swim_{name}_mm"] = swim(shown, followed) * mm_of_pixel(sequence.cameras, shown.shape[1])
    still = followed.at_rest()
    if still.any():
        found |= {f"still_{name}": warped_error(seen, still, areas) for name, seen in colours.items()}
    return found


def mm_of_pixel(cameras: Cameras, size: int) -> float:
    """Return the side of a pixel of `size` x `size` images at the distance of the first camera's target, mm.

    Example:
        >>> one = torch.ones(1, 1)
        >>> round(mm_of_pixel(Cameras(one, one, one, 90 * one, torch.zeros(1, 1, 3)), size=100), 4)
        20.0
    """
    extent = torch.deg2rad(cameras.fov[0, 0] / 2).tan() * cameras.distance[0, 0]
    return float(2e3 * extent / size)


def change_map(images: UInt8[Tensor, "T H W 3"], followed: Followed) -> UInt8[np.ndarray, "H W 3"]:
    """Return the mean change of each point, GAIN times as strong, at the pixels that show it in the middle frame."""
    change, pairs = colours_of(images, followed).diff(dim=0).abs().mean(dim=-1), followed.pairs()
    mean = (change * pairs).sum(dim=0) / pairs.sum(dim=0).clamp(min=1)
    faces = followed.faces[len(images) // 2].long()
    shown = torch.where(faces >= 0, mean[faces.clamp(min=0)], 0.0) * GAIN
    return shown.clamp(max=255).byte()[..., None].expand(-1, -1, 3).numpy()
