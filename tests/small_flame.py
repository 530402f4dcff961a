"""A head in FLAME's file formats: an egg with two eyeballs, whose neck ends in a ring, and smooth random shapes."""

from __future__ import annotations

import itertools
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import trimesh

EYES = np.array([[0.03, 0.02, 0.09], [-0.03, 0.02, 0.09]])


def make_flame(seed: int = 0) -> tuple[dict, dict, np.ndarray, np.ndarray]:
    """Arrays of a model, its masks, its texture coordinates and their indices."""
    egg = trimesh.creation.icosphere(subdivisions=3)
    ball = trimesh.creation.icosphere(subdivisions=1, radius=0.012)
    parts = [egg.vertices * (0.08, 0.12, 0.1), *(ball.vertices + eye for eye in EYES)]
    owner = np.repeat([0, 1, 2], [len(part) for part in parts])
    points = np.concatenate(parts) + np.array([0.0, 0.05, 0.01])  # FLAME's origin is not the centre either
    starts = np.cumsum([0, len(parts[0]), len(parts[1])])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip((egg, ball, ball), starts, strict=True)])
    return _flame_of(points, faces, owner, seed)


def _flame_of(
    points: np.ndarray, faces: np.ndarray, owner: np.ndarray, seed: int
) -> tuple[dict, dict, np.ndarray, np.ndarray]:
    """A model of a head (owner 0) and two eyeballs (1, 2), and what comes with it."""
    x, y, z = (points / 0.1).T
    waves = np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * x - z * z, y * y], 1)
    draw = np.random.default_rng(seed)
    strength = 0.003 / np.sqrt(np.concatenate([np.arange(1, 301), np.arange(1, 101)]))
    height = np.clip((points[:, 1] + 0.05) / 0.05, 0, 1)
    weights = np.zeros((len(points), 5))
    weights[:, 0], weights[:, 1] = 1 - height, height
    jaw = 0.6 * height * np.clip(0.3 - y, 0, 1) * (z > 0)
    weights[:, 1] -= jaw
    weights[:, 2] = jaw
    weights[owner > 0] = 0
    weights[owner == 1, 3] = weights[owner == 2, 4] = 1
    regressor = np.stack([_near(points, place) for place in ((0, -0.06, 0), (0, -0.03, 0), (0, 0.03, 0.02))])
    eyes = [(owner == eye) / (owner == eye).sum() for eye in (1, 2)]
    model = {
        "v_template": points,
        "f": faces.astype(np.uint32),
        "shapedirs": np.einsum("vw,wck->vck", waves, draw.normal(size=(8, 3, 400))) * strength,
        "posedirs": np.einsum("vw,wck->vck", waves, draw.normal(size=(8, 3, 36))) * 5e-4,
        "J_regressor": np.concatenate([regressor, eyes]),
        "weights": weights,
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
        "bs_style": "lbs",
    }
    masks = {
        "boundary": np.flatnonzero((owner == 0) & (points[:, 1] < -0.05)),
        "left_eyeball": np.flatnonzero(owner == 1),
        "right_eyeball": np.flatnonzero(owner == 2),
        "scalp": np.flatnonzero((owner == 0) & (points[:, 1] > 0.12)),
        "face": np.flatnonzero((owner == 0) & (points[:, 2] > 0.05)),
    }
    corners = points[faces].reshape(-1, 3) - points.mean(0)  # a corner each: every edge is a seam
    around = np.arctan2(corners[:, 0], corners[:, 2]) / (2 * np.pi) + 0.5
    uvs = np.stack([around, np.clip((corners[:, 1] + 0.2) / 0.4, 0, 1)], 1)
    return model, masks, uvs, np.arange(faces.size).reshape(-1, 3)


def _near(points: np.ndarray, place: tuple[float, float, float]) -> np.ndarray:
    share = np.exp(-np.square(points - place).sum(1) / 0.03**2)
    return share / share.sum()


def write_flame(folder: Path, model: dict | None = None, chumpy: bool = True, parts: tuple | None = None) -> Path:
    """Write the three files; with `chumpy`, the model as Python 2 pickled those of 2020. Returns the model's path.

    Args:
        model: in place of that of `parts`.
        parts: what `make_flame` or `make_full_size_flame` returns.
    """
    made, masks, uvs, face_uvs = parts or make_flame()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "FLAME_texture.npz", vt=uvs, ft=face_uvs, mean=np.zeros((2, 2, 3)))
    (folder / "FLAME_masks.pkl").write_bytes(as_python2(masks))
    path = folder / ("generic_model.pkl" if chumpy else "flame2023.pkl")
    path.write_bytes(as_python2(model or made) if chumpy else pickle.dumps(model or made))
    return path


def as_python2(values: dict) -> bytes:
    """A pickle of protocol 2 with the names of old versions: chumpy arrays, and scipy's matrix by columns."""
    fakes = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "scipy.sparse.csc")}
    array = fakes["chumpy.ch"].Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    matrix = fakes["scipy.sparse.csc"].csc_matrix = type("csc_matrix", (), {"__module__": "scipy.sparse.csc"})

    def old(name: str, value: object) -> object:
        if name in ("v_template", "shapedirs", "posedirs", "weights"):
            holder = array()
            holder.x, holder._dirty_vars = np.asarray(value), {"x"}  # what chumpy.ch.Ch keeps of itself
            holder._itr, holder._make_dense, holder._make_sparse, holder._depends_on_deps = None, False, False, {}
            return holder
        if name == "J_regressor":
            sparse, holder = sp.csc_matrix(value), matrix()
            holder._shape, holder.maxprint = sparse.shape, 50
            holder.data, holder.indices, holder.indptr = sparse.data, sparse.indices, sparse.indptr
            return holder
        return value

    before = {name: sys.modules.get(name) for name in fakes}
    sys.modules.update(fakes)
    try:
        written = pickle.dumps({name: old(name, value) for name, value in values.items()}, protocol=2)
    finally:
        for name, module in before.items():
            sys.modules.pop(name) if module is None else sys.modules.update({name: module})
    return written.replace(b"cnumpy._core.", b"cnumpy.core.")


def make_full_size_flame(seed: int = 0) -> tuple[dict, dict, np.ndarray, np.ndarray]:
    """`make_flame` at FLAME's size: 5,023 vertices, 9,976 triangles, one border of 60 edges around the neck.

    A head of 3,931 vertices (a pole, a ring of 30 and 65 rings of 60 from crown to neck) and two eyeballs of 546.
    `masks["boundary"]` holds the lowest 16 rings, 960 vertices.
    """
    sizes = [30, *[60] * 65]
    polar = np.linspace(0, 0.86 * np.pi, len(sizes) + 1)[1:]
    head = [np.array([[0.0, 1.0, 0.0]])] + [_ring(size, angle) for size, angle in zip(sizes, polar, strict=True)]
    ball = [np.array([[0.0, 1.0, 0.0]])] + [_ring(16, k * np.pi / 35) for k in range(1, 35)]
    ball.append(np.array([[0.0, -1.0, 0.0]]))
    head, head_faces = np.concatenate(head), _stitched([1, *sizes])
    ball, ball_faces = np.concatenate(ball), _stitched([1, *[16] * 34, 1])
    parts = [head * (0.085, 0.13, 0.1), *(0.012 * ball + eye for eye in EYES)]
    points = np.concatenate(parts) + np.array([0.0, 0.05, 0.01])
    starts = np.cumsum([0, len(head), len(ball)])
    faces = np.concatenate([head_faces, *(ball_faces + start for start in starts[1:])])
    owner = np.repeat([0, 1, 2], [len(part) for part in parts])
    model, masks, _, _ = _flame_of(points, faces, owner, seed)
    masks["boundary"] = np.arange(len(head) - 960, len(head))
    uvs = np.concatenate(
        [_unrolled(head) * (0.8, 0.7), *(_unrolled(ball) * (0.08, 0.2) + (0.82, v) for v in (0.0, 0.3))]
    )
    return model, masks, uvs, faces


def _ring(size: int, polar: float) -> np.ndarray:
    around = 2 * np.pi * np.arange(size) / size - np.pi
    return np.stack([np.sin(polar) * np.sin(around), np.full(size, np.cos(polar)), np.sin(polar) * np.cos(around)], 1)


def _unrolled(points: np.ndarray) -> np.ndarray:
    around = np.arctan2(points[:, 0], points[:, 2]) / (2 * np.pi) + 0.5
    return np.stack([around, 1 - np.arccos(np.clip(points[:, 1], -1, 1)) / np.pi], 1)


def _stitched(sizes: list[int]) -> np.ndarray:
    """Triangles between rings of these sizes, from top to bottom, wound outwards."""
    faces, start = [], 0
    for above, below in itertools.pairwise(sizes):
        top, bottom, i, j = start, start + above, 0, 0
        while i < above * (above > 1) or j < below * (below > 1):
            if below > 1 and (above == 1 or i == above or (j + 1) * above <= (i + 1) * below):
                faces.append((top + i % above, bottom + j % below, bottom + (j + 1) % below))
                j += 1
            else:
                faces.append((top + i % above, bottom + j % below, top + (i + 1) % above))
                i += 1
        start += above
    return np.array(faces)
