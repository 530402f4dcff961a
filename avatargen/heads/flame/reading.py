"""Read and check FLAME's files; see `files` for where they are.

Imports no torch: the files are read once before the first job of a run, and again by each worker.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from avatargen.config.errors import InputError, Problems
from avatargen.heads.flame.arkit import read_actions
from avatargen.heads.flame.files import FlameFiles
from avatargen.heads.flame.pickle_reader import read_pickle

IDENTITY, EXPRESSION = 300, 100
"""Number of shape components and of expression components, stored in this order."""
ARRAYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
"""Arrays read from a model's file."""
PARENTS = (0, 1, 1, 1)
"""Parents of neck, jaw, left and right eye; joint 0 is the root."""


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


def read_flame(files: FlameFiles) -> FlameSource:
    """Read and check the files that make the head.

    Raises:
        InputError: a file is not FLAME's; all problems of all files are reported at once.
    """
    problems = Problems()
    arrays = problems.of(lambda: _checked(_read(files.model, ARRAYS), files.model))
    found = problems.of(lambda: _read(files.masks, None))
    vertices = len(arrays["v_template"]) if arrays else None
    masks = problems.of(lambda: _checked_masks(found, files.masks, vertices)) if found is not None else None
    faces = arrays["f"].astype(np.int64) if arrays else None
    layout = problems.of(lambda: _texture_layout(files.texture, faces)) if faces is not None else None
    problems.check()
    assert arrays is not None and faces is not None and masks is not None and layout is not None
    return FlameSource(
        template=arrays["v_template"],
        faces=faces,
        shapes=arrays["shapedirs"],
        correctives=arrays["posedirs"],
        regressor=arrays["J_regressor"],
        weights=arrays["weights"],
        uvs=layout[0],
        face_uvs=layout[1],
        masks=masks,
    )


def summary(files: FlameFiles) -> str:
    """Return which FLAME the files hold, and how many vertices an avatar of it has, in one line.

    Reads the files again only when they change.

    Raises:
        InputError: as `read_flame` and `read_actions` do, all problems at once.
    """
    paths = [path for path in (files.model, files.texture, files.masks, files.actions) if path]
    facts = [path.stat() for path in paths]
    return _summary(files, tuple((fact.st_size, fact.st_mtime_ns) for fact in facts))


@lru_cache(maxsize=4)
def _summary(files: FlameFiles, _state: tuple[tuple[int, int], ...]) -> str:
    """Return `summary` of files that have this state; problems are not cached."""
    from avatargen.heads.flame.mesh import trim

    problems = Problems()
    source = problems.of(lambda: read_flame(files))
    actions = files.actions
    named = problems.of(lambda: read_actions(actions, EXPRESSION)) if actions else {}
    source = problems.checked(source)
    mesh = trim(source)
    border = len(np.unique(source.masks["boundary"]))
    facts = f"{len(mesh.kept):,} of {len(source.template):,} vertices are outside 'boundary' ({border:,} vertices)"
    named = f"; {len(named or {})} facial actions from {actions.name}" if actions else ""
    return f"{files.model.name}: {mesh.refined():,} vertices after subdivision; {facts}{named}"


def _read(path: Path, names: tuple[str, ...] | None) -> dict[str, Any]:
    """Return the content of a pickle, or arrays of an npz by name (None: all of them)."""
    return read_pickle(path) if path.suffix.lower() == ".pkl" else _read_npz(path, names)


def _checked_masks(found: dict[str, Any], path: Path, vertices: int | None) -> dict[str, np.ndarray]:
    """Return the masks as vertex indices, after checking their names and, if the model could be read, their range."""
    kinds = {name: np.asarray(index) for name, index in found.items()}
    strange = [name for name, index in kinds.items() if index.dtype.kind not in "iu" and index.size]
    if strange:
        raise InputError([f"{path}: {name}: got {kinds[name].dtype}; expected indices of vertices" for name in strange])
    masks = {name: index.astype(np.int64).ravel() for name, index in kinds.items()}
    lines = [f"{path}: got no mask '{name}'" for name in ("boundary", "left_eyeball") if name not in masks]
    lines += [
        f"{path}: {name}: got vertex {index.max()}; expected less than the model's {vertices}"
        for name, index in masks.items()
        if vertices is not None and index.size and index.max() >= vertices
    ]
    if lines:
        raise InputError(lines)
    return masks


def _read_npz(path: Path, names: tuple[str, ...] | None) -> dict[str, Any]:
    """Return the named arrays that a file has; the others, hundreds of megabytes of textures, stay unread."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names or file.files if name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
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
    if not lines and np.max(model["f"]) >= (count or 0):
        lines.append(f"{path}: f: got vertex {np.max(model['f'])}; expected less than {count}")
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
    if path.suffix.lower() == ".obj":
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
