"""Meshes that another system made, to be scored like the rest: which file belongs to which prompt.

A method with ``source: imported`` takes, for each prompt, ``ID.glb``, ``ID.obj`` or ``ID.ply`` of its folder, where ID
is the prompt's in its list; for a seed other than 0, ``ID.SEED.glb`` and so on. A file that is empty, or cannot be
read, stands for a prompt that the other system failed at: it counts as a failure. A missing file is an error, and so is
one that refers to a file that is not there, or is written in a way that only we cannot read.

Called at the Snakefile's parse: imports neither torch nor pandas.
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
"""Rows and columns of a mesh's texture, more or less at most; larger ones are made smaller."""
NAMED = 3
"""How many missing files a line names."""
HEAD = 2**20
"""Bytes at the beginning of a text file in which what it refers to is named."""
_REFERS = {
    ".obj": re.compile(r"^[ \t]*mtllib[ \t]+(.+?)[ \t\r]*$", re.MULTILINE),
    ".mtl": re.compile(r"^[ \t]*map_Kd[ \t]+(.+?)[ \t\r]*$", re.MULTILINE | re.IGNORECASE),
    ".ply": re.compile(r"^comment[ \t]+TextureFile[ \t]+(.+?)[ \t\r]*$", re.MULTILINE),
}
_HARMLESS = {"KHR_materials_unlit", "KHR_materials_ior", "KHR_materials_specular", "KHR_materials_emissive_strength"}


def mesh_name(item: PromptItem) -> str:
    """What an item's file is called, less its format."""
    return f"{item.item}.{item.seed}" if item.seed else item.item


def find_mesh(meshes: MeshSettings, item: PromptItem, root: Path) -> Path | None:
    """An item's file, if it is there."""
    name = mesh_name(item)
    places = [root / meshes.folder / f"{name}{format_}" for format_ in FORMATS]
    return next((path for path in places if path.is_file()), None)


def mesh_problems(method: str, meshes: MeshSettings, items: Iterable[PromptItem], root: Path) -> list[str]:
    """What is wrong with a method's meshes, as far as can be told without reading their geometry."""
    folder, where = root / meshes.folder, f"methods.yaml: {method}: meshes"
    if not folder.is_dir():
        return [f"{where}: folder: got '{meshes.folder}'; expected a folder, absolute or in {root}"]
    found = {mesh_name(item): find_mesh(meshes, item, root) for item in items}
    lines = [f"{where}: {problem}" for path in found.values() if path for problem in _file_problems(path)]
    missing = [name for name, path in found.items() if path is None]
    if missing:
        some = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
        formats = ", ".join(FORMATS)
        lines.append(f"{where}: {meshes.folder}: no mesh for {some}; expected one of {formats}, empty for a failure")
    return lines


def parts_of(path: Path) -> list[Path]:
    """The file and what it refers to: materials of an .obj and their images, images of a .ply and of a GLB."""
    files = [path]
    for file in files:  # grows
        files += [other for other in _referred(file) if other.is_file() and other not in files]
    return files


def _file_problems(path: Path) -> list[str]:
    """Files that are named and missing, and what of a format changes what a mesh is and is not read here."""
    gone = [other for part in parts_of(path) for other in _referred(part) if not other.is_file()]
    lines = [f"{path}: refers to '{other.name}', which is not beside it" for other in gone]
    if path.suffix == ".obj" and len(_referred(path)) > 1:
        lines.append(f"{path}: names {len(_referred(path))} mtllib files, of which one is read; export it with one")
    return lines + [f"{path}: has {what}, which is not read here; export it without" for what in _strange(path)]


def _referred(path: Path) -> list[Path]:
    """What a file names."""
    if path.suffix == ".glb":
        images = _gltf(path).get("images") or []
        names = [unquote(image["uri"]) for image in images if not image.get("uri", "data:").startswith("data:")]
    elif path.suffix in _REFERS:
        with path.open("rb") as file:
            names = _REFERS[path.suffix].findall(file.read(HEAD).decode("utf-8", errors="replace"))
    else:
        return []
    return [path.parent / name for name in dict.fromkeys(names)]


def _strange(path: Path) -> list[str]:
    """What a GLB cannot be understood without, or has of textures, and is not read."""
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
    """The JSON of a GLB; empty where it is none."""
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
