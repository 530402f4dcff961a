"""Find and check the meshes of another system, which are scored like our own avatars.

A method with ``source: imported`` reads, for each prompt, ``ID.glb``, ``ID.obj`` or ``ID.ply`` from its folder, where
ID is the prompt's id in its list; for a seed other than 0, ``ID.SEED.glb`` and so on. A file that is empty or
unreadable counts as a failure of the other system. It is an input error if a file is missing, refers to a missing file,
or uses a feature of its format that we do not read.

The Snakefile calls `mesh_problems` while it is parsed, so this module imports neither torch nor pandas.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from avatargen.config.prompts import PromptItem
from avatargen.config.settings import MeshSettings

FORMATS = (".glb", ".obj", ".ply")
LARGEST = 2048
"""Largest number of rows and columns of an imported image; larger ones are scaled down."""
NAMED = 3
"""Largest number of missing files that a message names."""
HEAD = 2**20
"""Bytes at the beginning of a text file that are searched for references."""
_REFERS = {
    ".obj": re.compile(r"^[ \t]*mtllib[ \t]+(.+?)[ \t\r]*$", re.MULTILINE),
    ".mtl": re.compile(r"^[ \t]*map_Kd[ \t]+(.+?)[ \t\r]*$", re.MULTILINE | re.IGNORECASE),
    ".ply": re.compile(r"^comment[ \t]+TextureFile[ \t]+(.+?)[ \t\r]*$", re.MULTILINE),
}
_HARMLESS = {"KHR_materials_unlit", "KHR_materials_ior", "KHR_materials_specular", "KHR_materials_emissive_strength"}


def mesh_name(item: PromptItem) -> str:
    """Return the name of an item's file, without its suffix.

    Example:
        >>> mesh_name(PromptItem("list", "old-man", "an old man", seed=2))
        'old-man.2'
    """
    return f"{item.item}.{item.seed}" if item.seed else item.item


def find_mesh(meshes: MeshSettings, item: PromptItem, root: Path) -> Path | None:
    """Return the path of an item's file, or None if there is none.

    Args:
        meshes: settings of the method.
        item: prompt and seed.
        root: folder that relative paths start from.
    """
    name = mesh_name(item)
    places = [root / meshes.folder / f"{name}{format_}" for format_ in FORMATS]
    return next((path for path in places if path.is_file()), None)


def mesh_problems(method: str, meshes: MeshSettings, items: Iterable[PromptItem], root: Path) -> list[str]:
    """Return what is wrong with a method's meshes, without reading their geometry.

    Args:
        method: name of the method, for messages.
        meshes: settings of the method.
        items: prompts and seeds.
        root: folder that relative paths start from.
    """
    folder, where = root / meshes.folder, f"methods.yaml: {method}: meshes"
    if not folder.is_dir():
        return [f"{where}: folder: got '{meshes.folder}'; expected a folder, absolute or in {root}"]
    found = {mesh_name(item): find_mesh(meshes, item, root) for item in items}
    lines = [f"{where}: {problem}" for path in found.values() if path for problem in _file_problems(path)]
    missing = [name for name, path in found.items() if path is None]
    if missing:
        some = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
        formats = ", ".join(FORMATS)
        expected = f"expected a file of {formats}; leave it empty for a failure"
        lines.append(f"{where}: {meshes.folder}: no mesh for {some}; {expected}")
    return lines


def parts_of(path: Path) -> list[Path]:
    """Return a mesh's file and the files it refers to: materials of an .obj, and images."""
    files = [path]
    for file in files:  # the loop extends the list
        files += [other for other in _referred(file) if other.is_file() and other not in files]
    return files


def _file_problems(path: Path) -> list[str]:
    """Return missing files that a mesh refers to, and features that change the mesh and that we do not read."""
    gone = [other for part in parts_of(path) for other in _referred(part) if not other.is_file()]
    lines = [f"{path}: refers to '{other.name}'; expected that file beside it" for other in gone]
    if path.suffix == ".obj" and (count := len(_referred(path))) > 1:
        lines.append(f"{path}: got {count} mtllib files; expected one; export it with one")
    return lines + [f"{path}: got {what}, which we do not read; export it without" for what in _unread_features(path)]


def _referred(path: Path) -> list[Path]:
    """Return the paths of the files that a file names."""
    if path.suffix == ".glb":
        images = _gltf(path).get("images") or []
        names = [unquote(image["uri"]) for image in images if not image.get("uri", "data:").startswith("data:")]
    elif path.suffix in _REFERS:
        with path.open("rb") as file:
            names = _REFERS[path.suffix].findall(file.read(HEAD).decode("utf-8", errors="replace"))
    else:
        return []
    return [path.parent / name for name in dict.fromkeys(names)]


def _unread_features(path: Path) -> list[str]:
    """Return the features of a GLB that change its geometry or colours and that we do not read."""
    facts = _gltf(path)
    found = [name for name in facts.get("extensionsRequired") or [] if name not in _HARMLESS]
    materials = [material.get("pbrMetallicRoughness") or {} for material in facts.get("materials") or []]
    colours = [material.get("baseColorTexture") or {} for material in materials]
    if any("KHR_texture_transform" in (texture.get("extensions") or {}) for texture in colours):
        found.append("KHR_texture_transform")
    if any(texture.get("texCoord", 0) for texture in colours):
        found.append("a second set of texture coordinates")
    return list(dict.fromkeys(found))


def _gltf(path: Path) -> dict[str, Any]:
    """Return the JSON of a GLB; empty for any other file."""
    if path.suffix != ".glb":
        return {}
    with path.open("rb") as file:
        head = file.read(20)
        if len(head) < 20 or head[:4] != b"glTF":
            return {}
        try:
            found = json.loads(file.read(struct.unpack("<I", head[12:16])[0]))
        except ValueError:
            return {}
    return found if isinstance(found, dict) else {}
