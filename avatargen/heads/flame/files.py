"""Find and read FLAME's files, which each user downloads from flame.is.tue.mpg.de after a sign-up.

A folder holds three files:

- the model: FLAME 2020, 2023 or 2023 Open, as a pickle or as an npz with the same arrays;
- its texture layout: ``FLAME_texture.npz`` of the texture space, or an .obj of the template with texture coordinates;
- its vertex masks: ``FLAME_masks.pkl``.

The folder is ``avatargen/weights/flame`` or the one that AVATARGEN_FLAME names; if the folder holds several models,
AVATARGEN_FLAME names the model's file.

The Snakefile calls `flame_problems` while it is parsed, so this module imports neither torch nor pandas.
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
"""Environment variable that names the folder or the model's file."""
DEFAULT = ROOT / "avatargen" / "weights" / "flame"
MASKS = "FLAME_masks.pkl"
TEXTURE = "FLAME_texture.npz"
IDENTITY, EXPRESSION = 300, 100
"""Number of shape components and of expression components, stored in this order."""
ARRAYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
"""Arrays read from a model's file."""
PARENTS = (0, 1, 1, 1)
"""Parents of neck, jaw, left and right eye; joint 0 is the root."""


@dataclass(frozen=True)
class FlameFiles:
    """Paths of the three files; see the module."""

    model: Path
    texture: Path
    masks: Path

    def hash(self) -> str:
        """Return a hash of the files' content, twelve hex digits."""
        digest = hashlib.sha256()
        for path in (self.model, self.texture, self.masks):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class FlameSource:
    """FLAME as published, with V vertices and F triangles.

    Attributes:
        template: vertices of the mean head, metres.
        faces: triangles.
        shapes: displacement of each vertex by one standard deviation of each component, metres; shape components come
            first, expression components last.
        correctives: displacement by each entry of R - I of neck, jaw and eyes, row by row, metres.
        regressor: weight of each vertex in the pivots of root, neck, jaw and eyes.
        weights: skinning weights of the same joints.
        uvs, face_uvs: texture coordinates, and the indices into them of each triangle's corners.
        masks: vertex indices of each named region.
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
    """Find the three files.

    Args:
        place: their folder, or the model's file; by default what AVATARGEN_FLAME names, else `DEFAULT`.

    Raises:
        InputError: files are missing, or there are several models; all problems are reported at once.
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
        lines.append("got no model; expected generic_model.pkl, flame2023.pkl or another FLAME as .pkl or .npz")
    if len(models) > 1:
        names = ", ".join(path.name for path in models)
        lines.append(f"got the models {names}; expected one; set {VARIABLE} to the file to use")
    if not textures:
        lines.append(f"got no texture layout; expected {TEXTURE}, or an .obj of the template with texture coordinates")
    if not masks.is_file():
        lines.append(f"got no vertex masks; expected {MASKS}")
    if lines:
        raise InputError([f"head 'flame': {folder}: {line}" for line in lines])
    return FlameFiles(models[0], textures[0], masks)


_WANTED = (
    f"expected there, or in the folder that {VARIABLE} names, FLAME's model, {TEXTURE} (or an .obj of the template) "
    f"and {MASKS} from flame.is.tue.mpg.de"
)


def _models(folder: Path) -> list[Path]:
    """Return the files that may be models, by name."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".pkl", ".npz")]
    return [path for path in files if path.name != TEXTURE and "mask" not in path.name.lower()]


def flame_problems() -> list[str]:
    """Return what is wrong with the user's FLAME, without reading the files' content."""
    try:
        find_flame()
    except InputError as error:
        return list(error.problems)
    return []


def read_flame(files: FlameFiles) -> FlameSource:
    """Read and check the three files.

    Raises:
        InputError: a file is not FLAME's; all problems of a file are reported at once.
    """
    from avatargen.heads.flame.pickle_reader import read_pickle

    model = read_pickle(files.model) if files.model.suffix == ".pkl" else _read_npz(files.model, ARRAYS)
    arrays = _checked(model, files.model)
    faces = arrays["f"].astype(np.int64)
    uvs, face_uvs = _texture_layout(files.texture, faces)
    return FlameSource(
        template=arrays["v_template"],
        faces=faces,
        shapes=arrays["shapedirs"],
        correctives=arrays["posedirs"],
        regressor=arrays["J_regressor"],
        weights=arrays["weights"],
        uvs=uvs,
        face_uvs=face_uvs,
        masks=_checked_masks(read_pickle(files.masks), files.masks, vertices=len(arrays["v_template"])),
    )


def _checked_masks(found: dict[str, Any], path: Path, vertices: int) -> dict[str, np.ndarray]:
    """Return the masks as vertex indices, after checking their names and range."""
    masks = {name: np.asarray(index).astype(np.int64).ravel() for name, index in found.items()}
    lines = [f"{path}: got no mask '{name}'" for name in ("boundary", "left_eyeball") if name not in masks]
    lines += [
        f"{path}: {name}: got vertex {index.max()}; expected less than the model's {vertices}"
        for name, index in masks.items()
        if index.size and index.max() >= vertices
    ]
    if lines:
        raise InputError(lines)
    return masks


def _read_npz(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the named arrays that a file has; the others, hundreds of megabytes of textures, stay unread."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names if name in file.files}
    except (OSError, ValueError) as error:
        raise InputError([f"{path}: cannot be read ({error}); expected an npz of plain arrays"]) from error


def _checked(model: dict[str, Any], path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a model, after checking that they are finite and of the right shapes."""
    template = model.get("v_template")
    count = np.shape(template)[0] if template is not None and np.ndim(template) == 2 else None
    expected = {
        "v_template": (count, 3),
        "f": (None, 3),
        "shapedirs": (count, 3, IDENTITY + EXPRESSION),
        "posedirs": (count, 3, 9 * len(PARENTS)),
        "J_regressor": (1 + len(PARENTS), count),
        "weights": (count, 1 + len(PARENTS)),
    }
    lines = [f"{path}: {line}" for name, shape in expected.items() for line in _array_problems(model, name, shape)]
    parents = tuple(np.asarray(model.get("kintree_table", [[0, *PARENTS]]))[0][1:].tolist())
    if parents != PARENTS:
        lines.append(f"{path}: kintree_table: got parents {parents}; expected {PARENTS} of neck, jaw and eyes")
    if lines:
        raise InputError(lines)
    return {name: np.asarray(model[name]) for name in expected}


def _array_problems(model: dict[str, Any], name: str, shape: tuple[int | None, ...]) -> list[str]:
    """Return what is wrong with an array; None in a shape is any size."""
    wanted = " x ".join("any number" if size is None else str(size) for size in shape)
    if name not in model:
        return [f"got no '{name}'; expected an array of {wanted}"]
    array = np.asarray(model[name])
    fits = array.ndim == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
    if fits and array.dtype.kind in "fiu" and np.isfinite(array).all():
        return []
    got = " x ".join(map(str, array.shape)) or "a single value"
    return [f"{name}: got {got} of {array.dtype}; expected finite numbers, {wanted}"]


def _texture_layout(path: Path, faces: Int[np.ndarray, "F 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Return texture coordinates, and the indices into them of the corners of the model's faces."""
    if path.suffix == ".obj":
        return _layout_of_obj(path, faces)
    found = _read_npz(path, ("vt", "ft"))
    uvs, face_uvs = found.get("vt"), found.get("ft")
    if uvs is None or face_uvs is None or face_uvs.shape != faces.shape or face_uvs.max() >= len(uvs):
        wanted = f"expected texture coordinates 'vt' and their indices 'ft' for {len(faces)} faces"
        raise InputError([f"{path}: got another layout; {wanted}"])
    return uvs[:, :2].astype(np.float64), face_uvs.astype(np.int64)


def _layout_of_obj(path: Path, faces: Int[np.ndarray, "F 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the texture layout of a Wavefront file that has the model's faces in any order."""
    uvs: list[list[float]] = []
    corners: dict[frozenset[int], dict[int, int]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, *values = line.split() or [""]
        if kind == "vt":
            uvs.append([float(value) for value in values[:2]])
        elif kind == "f":
            pairs = [value.split("/") for value in values]
            if any(len(pair) < 2 or not pair[1] for pair in pairs):
                raise InputError([f"{path}: got faces without texture coordinates; expected 'f v/vt v/vt v/vt'"])
            corner = {int(pair[0]) - 1: int(pair[1]) - 1 for pair in pairs}
            corners[frozenset(corner)] = corner
    strange = [face.tolist() for face in faces if frozenset(face.tolist()) not in corners]
    if strange:
        some = f"got no match for {len(strange)} of the model's {len(faces)} faces, such as {strange[0]}"
        raise InputError([f"{path}: {some}; expected the template of the same FLAME, in triangles"])
    index = [[corners[frozenset(face)][vertex] for vertex in face] for face in faces.tolist()]
    return np.array(uvs), np.array(index)
