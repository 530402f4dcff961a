"""Does an avatar keep its prompt, and its surface, when it moves?

Each avatar takes the poses of :mod:`eval.poses`, on top of its neutral face: an expression that its prompt asked for is
part of the avatar as it was made, and would mix with the pose. It is shown as the condition ``own`` beside ``neutral``.
The exported texture is rendered, because that is what moves in another program. Cameras stay where they are, but where
the neck turns: there they follow the middle of the head.

Measures of a pose, against the neutral head:

stretch, …            see :class:`eval.stretch.Stretch`; over what is visible from outside
skull_bend_mm         how far the scalp and what grows on it is from moving rigidly, see :mod:`eval.rigidity`; NaN for a
                      mesh without this region
eye_bend_mm           the same of an eyeball, mean of both
crossings_added       pairs of triangles that cross in this pose and not at rest, see :mod:`eval.self_intersection`;
                      one of the two is visible from outside
crossing_faces_added  triangles in these pairs
visible_change        mean difference to a close-up of the neutral face, 8-bit levels: how much of a movement of the
                      face the picture shows; not where the neck turns

The neutral head has ``crossings`` and ``crossing_faces``. A head model without a pose's actions or joints skips it;
``poses_missing`` counts these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from avatargen.config.experiment import EvaluationSettings
from avatargen.geometry.types import Cameras, HeadParameters
from avatargen.heads.base import HeadModel
from avatargen.io.avatar_file import Avatar
from avatargen.io.manifest import Row
from eval.diagnostics.base import Diagnostic, Measure, Measured
from eval.exported_colour import exported_colour
from eval.frame import framed
from eval.labelled_grid import labelled_grid
from eval.poses import POSES, posed
from eval.rigidity import bend
from eval.self_intersection import added_pairs, crossing_faces
from eval.stretch import stretch
from eval.truth import INNER, outside
from eval.views import RenderTools, least_cameras

AZIMUTHS = (-45.0, 0.0, 45.0)
"""Views from which judges see a pose: the three of the protocol that show the face."""
NEUTRAL, OWN = "neutral", "own"
"""Conditions without a pose: the neutral face, and the avatar as it was made."""
CELL, COLUMNS, SHEET_SAMPLES = 176, 6, 2
"""Pixels of a cell of the sheet, cells in a row, samples on each side of a pixel."""
CLOSE, CHIN = 0.55, 0.04
"""The sheet's views of faces: field of view, as a fraction of the judges', and how much lower they look, metres."""
TURNED = tuple(pose.name for pose in POSES if pose.joint == "neck")
"""Conditions whose cameras follow the head."""
WHOLE = (OWN, *TURNED)
"""Conditions that the sheet shows with the whole head."""
STRIP = (NEUTRAL, "eyeBlink", "browDown", "mouthSmile", "jawOpen", "gaze left", "neck pitch +30°", "neck yaw +30°")
"""Conditions of the strip, by which the report shows several avatars."""


class Articulation(Diagnostic):
    """Poses an avatar, renders it and measures its surface."""

    @torch.no_grad()
    def measure(self, avatar: Avatar, row: Row, tools: RenderTools, settings: EvaluationSettings) -> Measured:
        """Measure one avatar; see the base class and the module."""
        poses = poses_of(tools.head, avatar.parameters())
        surface = Surface(tools.head, tools.head.vertices(poses[NEUTRAL])[0])
        measures = [Measure("", "poses_missing", float(len(POSES) + 2 - len(poses)))]
        shown, cells = {}, {}
        for name, parameters in poses.items():
            vertices = tools.head.vertices(parameters)
            cameras = cameras_of(name, surface.rest, vertices, settings)
            look = partial(exported_colour, tools.renderer, vertices, avatar.baked_texture)
            shown[name] = look(cameras, settings.size, settings.samples, settings.background)
            cells[name] = look(for_sheet(cameras, name), CELL, SHEET_SAMPLES, settings.background)[0]
            values = surface.at_rest() if name == NEUTRAL else surface.moved_to(vertices[0])
            if name not in WHOLE and name != NEUTRAL:
                values["visible_change"] = float(np.abs(cells[name] - cells[NEUTRAL].astype(np.float32)).mean())
            measures += [Measure(name, measure, value) for measure, value in values.items()]
        note = f"{avatar.method} · seed {avatar.seed} · exported texture"
        strip = np.concatenate([cells[name] for name in STRIP if name in cells], axis=1)
        sheet = labelled_grid(avatar.prompt, note, cells, COLUMNS, CELL)
        return Measured(tuple(measures), shown, {"poses": sheet, "strip": Image.fromarray(strip)})


def poses_of(head: HeadModel, parameters: HeadParameters) -> dict[str, HeadParameters]:
    """Return an avatar's parameters at rest, as made, and in each pose that its head model has."""
    found = {NEUTRAL: parameters.neutral(), OWN: parameters}
    moved = {pose.name: posed(head, parameters, pose) for pose in POSES}
    return found | {name: made for name, made in moved.items() if made is not None}


@dataclass(frozen=True)
class Surface:
    """A head at rest, against which poses are measured.

    Attributes:
        head: its model.
        rest: neutral vertices, metres.
    """

    head: HeadModel
    rest: Float[Tensor, "N 3"]

    @cached_property
    def visible(self) -> Bool[Tensor, " F"]:
        """Return the faces that can be seen from outside."""
        return outside(self.head.topology, INNER)[self.faces].all(dim=1)

    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        """Return the faces of the head."""
        return self.head.topology.faces.long()

    @cached_property
    def rigid(self) -> dict[str, tuple[Bool[Tensor, " N"], ...]]:
        """Return what should move as one, by the name of its measure."""
        regions = self.head.topology.regions
        none = torch.zeros(len(self.rest), dtype=torch.bool)
        eyes, left = regions.get("eyes", none), self.rest[:, 0] > 0
        return {"skull_bend_mm": (regions.get("scalp", none),), "eye_bend_mm": (eyes & left, eyes & ~left)}

    @cached_property
    def crossings(self) -> Int[Tensor, "P 2"]:
        """Return the pairs of faces that cross at rest."""
        return self._crossings(self.rest)

    def at_rest(self) -> dict[str, float]:
        """Return the measures of the neutral head."""
        return {"crossings": float(len(self.crossings)), "crossing_faces": float(len(self.crossings.unique()))}

    def moved_to(self, vertices: Float[Tensor, "N 3"]) -> dict[str, float]:
        """Return the measures of a pose.

        Args:
            vertices: of the pose, metres.
        """
        bends = {
            name: float(np.mean([1e3 * bend(self.rest, vertices, self.faces, part) for part in parts]))
            for name, parts in self.rigid.items()
        }
        added = added_pairs(self._crossings(vertices), self.crossings, len(self.faces))
        crossing = {"crossings_added": float(len(added)), "crossing_faces_added": float(len(added.unique()))}
        return stretch(self.rest, vertices, self.faces[self.visible])._asdict() | bends | crossing

    def _crossings(self, vertices: Tensor) -> Tensor:
        pairs = crossing_faces(vertices, self.faces)
        return pairs[self.visible[pairs].any(dim=1)]


def cameras_of(
    condition: str, rest: Float[Tensor, "N 3"], vertices: Float[Tensor, "1 N 3"], settings: EvaluationSettings
) -> Cameras:
    """Return the views of a condition: the protocol's from AZIMUTHS, framed for the neutral head.

    Where the neck turns, they are framed for the pose and move along with the middle of its bounding box.

    Args:
        condition: its name.
        rest: neutral vertices, metres.
        vertices: of the condition, metres.
        settings: the protocol.
    """
    narrow = replace(least_cameras(settings, len(AZIMUTHS)), azimuth=torch.tensor([AZIMUTHS]))
    if condition not in TURNED:
        return framed(narrow, rest[None], settings.widest_fov)
    shift = middle(vertices[0]) - middle(rest)
    return framed(replace(narrow, target=narrow.target + shift), vertices, settings.widest_fov)


def middle(vertices: Float[Tensor, "N 3"]) -> Float[Tensor, " 3"]:
    """Return the middle of the bounding box.

    Example:
        >>> middle(torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 4.0], [0.0, 0.0, 1.0]])).tolist()
        [1.0, 0.0, 2.0]
    """
    return (vertices.amin(dim=0) + vertices.amax(dim=0)) / 2


def for_sheet(cameras: Cameras, condition: str) -> Cameras:
    """Return the front view for the sheet: of the face, or of the whole head where the neck turns."""
    front = cameras.view(AZIMUTHS.index(0.0))
    if condition in WHOLE:
        return front
    return replace(front, fov=front.fov * CLOSE, target=front.target - torch.tensor([0.0, CHIN, 0.0]))
