"""How much of a head is made by coefficients, how much by offsets, and how near the head model itself could come.

deviation           of each coefficient from the template, as a fraction of its range: -1 to 1
at_bounds           share of the coefficients at a bound (within 1 % of the range)
by_coefficients_mm  mean distance from the template that the coefficients alone make, over what is visible from outside
by_offsets_mm       mean length of the offsets, over the same surface
offsets_share       the latter over the sum of both
offset_mm           mean length of the offsets in each region

Where the prompt has a ground-truth head, distances as in :mod:`eval.truth`, of the whole surface and apart for ``skin``
and ``volumes`` (hair, beards, horns: faces that the ground truth moves by more than VOLUME off its skin):

error_mm     of the avatar
template_mm  of the template: how extreme the ground-truth head is
span_mm      of the head within the bounds of the coefficients that is nearest to all of the surface (:mod:`eval.span`):
             what a method without offsets could reach. The skin of a ground-truth head is one that coefficients make;
             where it has volumes, the nearest head pays for them with its skin.

All heads are neutral, since expressions are measured by themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avatargen.config.experiment import EvaluationSettings
from avatargen.geometry.types import HeadParameters
from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.base import HeadModel
from avatargen.headworld.truth import true_head
from avatargen.io.avatar_file import Avatar
from avatargen.io.manifest import Row
from eval.diagnosis import EDGE
from eval.diagnostics.base import Diagnostic, Measure, Measured
from eval.span import nearest_shape
from eval.surface import faces_within, vertex_areas
from eval.truth import HIDDEN, REPORTED, outside, surface_distances
from eval.views import RenderTools

VOLUME = 0.001
"""What the ground truth moves off its skin counts as a volume from here on, metres."""


class Reference(NamedTuple):
    """The ground-truth head of a prompt.

    Attributes:
        vertices: neutral, metres.
        volumes: faces of the surface that are hair, beard or horns.
        bounds: `template_mm` and `span_mm` by condition.
    """

    vertices: Float[Tensor, "N 3"]
    volumes: Bool[Tensor, " F"]
    bounds: dict[tuple[str, str], float]


class Shape(Diagnostic):
    """Measures coefficients and offsets; computes each ground-truth head and its nearest head once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, tuple[str, ...]], Reference | None] = {}

    @torch.no_grad()
    def measure(self, avatar: Avatar, row: Row, tools: RenderTools, settings: EvaluationSettings) -> Measured:
        """Measure one avatar; see :meth:`eval.diagnostics.base.Diagnostic.measure`. A mesh has no coefficients."""
        head = tools.head
        if avatar.topology is not None:
            return Measured()
        values = {**coefficients(head, avatar.shape), **displacements(head, avatar.parameters())}
        known = self._reference(row, head) if isinstance(head, AnnyHead) else None
        if known is not None:
            made = head.vertices(avatar.parameters().neutral())[0]
            errors = by_kind(head, made, known.vertices, known.volumes)
            values |= {(kind, "error_mm"): value for kind, value in errors.items()} | known.bounds
        return Measured(tuple(Measure(*key, value) for key, value in values.items()))

    def _reference(self, row: Row, head: AnnyHead) -> Reference | None:
        key = (head.id, row.prompt, row.tags)
        if key not in self._known:
            self._known[key] = reference(row.prompt, row.tags, head)
        return self._known[key]


def coefficients(head: HeadModel, shape: Float[Tensor, " S"]) -> dict[tuple[str, str], float]:
    """Return the deviation of each shape coefficient, and the share at bounds, by condition and measure."""
    low, high = head.shape_bounds
    free = high > low
    span = torch.where(free, high - low, 1.0)
    deviations = (shape - head.shape_template) / span
    near = (shape <= low + EDGE * span) | (shape >= high - EDGE * span)
    named = {
        (name, "deviation"): float(value)
        for name, value, moves in zip(head.shape_names, deviations, free, strict=True)
        if moves
    }
    return {("", "at_bounds"): float(near[free].float().mean()), **named}


def displacements(head: HeadModel, parameters: HeadParameters) -> dict[tuple[str, str], float]:
    """Return what coefficients and offsets move, mean over the visible surface, by condition and measure."""
    topology, template = head.topology, head.canonical(head.shape_template[None])[0]
    made = head.canonical(parameters.shape)[0]
    area = vertex_areas(template, faces_within(topology.faces, outside(topology, HIDDEN)))
    moved, offsets = (made - template).norm(dim=-1), parameters.offsets[0].norm(dim=-1)

    def mean(lengths: Float[Tensor, " N"], mask: Float[Tensor, " N"]) -> float:
        return 1000 * float((lengths * mask).sum() / mask.sum())

    by_coefficients, by_offsets = mean(moved, area), mean(offsets, area)
    total = by_coefficients + by_offsets
    regions = {name: area * mask for name, mask in topology.regions.items() if name in REPORTED}
    return {
        ("", "by_coefficients_mm"): by_coefficients,
        ("", "by_offsets_mm"): by_offsets,
        ("", "offsets_share"): by_offsets / total if total else float("nan"),
        **{(name, "offset_mm"): mean(offsets, mask) for name, mask in regions.items() if mask.sum() > 0},
    }


def reference(prompt: str, tags: tuple[str, ...], head: AnnyHead) -> Reference | None:
    """Return the ground-truth head of a prompt, and how near template and span come; None if it has none."""
    truth = true_head(prompt, tags, head)
    if truth is None:
        return None
    vertices = head.vertices(truth.parameters.neutral())[0]
    faces = faces_within(head.topology.faces, outside(head.topology, HIDDEN))
    volumes = truth.parameters.offsets[0].norm(dim=-1)[faces.long()].mean(dim=1) > VOLUME
    nearest = nearest_shape(head, vertices, vertex_areas(vertices, faces))
    bounds = {}
    for name, shape in (("template_mm", head.shape_template), ("span_mm", nearest)):
        found = by_kind(head, head.canonical(shape[None])[0], vertices, volumes)
        bounds |= {(kind, name): value for kind, value in found.items()}
    return Reference(vertices, volumes, bounds)


def by_kind(
    head: HeadModel, made: Float[Tensor, "N 3"], true: Float[Tensor, "N 3"], volumes: Bool[Tensor, " F"]
) -> dict[str, float]:
    """Return the mean distance of two heads' surfaces, mm: of all (""), of skin and of volumes, if there are any.

    Args:
        head: the model of both.
        made, true: neutral vertices, metres.
        volumes: which faces of the visible surface are volumes.
    """
    faces = faces_within(head.topology.faces, outside(head.topology, HIDDEN))
    distances, areas = surface_distances(made, true, faces)
    found = {}
    for kind, mask in (("", torch.ones_like(volumes)), ("skin", ~volumes), ("volumes", volumes)):
        if mask.any():
            found[kind] = 1000 * float((distances * areas)[:, mask].sum() / areas[:, mask].sum())
    return found
