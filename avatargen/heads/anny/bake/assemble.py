"""Bake the Anny head: everything `anny.AnnyHead` needs, computed once and kept as one safetensors file.

All identities are anchored: the area-weighted mean of the skin of head and face (not the neck) stays where
the template's is, so that a newborn and a tall man are both centred before the cameras, at their true
relative size. The mean is linear in the vertices, hence each blend shape is anchored on its own and nothing
is added at run time. Shapes are stored on the coarse vertices (before subdivision), followed by one row for
each joint's pivot, because subdividing afterwards gives the same result for a quarter of the memory traffic.
"""

from __future__ import annotations

import re

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.heads.anny import shape_space
from avatargen.heads.anny.bake.mesh import NECK_NORMAL, NECK_POINT, AnnyMesh, build_mesh, neck_height
from avatargen.heads.anny.bake.regions import Anatomy, ramp, regions
from avatargen.heads.anny.bake.source import AnnySource, read_anny
from avatargen.heads.anny.bake.uv_layout import layout
from avatargen.heads.proxy_mesh import coarsen

JOINTS = {"neck": "neck01", "head": "head", "jaw": "jaw", "eye_left": "eye.L", "eye_right": "eye.R"}
STILL = 0.03  # metres above the cut over which the neck begins to follow its joint; the border never moves
FLAT = 0.05  # metres above the cut over which shapes are free to move as they like again
PHENOTYPE_ERROR = 1e-5  # metres; how well the compact phenotype basis reproduces each sculpted head
SMALLEST_EFFECT = 2e-4  # metres; local changes that move no vertex of the head by more are left out
SMALLEST_EVEN = 2e-4  # metres; likewise for the part of a local change that its two directions share
CROWN = -0.04  # z of the upper end of the texture's seam, metres

FAMILIES = ("head", "forehead", "eye", "nose", "mouth", "ear", "chin", "cheek", "neck", "measure-neck")
UNWANTED = re.compile(r"^(head|neck)-trans|^(nose|mouth)-trans-(in|out)|^measure-(?!neck)")


def bake() -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Tensors and name lists of the head; see `anny.AnnyHead` for what each is."""
    source = read_anny()
    rows = [source.labels.index(label) for label in shape_space.phenotype_labels()]
    mean = [shape_space.TEMPLATE[name] for name in shape_space.PHENOTYPES]
    origin = shape_space.phenotype_weights(torch.tensor([mean], dtype=torch.float64))[0].numpy()
    template = source.template + np.einsum("k,kvc->vc", origin, source.shapes[rows])
    mesh = build_mesh(source, template)
    anchor = _anchor(source, mesh)
    joints = [source.bones.index(bone) for bone in JOINTS.values()]
    shapes = np.concatenate([source.shapes[:, mesh.coarse], source.bone_shapes[:, joints]], axis=1)
    shapes = shapes - np.einsum("m,kmc->kc", anchor, shapes)[:, None]
    shapes[:, : len(mesh.coarse)] = _keep_border_flat(template[mesh.coarse], shapes[:, : len(mesh.coarse)])
    moved = np.einsum("k,kjc->jc", origin, source.bone_shapes[rows][:, joints])
    pivots = source.bone_template[joints] + moved
    centre = (mesh.points.max(axis=0) + mesh.points.min(axis=0)) / 2
    projection, phenotype_basis = _compact(shapes[rows])
    names, odd, even, even_index = _local_changes(source, mesh, shapes)
    actions = [k for k, label in enumerate(source.labels) if label.startswith("facial_action:")]
    uvs, face_uvs, soft = _surface(source, mesh, shapes, centre)
    proxy_faces, proxy_face_uvs = coarsen(mesh.faces, face_uvs, mesh.quads, mesh.corners, mesh.points)
    tensors = {
        "template": (np.concatenate([template[mesh.coarse], pivots]) - centre).T,
        "basis": np.concatenate([phenotype_basis, odd, even]).transpose(0, 2, 1),
        "expressions": _facial_actions(source, actions, mesh, len(joints)).transpose(0, 2, 1),
        "projection": projection,
        "origin": origin,
        "even": even_index,
        "weights": _weights(source, mesh).T,
        "faces": mesh.faces,
        "uvs": uvs,
        "face_uvs": face_uvs,
        "proxy_faces": proxy_faces,
        "proxy_face_uvs": proxy_face_uvs,
        "regions": np.stack(list(soft.values())),
        **_operator(mesh.operator, len(joints)),
    }
    lists = {
        "shape_names": [*shape_space.PHENOTYPES, *names],
        "expression_names": [source.labels[k].split(":")[1] for k in actions],
        "joint_names": list(JOINTS),
        "region_names": list(soft),
    }
    return {name: _tensor(value) for name, value in tensors.items()}, lists


def _tensor(value: np.ndarray | Tensor) -> Tensor:
    tensor = torch.as_tensor(value)
    return (tensor.float() if tensor.is_floating_point() else tensor.long()).contiguous()


def _skull(source: AnnySource, mesh: AnnyMesh) -> Float[np.ndarray, " N"]:
    """Skinning weight of the head and all bones of the face on each fine vertex."""
    return mesh.operator @ source.weights[mesh.coarse][:, source.descendants("head")].sum(axis=1)


def _anchor(source: AnnySource, mesh: AnnyMesh) -> Float[np.ndarray, " P"]:
    """Weights of the coarse vertices (and none of the pivots) in the mean of the head's skin."""
    faces = mesh.faces[mesh.charts == "skin"]
    edges = mesh.points[faces[:, 1:]] - mesh.points[faces[:, :1]]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    share = np.zeros(len(mesh.points))
    for corner in faces.T:
        np.add.at(share, corner, area)
    share *= np.clip(_skull(source, mesh), 0, 1)
    return np.concatenate([mesh.operator.T @ (share / share.sum()), np.zeros(len(JOINTS))])


def _keep_border_flat(template: Float[np.ndarray, "M 3"], shapes: Float[np.ndarray, "K M 3"]) -> np.ndarray:
    """Make shapes move the neck's border as a plane, so that the cut stays clean on every identity.

    Near the cut, a displacement's part along the neck is replaced with the affine function of position that
    fits it best; the replacement fades out over `FLAT` above the cut.
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


def _compact(shapes: Float[np.ndarray, "K M 3"]) -> tuple[np.ndarray, np.ndarray]:
    """A small basis that reproduces the phenotype shapes: (projection (K, R), basis (R, M, 3))."""
    flat = shapes.reshape(len(shapes), -1)
    left, values, right = np.linalg.svd(flat, full_matrices=False)
    for rank in range(8, len(values) + 1, 4):
        error = (left[:, :rank] * values[:rank]) @ right[:rank] - flat
        if np.abs(error).max() < PHENOTYPE_ERROR:
            break
    basis = (values[:rank, None] * right[:rank]).reshape(rank, -1, 3)
    return left[:, :rank], basis


def _local_changes(
    source: AnnySource, mesh: AnnyMesh, shapes: np.ndarray
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names, odd and even halves of the local changes of the head, left and right tied together."""
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


def _facial_actions(source: AnnySource, actions: list[int], mesh: AnnyMesh, joints: int) -> np.ndarray:
    """Displacements of the facial actions, without any at the pivots; not anchored."""
    moves = source.shapes[actions][:, mesh.coarse]
    return np.concatenate([moves, np.zeros((len(actions), joints, 3))], axis=1)


def _weights(source: AnnySource, mesh: AnnyMesh) -> Float[np.ndarray, "N J"]:
    """Skinning weights of our joints; the rest, at the neck's border all, stays with the body."""
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
    """The subdivision, with the pivots passed through, and its transpose, in CSR parts."""
    full = sp.block_diag([operator, sp.identity(joints)]).tocsr()
    parts = {}
    for name, matrix in (("operator", full), ("transposed", full.T.tocsr())):
        matrix.sort_indices()
        parts[f"{name}.starts"] = matrix.indptr[:-1]
        parts[f"{name}.columns"] = matrix.indices
        parts[f"{name}.values"] = matrix.data
    return parts


def _surface(
    source: AnnySource, mesh: AnnyMesh, shapes: np.ndarray, centre: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Texture layout and regions."""
    points = mesh.points - centre
    soft = regions(_anatomy(source, mesh, shapes, points))
    frontal = ramp(points[:, 2] - 0.03, 0.12) * ramp(points[:, 1] + 0.10, 0.06)  # before the ears
    scale = 0.6 + frontal + 0.8 * np.maximum(soft["lips"], soft["eyelids"]) + 0.3 * soft["ears"]
    uvs, face_uvs = layout(mesh.faces, points, mesh.charts, mesh.corner_uvs, scale, CROWN)
    return uvs, face_uvs, soft


def _anatomy(source: AnnySource, mesh: AnnyMesh, shapes: np.ndarray, points: np.ndarray) -> Anatomy:
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
