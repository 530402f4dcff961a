"""Meshes that another system made, to be scored like the rest: which file belongs to which prompt.

A method with ``source: imported`` takes, for each prompt, ``ID.glb``, ``ID.obj`` or ``ID.ply`` of its folder, where ID
is the prompt's in its list; for a seed other than 0, ``ID.SEED.glb`` and so on. A file that is empty, or cannot be
read, stands for a prompt that the other system failed at: it counts as a failure. A missing file is an error.

Called at the Snakefile's parse: imports neither torch nor pandas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from avatargen.prompts import PromptItem
from avatargen.settings import MeshSettings

FORMATS = (".glb", ".obj", ".ply")
NAMED = 3
"""How many missing files a line names."""


def mesh_name(item: PromptItem) -> str:
    """What an item's file is called, less its format."""
    return f"{item.item}.{item.seed}" if item.seed else item.item


def find_mesh(meshes: MeshSettings, item: PromptItem, root: Path) -> Path | None:
    """An item's file, if it is there."""
    name = mesh_name(item)
    places = [root / meshes.folder / f"{name}{format_}" for format_ in FORMATS]
    return next((path for path in places if path.is_file()), None)


def mesh_problems(method: str, meshes: MeshSettings, items: Iterable[PromptItem], root: Path) -> list[str]:
    """What is missing of a method's meshes, in one line."""
    folder, where = root / meshes.folder, f"methods.yaml: {method}: meshes"
    if not folder.is_dir():
        return [f"{where}: {meshes.folder}: no such folder"]
    missing = [mesh_name(item) for item in items if find_mesh(meshes, item, root) is None]
    if not missing:
        return []
    some = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
    formats = ", ".join(FORMATS)
    return [f"{where}: {meshes.folder}: no mesh for {some}; expected one of {formats}, empty for a failure"]


def parts_of(path: Path) -> list[Path]:
    """The file and what it refers to: an .obj names materials, and these their images."""
    files = [path]
    for keyword in ("mtllib", "map_Kd") if path.suffix == ".obj" else ():
        named = [line for file in files for line in _lines(file, keyword)]
        files += [path.parent / name for name in dict.fromkeys(named) if (path.parent / name).is_file()]
    return files


def _lines(path: Path, keyword: str) -> list[str]:
    if path.suffix not in (".obj", ".mtl"):
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return re.findall(rf"^\s*{keyword}\s+(.+?)\s*$", text, re.MULTILINE)
