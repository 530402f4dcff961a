"""Measure the distance of an avatar to the ground-truth head of its prompt, which only the closed world knows.

geometry    distance from each neutral surface to the other, mm; mean of both directions, after rigid alignment without
            scale; over skin and scalp (no eyes, sockets, teeth, tongue, mouth interior)
expression  mean difference between the displacements of the same points by the two expressions, mm; same region
colour      mean absolute RGB difference of the two textures, in [0, 1]; over everything visible from outside (eyes
            included)

Means are over the area of the surface, however finely it is meshed: each face counts by its area, and is measured at
its centre. On ten avatars of the default experiment that is within 0.4% of the mean over faces of a sixteenth of the
size; vertices that count by their area are within 1.1%, 20,000 random points within 1.0%. If all vertices counted
alike, the ears would have 21% of the weight, with 5% of the area.

An attribute that a prompt does not name has its template value in the ground-truth head. An avatar that failed counts
as the grey template. ``truth.json`` in the avatar's folder holds the score and its fingerprint.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from avatargen.geometry.types import HeadParameters, HeadTopology
from avatargen.heads.base import HeadModel
from avatargen.headworld.truth import TrueHead, true_head
from avatargen.io.atomic import read_json
from avatargen.io.avatar_file import as_stored, load_avatar, zero_avatar_tensors
from avatargen.io.manifest import Row
from eval.artifacts import TRUTH_FACTS, is_current, write_facts
from eval.surface import (
    align_rigidly,
    distance_to_surface,
    face_areas,
    faces_within,
    vertex_areas,
    weighted_quantile,
)

INNER = ("teeth", "tongue", "mouth_interior", "eye_sockets")
HIDDEN = ("eyes", *INNER)
REPORTED = ("skin", "face", "scalp", "beard", "brows", "eyelids", "nose", "lips", "ears", "neck")
FAILED_TEXTURE = 64


@dataclass(frozen=True)
class TruthScore:
    """Distances of one avatar to the ground-truth head.

    Attributes:
        geometry_mm: mean distance over the surface, mm.
        geometry_mm_p95: 95th percentile of the distances over the surface, mm.
        geometry_mm_vertices: mean distance over the vertices, mm, all of which count alike, in the alignment too; for
            comparison with earlier releases.
        expression_error: in mm.
        colour_error: in [0, 1].
        regions_mm: mean distance in each named region that the head has, mm.
    """

    geometry_mm: float
    geometry_mm_p95: float
    geometry_mm_vertices: float
    expression_error: float
    colour_error: float
    regions_mm: dict[str, float]


def measure_avatar(row: Row, folder: Path, head: HeadModel | None, fingerprint: str) -> dict[str, Any]:
    """Measure one avatar of a manifest and write ``truth.json``, unless it is current.

    Args:
        row: of the manifest.
        folder: of the avatar; created where a failed avatar has none.
        head: the closed world's head model; None for an avatar with another topology.
        fingerprint: of the distance.

    Returns:
        The content of ``truth.json``: fingerprint and `score` (None where the prompt has no ground-truth head).

    Raises:
        AvatarFileError: an avatar whose status is ok is missing or damaged.
    """
    if is_current(folder, TRUTH_FACTS, fingerprint):
        return read_json(folder / TRUTH_FACTS)
    truth = true_head(row.prompt, row.tags, head) if head else None
    if head is None or truth is None:
        return write_facts(folder, TRUTH_FACTS, fingerprint, score=None)
    if row.status == "ok":
        avatar = load_avatar(folder)
        parameters, texture = avatar.parameters(), avatar.baked_texture
    else:
        parameters = head.template(1)
        texture = zero_avatar_tensors(parameters, FAILED_TEXTURE)["baked_texture"]
    truth = replace(truth, texture=as_stored(truth.texture))  # as files hold every texture, so that equal ones are
    score = compare_heads(parameters, texture, truth, head)
    return write_facts(folder, TRUTH_FACTS, fingerprint, score=asdict(score))


@torch.no_grad()
def compare_heads(
    parameters: HeadParameters, texture: Float[Tensor, "3 Ht Wt"], truth: TrueHead, head: HeadModel
) -> TruthScore:
    """Return the distances of one head to the ground truth.

    Args:
        parameters: of the head, a batch of one.
        texture: of the head, RGB in [0, 1].
        truth: the ground-truth head.
        head: model of both.
    """
    topology = head.topology
    surface = outside(topology, HIDDEN)
    faces = faces_within(topology.faces, surface)
    made, true = (head.vertices(each.neutral())[0] for each in (parameters, truth.parameters))
    distances, areas = surface_distances(made, true, faces)
    regions = {name: _inside(mask, faces) for name, mask in topology.regions.items() if name in REPORTED}
    moved = (expression_motion(head, parameters) - expression_motion(head, truth.parameters))[faces.long()].mean(dim=1)
    return TruthScore(
        geometry_mm=1000 * _mean(distances, areas),
        geometry_mm_p95=1000 * weighted_quantile(distances.flatten(), areas.flatten(), 0.95),
        geometry_mm_vertices=1000 * vertex_distance(made, true, faces, surface),
        expression_error=1000 * _mean(moved.norm(dim=-1).expand(2, -1), areas),
        colour_error=colour_error(texture, truth.texture, head),
        regions_mm={name: 1000 * _mean(distances[:, f], areas[:, f]) for name, f in regions.items() if f.any()},
    )


def surface_distances(
    first: Float[Tensor, "N 3"], second: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]
) -> tuple[Float[Tensor, "2 F"], Float[Tensor, "2 F"]]:
    """Return the distances of two heads' surfaces, at the centre of each face.

    `first` is rigidly aligned to `second`, each vertex weighted by its share of both surfaces' areas.

    Args:
        first, second: corresponding vertices, metres.
        faces: of the surfaces, without hidden parts.

    Returns:
        The distance of each face's centre to the other surface, metres: from `first`, and back. And each face's area,
        as a fraction of its own surface, so that both directions count alike.
    """
    weights = sum(area / area.sum() for area in (vertex_areas(each, faces) for each in (first, second)))
    aligned = align_rigidly(first, second, cast(Tensor, weights))
    here, there = (each[faces.long()].mean(dim=1) for each in (aligned, second))
    apart = (here - there).norm(dim=-1)
    distances = [
        distance_to_surface(here, second, faces, within=apart),
        distance_to_surface(there, aligned, faces, within=apart),
    ]
    areas = torch.stack([face_areas(each, faces) for each in (aligned, second)])
    return torch.stack(distances), areas / areas.sum(dim=1, keepdim=True)


def vertex_distance(
    first: Float[Tensor, "N 3"],
    second: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    surface: Bool[Tensor, " N"],
) -> float:
    """Return the mean distance of the vertices of `surface` to the other surface, both directions, in metres.

    Every vertex counts alike, in the alignment too.
    """
    aligned = align_rigidly(first, second, surface.float())
    here, there = aligned[surface], second[surface]
    apart = (here - there).norm(dim=-1)
    to_second = distance_to_surface(here, second, faces, within=apart)
    to_first = distance_to_surface(there, aligned, faces, within=apart)
    return float((to_second + to_first).mean() / 2)


def expression_motion(head: HeadModel, parameters: HeadParameters) -> Float[Tensor, "N 3"]:
    """Return the displacement of each vertex by the expression alone, joints at rest, in metres."""
    rest = parameters.neutral()
    moved = head.vertices(replace(rest, expression=parameters.expression))
    return (moved - head.vertices(rest))[0]


def colour_error(first: Float[Tensor, "3 H1 W1"], second: Float[Tensor, "3 H2 W2"], head: HeadModel) -> float:
    """Return the mean absolute RGB difference of two textures over the head's visible surface."""
    topology = head.topology
    visible = outside(topology, INNER)[topology.faces.long()].all(dim=1)
    area = face_areas(head.canonical(head.shape_template[None])[0], topology.faces[visible])
    centres = topology.uvs[topology.face_uvs.long()[visible]].mean(dim=1)
    difference = (_sample(first, centres) - _sample(second, centres)).abs().mean(dim=-1)
    return _mean(difference, area)


def outside(topology: HeadTopology, hidden: tuple[str, ...]) -> Bool[Tensor, " N"]:
    """Return the vertices outside the `hidden` regions; a region that this head lacks hides nothing."""
    vertices = next(iter(topology.regions.values())).shape[0]
    mask = torch.ones(vertices, dtype=torch.bool, device=topology.faces.device)
    for name in hidden:
        mask &= ~topology.regions.get(name, torch.zeros_like(mask))
    return mask


def _inside(mask: Bool[Tensor, " N"], faces: Int[Tensor, "F 3"]) -> Bool[Tensor, " F"]:
    """Return the faces that belong to a region: with two corners or three in it."""
    return mask[faces.long()].sum(dim=1) >= 2


def _mean(values: Float[Tensor, "*F"], weights: Float[Tensor, "*F"]) -> float:
    """Return a weighted mean."""
    return float((values * weights).sum() / weights.sum())


def _sample(texture: Float[Tensor, "3 H W"], uvs: Float[Tensor, "P 2"]) -> Float[Tensor, "P 3"]:
    """Return a texture's colours at texture coordinates (row 0 is v = 1)."""
    grid = torch.stack((2 * uvs[:, 0] - 1, 1 - 2 * uvs[:, 1]), dim=-1)[None, None]
    return grid_sample(texture[None], grid, align_corners=False, padding_mode="border")[0, :, 0].T
