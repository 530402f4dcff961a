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

from avatargen.prompts import PromptItem
from avatargen.settings import MeshSettings

FORMATS = (".glb", ".obj", ".ply")
LARGEST = 2048
"""Rows and columns of a mesh's texture, more or less at most; larger ones are made smaller."""
NAMED = 3
"""How many missing files a line names."""
HEAD = 2**20
"""Bytes at the beginning of a text file in which what it refers to is named."""
_REFERS = {
    ".obj": re.compile(r"^[ \t]*mtllib[ \t]+(.+?)[ \t]*$", re.MULTILINE),
    ".mtl": re.compile(r"^[ \t]*map_Kd[ \t]+(.+?)[ \t]*$", re.MULTILINE),
    ".ply": re.compile(r"^comment[ \t]+TextureFile[ \t]+(.+?)[ \t]*$", re.MULTILINE),
}


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
        return [f"{where}: {meshes.folder}: no such folder"]
    found = {mesh_name(item): find_mesh(meshes, item, root) for item in items}
    lines = [f"{where}: {problem}" for path in found.values() if path for problem in _file_problems(path)]
    missing = [name for name, path in found.items() if path is None]
    if missing:
        some = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
        formats = ", ".join(FORMATS)
        lines.append(f"{where}: {meshes.folder}: no mesh for {some}; expected one of {formats}, empty for a failure")
    return lines


def parts_of(path: Path) -> list[Path]:
    """The file and what it refers to: an .obj names materials, and these their images; a .ply may name one."""
    files = [path]
    for file in files:  # grows
        files += [other for other in _referred(file) if other.is_file() and other not in files]
    return files


def _file_problems(path: Path) -> list[str]:
    """Files that are named and missing, and extensions of glTF that change what a mesh is and are not read here."""
    gone = [other for part in parts_of(path) for other in _referred(part) if not other.is_file()]
    lines = [f"{path}: refers to {other.name}, which is not beside it" for other in gone]
    strange = [name for name in _required(path) if not name.startswith("KHR_materials_")]
    return lines + [f"{path}: needs {name}, which is not read here; export it without" for name in strange]


def _referred(path: Path) -> list[Path]:
    """What a text file names; of a name after options, the last word."""
    pattern = _REFERS.get(path.suffix)
    if pattern is None:
        return []
    with path.open("rb") as file:
        text = file.read(HEAD).decode("utf-8", errors="replace")
    names = [name if (path.parent / name).is_file() else name.split()[-1] for name in pattern.findall(text)]
    return [path.parent / name for name in dict.fromkeys(names)]


def _required(path: Path) -> list[str]:
    """The extensions without which a GLB cannot be understood."""
    if path.suffix != ".glb":
        return []
    with path.open("rb") as file:
        head = file.read(20)
        if len(head) < 20 or head[:4] != b"glTF":
            return []
        try:
            return list(json.loads(file.read(struct.unpack("<I", head[12:16])[0])).get("extensionsRequired", []))
        except (ValueError, AttributeError):
            return []
