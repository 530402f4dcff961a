"""A head in FLAME's file formats: an egg with two eyeballs, whose neck ends in a ring, and smooth random shapes."""

from __future__ import annotations

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


def write_flame(folder: Path, model: dict | None = None, chumpy: bool = True) -> Path:
    """Write the three files; with `chumpy`, the model as Python 2 pickled those of 2020. Returns the model's path."""
    made, masks, uvs, face_uvs = make_flame()
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
