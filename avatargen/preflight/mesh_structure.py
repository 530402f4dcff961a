"""Check meshes of another system before anything walks through them: what is malformed is a failure of that avatar."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from avatargen.config.errors import InputError, some_of
from avatargen.config.other_systems import MeshSettings
from avatargen.config.places import ROOT, config_folders, shown
from avatargen.config.prompts import PromptItem
from avatargen.config.text_files import is_file, kind_of
from avatargen.exchange.gltf_document import read_gltf, truncation
from avatargen.exchange.gltf_limits import has_vertex_colours
from avatargen.exchange.item_table import item_name
from avatargen.exchange.mesh_folder import candidates, find_mesh, mesh_table, parts_of
from avatargen.preflight.plan import Study

SRGB_WRITERS = ("trimesh",)
"""Parts of the names of exporters that write vertex colours in sRGB, against the rule of glTF."""


def malformed(path: Path) -> str | None:
    """Return why nothing can be read of a mesh, in one line; None if its structure is right.

    Args:
        path: of a .glb, .obj or .ply; an empty one is right: it stands for a failure. One that is cut off is right,
            too: it is an input error, not a failure of the other system.
    """
    try:
        if path.suffix == ".glb":
            facts = path.stat()
            return _glb_fault(path, facts.st_mtime_ns, facts.st_size)
        parts_of(path)
    except OSError as error:
        named = Path(str(error.filename or path)).name
        return f"a file that it names cannot be looked at: {error.strerror}: '{named[:40]}'"
    return None


@lru_cache(maxsize=2**16)
def _glb_fault(path: Path, _changed: int, _size: int) -> str | None:
    """Look at a GLB once until it changes: validation and fingerprints ask several times."""
    try:
        parts_of(path)
    except ValueError as error:
        return str(error)
    return None


def malformed_meshes(meshes: MeshSettings, items: Iterable[PromptItem], root: Path = ROOT) -> dict[PromptItem, str]:
    """Return the items whose meshes are malformed, with the reason and the file in one line.

    Args:
        meshes: settings of the method.
        items: prompts and seeds.
        root: folder that relative paths start from.
    """
    found: dict[PromptItem, str] = {}
    for item in items:
        path = find_mesh(meshes, item, root)
        problem = malformed(path) if path else _strange(candidates(meshes, item, root))
        if problem:
            found[item] = f"{path.name if path else item_name(item)}: malformed: {problem}"
    return found


def file_notes(study: Study, method: str, root: Path = ROOT) -> list[str]:
    """Return a line if meshes of a method are malformed, and so count as failures, and one if their colours look wrong.

    Args:
        study: what runs.
        method: name of one of its runs.
        root: folder that relative paths start from.
    """
    meshes = study.runs[method].method.meshes
    if meshes is None:
        return []
    items = [item for name in study.lists for item in study.items(name, method)]
    failures = malformed_meshes(meshes, items, root)
    paths = {find_mesh(meshes, item, root) for item in items if item not in failures}
    light = sorted(path.name for path in paths if path and path.suffix == ".glb" and _breaks_rule(path))
    lines = [f"{len(failures)} count as failures: {some_of(list(failures.values()))}"] if failures else []
    if light and meshes.vertex_colours == "linear":
        lines.append(
            f"{len(light)} come from trimesh, which writes vertex colours in sRGB where glTF wants linear light, so "
            f"viewers show them too light: {some_of(light)}; state vertex_colours: srgb to show them as meant"
        )
    return [f"methods.yaml: {method}: meshes: {line}" for line in lines]


def _breaks_rule(path: Path) -> bool:
    """Return whether a GLB has vertex colours, and comes from an exporter that writes them in sRGB."""
    if not path.stat().st_size or truncation(path):
        return False
    document = read_gltf(path)
    return any(name in document.asset.generator for name in SRGB_WRITERS) and has_vertex_colours(document)


def _strange(paths: Iterable[Path]) -> str | None:
    """Return what lies where a mesh should and is no file: a folder, a pipe, or a link that leads to itself."""
    for path in paths:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            return error.strerror
        return f"got {kind_of(mode)}; expected a file"
    return None


def place_problems(method: str, meshes: MeshSettings, root: Path = ROOT) -> list[str]:
    """Return whether a method's folder of meshes or a table in it is none, one line each.

    Args:
        method: name of the method, for messages.
        meshes: settings of the method.
        root: folder that relative paths start from.
    """
    where, folder = f"methods.yaml: {method}: meshes", root / meshes.folder
    if not os.path.isdir(folder):
        expected = "expected a folder, absolute or relative to the file that names it"
        return [f"{where}: folder: got no folder {shown(folder)}; {expected}{_hint(folder)}"]
    lines = []
    for field, name in (("landmarks", meshes.landmarks), ("table", meshes.table)):
        if name and os.path.lexists(folder / name) and not is_file(folder / name):
            lines.append(f"{where}: {field}: {name}: got a folder, a pipe or a broken link; expected a file")
    if meshes.table and not lines:
        try:
            mesh_table(meshes, root)
        except InputError as error:
            lines += [f"{where}: {problem}" for problem in error.problems]
    return lines


def _hint(folder: Path) -> str:
    """Return what to write instead, if a path was meant to start at the working directory or at the repository."""
    for config in map(Path.absolute, config_folders()):
        meant = os.path.relpath(folder, config)
        for base in (Path.cwd(), ROOT):
            if not meant.startswith("..") and os.path.isdir(base / meant):
                return f"; did you mean '{os.path.relpath(base / meant, config)}'?"
    return ""
