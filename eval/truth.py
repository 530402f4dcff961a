"""Measure the distance of an avatar to the ground-truth head of its prompt, which only the closed world knows.

geometry    distance of each vertex of the neutral surfaces to the other surface, mm; averaged over both directions,
            after rigid alignment without scale; over skin and scalp (no eyes, sockets, teeth, tongue, mouth interior)
expression  mean difference between the displacements of the same vertices by the two expressions, mm; same region
colour      mean absolute RGB difference of the two textures, in [0, 1], at face centres weighted by their area on the
            template; over everything visible from outside (eyes included)

An attribute that a prompt does not name has its template value in the ground-truth head. An avatar that failed counts
as the grey template. ``truth.json`` in the avatar's folder holds the score and its fingerprint.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

from avatargen.geometry.types import HeadParameters, HeadTopology
from avatargen.heads.base import HeadModel
from avatargen.headworld.truth import TrueHead, true_head
from avatargen.io.atomic import read_json
from avatargen.io.avatar_file import as_stored, load_avatar, zero_avatar_tensors
from avatargen.io.manifest import Row
from eval.artifacts import TRUTH_FACTS, is_current, write_facts
from eval.surface import align_rigidly, distance_to_surface, faces_within

INNER = ("teeth", "tongue", "mouth_interior", "eye_sockets")
HIDDEN = ("eyes", *INNER)
REPORTED = ("skin", "face", "scalp", "beard", "brows", "eyelids", "nose", "lips", "ears", "neck")
FAILED_TEXTURE = 64


@dataclass(frozen=True)
class TruthScore:
    """Distances of one avatar to the ground-truth head.

    Attributes:
        geometry_mm: mean distance over the vertices, mm.
        geometry_mm_p95: 95th percentile of the distances, mm.
        expression_error: in mm.
        colour_error: in [0, 1].
        regions_mm: mean distance in each named region that the head has, mm.
    """

    geometry_mm: float
    geometry_mm_p95: float
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
    surface = outside(head.topology, HIDDEN)
    distances = symmetric_distances(
        head.vertices(parameters.neutral())[0],
        head.vertices(truth.parameters.neutral())[0],
        head.topology,
        surface,
    )
    regions = {name: mask & surface for name, mask in head.topology.regions.items() if name in REPORTED}
    moved = expression_motion(head, parameters) - expression_motion(head, truth.parameters)
    return TruthScore(
        geometry_mm=1000 * float(distances[surface].mean()),
        geometry_mm_p95=1000 * float(distances[surface].quantile(0.95)),
        expression_error=1000 * float(moved[surface].norm(dim=-1).mean()),
        colour_error=colour_error(texture, truth.texture, head),
        regions_mm={name: 1000 * float(distances[mask].mean()) for name, mask in regions.items() if mask.any()},
    )


def symmetric_distances(
    first: Float[Tensor, "N 3"],
    second: Float[Tensor, "N 3"],
    topology: HeadTopology,
    surface: Bool[Tensor, " N"],
) -> Float[Tensor, " N"]:
    """Return the mean of the distances of each vertex to the other head's surface, in both directions, in metres.

    `first` is rigidly aligned to `second` over the vertices of `surface`; the distance is 0 outside `surface`.
    """
    faces = faces_within(topology.faces, surface)
    aligned = align_rigidly(first, second, surface)
    distances = torch.zeros(len(first))
    there = distance_to_surface(aligned[surface], second, faces)
    back = distance_to_surface(second[surface], aligned, faces)
    distances[surface] = (there + back) / 2
    return distances


def expression_motion(head: HeadModel, parameters: HeadParameters) -> Float[Tensor, "N 3"]:
    """Return the displacement of each vertex by the expression alone, joints at rest, in metres."""
    rest = parameters.neutral()
    moved = head.vertices(replace(rest, expression=parameters.expression))
    return (moved - head.vertices(rest))[0]


def colour_error(first: Float[Tensor, "3 H1 W1"], second: Float[Tensor, "3 H2 W2"], head: HeadModel) -> float:
    """Return the mean absolute RGB difference of two textures over the head's visible surface."""
    topology = head.topology
    visible = outside(topology, INNER)[topology.faces.long()].all(dim=1)
    corners = head.canonical(head.shape_template[None])[0][topology.faces.long()[visible]]
    sides = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = sides.norm(dim=-1)
    centres = topology.uvs[topology.face_uvs.long()[visible]].mean(dim=1)
    difference = (_sample(first, centres) - _sample(second, centres)).abs().mean(dim=-1)
    return float((difference * area).sum() / area.sum())


def outside(topology: HeadTopology, hidden: tuple[str, ...]) -> Bool[Tensor, " N"]:
    """Return the vertices outside the `hidden` regions; a region that this head lacks hides nothing."""
    vertices = next(iter(topology.regions.values())).shape[0]
    mask = torch.ones(vertices, dtype=torch.bool, device=topology.faces.device)
    for name in hidden:
        mask &= ~topology.regions.get(name, torch.zeros_like(mask))
    return mask


def _sample(texture: Float[Tensor, "3 H W"], uvs: Float[Tensor, "P 2"]) -> Float[Tensor, "P 3"]:
    """Return a texture's colours at texture coordinates (row 0 is v = 1)."""
    grid = torch.stack((2 * uvs[:, 0] - 1, 1 - 2 * uvs[:, 1]), dim=-1)[None, None]
    return grid_sample(texture[None], grid, align_corners=False, padding_mode="border")[0, :, 0].T
