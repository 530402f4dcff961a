"""Find the meshes of another system, by name or by a table, and say what of them cannot be read, before a run.

The Snakefile calls `mesh_problems` while it is parsed, so this module imports torch and numpy only where a mesh has
alpha.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from avatargen.config.errors import InputError, some_of
from avatargen.config.other_systems import MeshSettings
from avatargen.config.prompts import PromptItem
from avatargen.exchange import mesh_files
from avatargen.exchange.gltf_document import read_gltf, truncation
from avatargen.exchange.gltf_limits import materials_shown, unread
from avatargen.exchange.item_table import Table, item_name, place_of, read_table, rowless_problems
from avatargen.exchange.mesh_files import FORMATS, read_landmarks
from avatargen.exchange.ply_header import ply_problems

_FACE = re.compile(rb"^[ \t]*f[ \t]", re.MULTILINE)


def candidates(meshes: MeshSettings, item: PromptItem, root: Path) -> list[Path]:
    """Return where an item's mesh may lie: in its row of the table, or under its name in each format.

    Args:
        meshes: settings of the method.
        item: prompt and seed.
        root: folder that relative paths start from.

    Raises:
        InputError: the table cannot be read.
    """
    folder = root / meshes.folder
    if meshes.table is None:
        return [folder / f"{item_name(item)}{format_}" for format_ in FORMATS]
    found = place_of(mesh_table(meshes, root), item)
    return [folder / found] if found else []


def find_mesh(meshes: MeshSettings, item: PromptItem, root: Path) -> Path | None:
    """Return the path of an item's file, or None if there is none; arguments as of `candidates`."""
    return next((path for path in candidates(meshes, item, root) if path.is_file()), None)


def parts_of(path: Path) -> list[Path]:
    """Return a mesh's file and the files that it refers to: buffers, images, materials.

    Args:
        path: of a mesh that is not malformed.
    """
    if path.suffix != ".glb":
        return mesh_files.parts_of(path)
    if not path.stat().st_size or truncation(path):
        return [path]
    files = [path.parent / name for name in read_gltf(path).files()]
    return [path, *(file for file in files if file.is_file())]


def mesh_table(meshes: MeshSettings, root: Path) -> Table:
    """Read the table of a method's meshes; empty where it has none.

    Raises:
        InputError: see `avatargen.exchange.item_table.read_table`.
    """
    return read_table(root / meshes.folder / meshes.table, "mesh", FORMATS) if meshes.table else {}


def mesh_problems(method: str, meshes: MeshSettings, items: Iterable[PromptItem], root: Path) -> list[str]:
    """Return what is wrong with a method's meshes, without reading the geometry of those that have no alpha.

    Args:
        method: name of the method, for messages.
        meshes: settings of the method.
        items: prompts and seeds.
        root: folder that relative paths start from.
    """
    folder, where = root / meshes.folder, f"methods.yaml: {method}: meshes"
    if not folder.is_dir():
        return [f"{where}: folder: got '{meshes.folder}'; expected a folder, absolute or in {root}"]
    asked = list(items)
    try:
        found = {item_name(item): find_mesh(meshes, item, root) for item in asked}
    except InputError as error:
        return [f"{where}: {problem}" for problem in error.problems]
    wrong: dict[str, list[str]] = {}
    for path in dict.fromkeys(path for path in found.values() if path and path.stat().st_size):
        for problem in _file_problems(path, meshes):
            named = os.path.relpath(path, folder) if problem in wrong else str(path)
            wrong.setdefault(problem, []).append(named)
    lines = [f"{where}: {some_of(paths)}: {problem}" for problem, paths in wrong.items()]
    lines += [f"{where}: {problem}" for problem in _missing(meshes, asked, found, root)]
    return lines + [f"{where}: {problem}" for problem in _landmark_problems(meshes, found, root)]


def _missing(meshes: MeshSettings, items: list[PromptItem], found: dict[str, Path | None], root: Path) -> list[str]:
    """Return which items have no mesh, in one line, and what is near the first of them in a table."""
    missing = [item for item in items if found[item_name(item)] is None]
    if not missing:
        return []
    names = some_of([item_name(item) for item in missing])
    if meshes.table is None:
        expected = f"expected a file of {', '.join(FORMATS)}; leave it empty for a failure"
        return [f"{meshes.folder}: no mesh for {names}; {expected}"]
    lines = rowless_problems(meshes.table, mesh_table(meshes, root), missing)
    gone = [str(path) for item in missing for path in candidates(meshes, item, root)]
    if gone:
        lines.append(f"{meshes.table}: no file {some_of(gone)}; expected one; leave it empty for a failure")
    return lines


def _landmark_problems(meshes: MeshSettings, found: dict[str, Path | None], root: Path) -> list[str]:
    """Return what is wrong with the table of landmarks."""
    if not meshes.landmarks:
        return []
    try:
        known = read_landmarks(root / meshes.folder / meshes.landmarks, meshes)
    except InputError as error:
        return list(error.problems)
    unmarked = [name for name, path in found.items() if path and path.stat().st_size and name not in known]
    return [f"{meshes.landmarks}: no row for {some_of(unmarked)}; expected one for each mesh"] if unmarked else []


def _file_problems(path: Path, meshes: MeshSettings) -> list[str]:
    """Return what of a file changes what is shown and cannot be read."""
    if path.suffix == ".glb":
        return [cut] if (cut := truncation(path)) else _glb_problems(path, meshes)
    lines = mesh_files.reference_problems(path)
    if path.suffix == ".ply":
        return lines + ply_problems(path)
    return lines if _FACE.search(path.read_bytes()) else [*lines, "got points or lines; expected triangles"]


def _glb_problems(path: Path, meshes: MeshSettings) -> list[str]:
    """Return missing files that a GLB refers to, and what of its scene we do not read."""
    try:
        document = read_gltf(path)
    except ValueError as error:
        return [f"malformed: {error}"]
    gone = [name for name in document.files() if not (path.parent / name).is_file()]
    lines = [f"refers to '{name}'; expected that file beside it" for name in gone] + unread(document)
    materials = [document.materials[number] for number in materials_shown(document)]
    if not lines and any(material.alphaMode != "OPAQUE" for material in materials):
        lines += _alpha_problems(path, meshes)
    return lines


def _alpha_problems(path: Path, meshes: MeshSettings) -> list[str]:
    """Return how much of a mesh is half transparent; a mesh that cannot be read fails when it is made."""
    from avatargen.exchange.mesh_import import translucency  # imports torch

    try:
        problem = translucency(path, meshes)
    except Exception:  # images fail in many ways
        return []
    return [problem] if problem else []
