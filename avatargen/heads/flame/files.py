"""FLAME's files, which everybody has to fetch for themselves (flame.is.tue.mpg.de, after a sign-up).

A folder holds three: the model (FLAME 2020, 2023 or 2023 Open: a pickle, or an npz with the same arrays), its texture
layout (``FLAME_texture.npz`` of the texture space, or an .obj of the template with texture coordinates) and its masks
(``FLAME_masks.pkl``, the vertex masks). It is ``avatargen/weights/flame``, unless AVATARGEN_FLAME names another, or the
model's file in it where there are several.

`flame_problems` is called at the Snakefile's parse: this module imports neither torch nor pandas.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from avatargen.config.errors import InputError
from avatargen.config.places import ROOT

VARIABLE = "AVATARGEN_FLAME"
DEFAULT = ROOT / "avatargen" / "weights" / "flame"
MASKS = "FLAME_masks.pkl"
TEXTURE = "FLAME_texture.npz"
IDENTITY, EXPRESSION = 300, 100
"""Components of shape and of expression, in this order in every FLAME file."""
ARRAYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
"""What is read of a model."""
PARENTS = (0, 1, 1, 1)
"""Parents of neck, jaw, left and right eye; joint 0 is the root."""


@dataclass(frozen=True)
class FlameFiles:
    """Where a FLAME is.

    Attributes:
        model, texture, masks: see the module.
    """

    model: Path
    texture: Path
    masks: Path

    def hash(self) -> str:
        """Twelve hex digits over what the files hold."""
        digest = hashlib.sha256()
        for path in (self.model, self.texture, self.masks):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class FlameSource:
    """FLAME as published, metres. V vertices, F triangles.

    Attributes:
        shapes: displacement of each vertex by a standard deviation of each component; expression's come last.
        correctives: displacement by each entry of (R - I) of neck, jaw and eyes, row by row.
        regressor: weights of the vertices in the pivots of root, neck, jaw and eyes.
        weights: skinning weights of the same joints.
        masks: vertices of each named region.
    """

    template: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    shapes: Float[np.ndarray, "V 3 K"]
    correctives: Float[np.ndarray, "V 3 36"]
    regressor: Float[np.ndarray, "5 V"]
    weights: Float[np.ndarray, "V 5"]
    uvs: Float[np.ndarray, "T 2"]
    face_uvs: Int[np.ndarray, "F 3"]
    masks: dict[str, np.ndarray]


def find_flame(place: Path | None = None) -> FlameFiles:
    """The three files.

    Args:
        place: their folder, or the model's file; by default what the module says.

    Raises:
        InputError: some are missing, or there is more than one model; all problems together.
    """
    place = (place or Path(os.environ.get(VARIABLE) or DEFAULT)).absolute()
    folder = place.parent if place.is_file() else place
    if not folder.is_dir():
        raise InputError([f"head 'flame': {place}: no such folder; {_WANTED}"])
    models = [place] if place.is_file() else _models(folder)
    textures = [path for path in (folder / TEXTURE, *sorted(folder.glob("*.obj"))) if path.is_file()]
    masks = folder / MASKS
    lines = []
    if not models:
        lines.append("no model; expected generic_model.pkl, flame2023.pkl or another FLAME as .pkl or .npz")
    if len(models) > 1:
        names = ", ".join(path.name for path in models)
        lines.append(f"got the models {names}; expected one, or {VARIABLE} naming the file to use")
    if not textures:
        lines.append(f"no texture layout; expected {TEXTURE}, or an .obj of the template with texture coordinates")
    if not masks.is_file():
        lines.append(f"no {MASKS}; expected FLAME's vertex masks")
    if lines:
        raise InputError([f"head 'flame': {folder}: {line}" for line in lines])
    return FlameFiles(models[0], textures[0], masks)


_WANTED = (
    f"expected there, or where {VARIABLE} points to, FLAME's model, {TEXTURE} (or an .obj of the template) and "
    f"{MASKS} from flame.is.tue.mpg.de"
)


def _models(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".pkl", ".npz")]
    return [path for path in files if path.name != TEXTURE and "mask" not in path.name.lower()]


def flame_problems() -> list[str]:
    """Why there is no FLAME, as far as can be told without reading it."""
    try:
        find_flame()
    except InputError as error:
        return list(error.problems)
    return []


def read_flame(files: FlameFiles) -> FlameSource:
    """Read the three files.

    Raises:
        InputError: a file is no FLAME: what, where, got and expected; all problems of the model together.
    """
    from avatargen.heads.flame.pickle_reader import read_pickle

    model = read_pickle(files.model) if files.model.suffix == ".pkl" else _read_npz(files.model, ARRAYS)
    arrays = _checked(model, files.model)
    faces = arrays["f"].astype(np.int64)
    uvs, face_uvs = _texture_layout(files.texture, faces)
    masks = {name: np.asarray(index).astype(np.int64).ravel() for name, index in read_pickle(files.masks).items()}
    count = len(arrays["v_template"])
    lines = [f"{files.masks}: no mask '{name}'" for name in ("boundary", "left_eyeball") if name not in masks]
    lines += [
        f"{files.masks}: {name}: got vertex {index.max()}; expected less than the model's {count}"
        for name, index in masks.items()
        if index.size and index.max() >= count
    ]
    if lines:
        raise InputError(lines)
    return FlameSource(
        template=arrays["v_template"], faces=faces, shapes=arrays["shapedirs"], correctives=arrays["posedirs"],
        regressor=arrays["J_regressor"], weights=arrays["weights"], uvs=uvs, face_uvs=face_uvs, masks=masks,
    )  # fmt: skip


def _read_npz(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Those of some arrays that a file has; FLAME's textures, hundreds of megabytes, lie beside their layout."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names if name in file.files}
    except (OSError, ValueError) as error:
        raise InputError([f"{path}: cannot be read ({error}); expected an npz of plain arrays"]) from error


def _checked(model: dict[str, Any], path: Path) -> dict[str, np.ndarray]:
    """The arrays of a model, of the right shapes and finite."""
    count = np.shape(model["v_template"])[0] if np.ndim(model.get("v_template")) == 2 else None
    expected = {
        "v_template": (count, 3), "f": (None, 3), "shapedirs": (count, 3, IDENTITY + EXPRESSION),
        "posedirs": (count, 3, 9 * len(PARENTS)), "J_regressor": (1 + len(PARENTS), count),
        "weights": (count, 1 + len(PARENTS)),
    }  # fmt: skip
    lines, arrays = [], {}
    for name, shape in expected.items():
        wanted = " x ".join("any number" if size is None else str(size) for size in shape)
        if name not in model:
            lines.append(f"{path}: no '{name}'; expected an array of {wanted}")
            continue
        array = np.asarray(model[name])
        fits = array.ndim == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
        if not fits or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            got = " x ".join(map(str, array.shape)) or "a single value"
            lines.append(f"{path}: {name}: got {got} of {array.dtype}; expected finite numbers, {wanted}")
        arrays[name] = array
    parents = tuple(np.asarray(model.get("kintree_table", [[0, *PARENTS]]))[0][1:].tolist())
    if parents != PARENTS:
        lines.append(f"{path}: kintree_table: got parents {parents}; expected {PARENTS} of neck, jaw and eyes")
    if lines:
        raise InputError(lines)
    return arrays


def _texture_layout(path: Path, faces: Int[np.ndarray, "F 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates, and their indices at the corners of the model's faces."""
    if path.suffix == ".obj":
        return _layout_of_obj(path, faces)
    found = _read_npz(path, ("vt", "ft"))
    uvs, face_uvs = found.get("vt"), found.get("ft")
    if uvs is None or face_uvs is None or face_uvs.shape != faces.shape or face_uvs.max() >= len(uvs):
        wanted = f"expected 'vt', texture coordinates, and 'ft', their indices for {len(faces)} faces"
        raise InputError([f"{path}: {wanted}"])
    return uvs[:, :2].astype(np.float64), face_uvs.astype(np.int64)


def _layout_of_obj(path: Path, faces: Int[np.ndarray, "F 3"]) -> tuple[np.ndarray, np.ndarray]:
    """The layout of a Wavefront file whose faces are the model's, in any order."""
    uvs: list[list[float]] = []
    corners: dict[frozenset[int], dict[int, int]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, *values = line.split() or [""]
        if kind == "vt":
            uvs.append([float(value) for value in values[:2]])
        elif kind == "f":
            pairs = [value.split("/") for value in values]
            if any(len(pair) < 2 or not pair[1] for pair in pairs):
                raise InputError([f"{path}: faces have no texture coordinates; expected 'f v/vt v/vt v/vt'"])
            corner = {int(pair[0]) - 1: int(pair[1]) - 1 for pair in pairs}
            corners[frozenset(corner)] = corner
    strange = [face.tolist() for face in faces if frozenset(face.tolist()) not in corners]
    if strange:
        some = f"{len(strange)} of the model's {len(faces)} faces are not in it, such as {strange[0]}"
        raise InputError([f"{path}: {some}; expected the template of the same FLAME, in triangles"])
    index = [[corners[frozenset(face)][vertex] for vertex in face] for face in faces.tolist()]
    return np.array(uvs), np.array(index)
