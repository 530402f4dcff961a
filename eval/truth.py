"""How far an avatar is from the true head of its prompt; only in the head world, where that is known.

geometry    neutral surfaces, rigidly aligned without scale: distance of each vertex to the other surface,
            both directions averaged, mm; over skin and scalp (no eyes, sockets, teeth, tongue, mouth inside)
expression  mean difference between what the two expressions do to the same vertices, mm; same region
colour      mean absolute RGB difference of the two textures, in [0, 1], at face centres weighted by their
            area on the template; over everything that can be seen from outside (eyes included)

What a prompt leaves unnamed is at its template value in the true head. An avatar that failed counts as the
grey template. ``truth.json`` in the avatar's folder holds the score and its fingerprint.
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
from avatargen.io.avatar_file import load_avatar, zero_avatar_tensors
from avatargen.io.manifest import Row
from eval.artifacts import TRUTH_FACTS, is_current, write_facts
from eval.surface import align_rigidly, distance_to_surface, faces_within

INNER = ("teeth", "tongue", "mouth_interior", "eye_sockets")
HIDDEN = ("eyes", *INNER)
REPORTED = ("skin", "face", "scalp", "beard", "brows", "eyelids", "nose", "lips", "ears", "neck")
FAILED_TEXTURE = 64


@dataclass(frozen=True)
class TruthScore:
    """Distances of one avatar to the true head.

    Attributes:
        geometry_mm: mean over the vertices; geometry_mm_p95: their 95th percentile.
        expression_error: mm; colour_error: in [0, 1].
        regions_mm: mean distance in each named region that the head has.
    """

    geometry_mm: float
    geometry_mm_p95: float
    expression_error: float
    colour_error: float
    regions_mm: dict[str, float]


def measure_avatar(row: Row, folder: Path, head: HeadModel | None, fingerprint: str) -> dict[str, Any]:
    """Measure one avatar of a manifest and write ``truth.json``, unless it is current.

    Args:
        folder: of the avatar; made where a failed avatar has none.
        head: None for a head model that the head world is not made of.

    Returns:
        what ``truth.json`` holds: fingerprint and `score` (None where the prompt has no known true head).

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
    score = compare_heads(parameters, texture, truth, head)
    return write_facts(folder, TRUTH_FACTS, fingerprint, score=asdict(score))


@torch.no_grad()
def compare_heads(
    parameters: HeadParameters, texture: Float[Tensor, "3 Ht Wt"], truth: TrueHead, head: HeadModel
) -> TruthScore:
    """The distances of one head (a batch of one) to the true one."""
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
    """For each vertex of `surface`, the mean of both heads' distances to the other's surface; 0 elsewhere.

    `first` is rigidly aligned to `second` over `surface` before. Metres.
    """
    faces = faces_within(topology.faces, surface)
    aligned = align_rigidly(first, second, surface)
    distances = torch.zeros(len(first))
    there = distance_to_surface(aligned[surface], second, faces)
    back = distance_to_surface(second[surface], aligned, faces)
    distances[surface] = (there + back) / 2
    return distances


def expression_motion(head: HeadModel, parameters: HeadParameters) -> Float[Tensor, "N 3"]:
    """What the expression alone does to each vertex, joints at rest, metres."""
    rest = parameters.neutral()
    moved = head.vertices(replace(rest, expression=parameters.expression))
    return (moved - head.vertices(rest))[0]


def colour_error(first: Float[Tensor, "3 H1 W1"], second: Float[Tensor, "3 H2 W2"], head: HeadModel) -> float:
    """Mean absolute RGB difference of two textures over the head's visible surface."""
    topology = head.topology
    visible = outside(topology, INNER)[topology.faces.long()].all(dim=1)
    corners = head.canonical(head.shape_template[None])[0][topology.faces.long()[visible]]
    sides = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = sides.norm(dim=-1)
    centres = topology.uvs[topology.face_uvs.long()[visible]].mean(dim=1)
    difference = (_sample(first, centres) - _sample(second, centres)).abs().mean(dim=-1)
    return float((difference * area).sum() / area.sum())


def outside(topology: HeadTopology, hidden: tuple[str, ...]) -> Bool[Tensor, " N"]:
    """Vertices that are in none of the `hidden` regions; a region that this head lacks hides nothing."""
    vertices = next(iter(topology.regions.values())).shape[0]
    mask = torch.ones(vertices, dtype=torch.bool, device=topology.faces.device)
    for name in hidden:
        mask &= ~topology.regions.get(name, torch.zeros_like(mask))
    return mask


def _sample(texture: Float[Tensor, "3 H W"], uvs: Float[Tensor, "P 2"]) -> Float[Tensor, "P 3"]:
    """A texture's colours at texture coordinates (row 0 is v = 1)."""
    grid = torch.stack((2 * uvs[:, 0] - 1, 1 - 2 * uvs[:, 1]), dim=-1)[None, None]
    return grid_sample(texture[None], grid, align_corners=False, padding_mode="border")[0, :, 0].T
