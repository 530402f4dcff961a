"""Name the meshes of another system, and read which files they refer to and where their landmarks lie.

A method with ``source: imported`` reads, for each prompt, ``ID.glb``, ``ID.obj`` or ``ID.ply`` from its folder, where
ID is the prompt's id in its list; for a seed other than 0, ``ID.SEED.glb`` and so on; or the file that a table names,
see :mod:`avatargen.exchange.mesh_folder`. A file that is empty or malformed counts as a failure of the other system.

A table of landmarks is a CSV file beside the meshes with the columns `COLUMNS`: a row for each mesh, named as its file
without the suffix.

The Snakefile checks meshes while it is parsed, so this module imports neither torch nor pandas.
"""

from __future__ import annotations

import csv
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from avatargen.config.errors import InputError
from avatargen.config.other_systems import Axis, MeshSettings, Point, face_height
from avatargen.config.prompts import PromptItem
from avatargen.exchange.item_table import item_name

FORMATS = (".glb", ".obj", ".ply")
LARGEST = 2048
"""Largest number of rows and columns of an imported image; larger ones are scaled down."""
COLUMNS = ("mesh", "eyes_x", "eyes_y", "eyes_z", "chin_x", "chin_y", "chin_z")
"""Columns of a table of landmarks."""
HEAD = 2**20
"""Bytes at the beginning of a text file that are searched for references."""
_REFERS = {
    ".obj": re.compile(r"^[ \t]*mtllib[ \t]+(.+?)[ \t\r]*$", re.MULTILINE),
    ".mtl": re.compile(r"^[ \t]*map_Kd[ \t]+(.+?)[ \t\r]*$", re.MULTILINE | re.IGNORECASE),
    ".ply": re.compile(r"^comment[ \t]+TextureFile[ \t]+(.+?)[ \t\r]*$", re.MULTILINE),
}


class Landmarks(NamedTuple):
    """The points of a face that place and scale its mesh, in the file's coordinates.

    Attributes:
        eyes: midway between the pupils.
        chin: on the midline, the point of the chin that lies furthest down and forward.
    """

    eyes: Point
    chin: Point


def mesh_notes(method: str, meshes: MeshSettings) -> list[str]:
    """Return what the user of a method's meshes should know, one line each."""
    if not meshes.by_height:
        return []
    return [
        f"methods.yaml: {method}: meshes: each is made as tall as the template, so tall hair shrinks a face and a "
        "baby's is as large as a man's; state scale, landmarks, or eyes and chin (docs/other-systems.md)"
    ]


def landmarks_of(meshes: MeshSettings, item: PromptItem, root: Path) -> Landmarks | None:
    """Return the landmarks of an item's mesh; None where its size does not come from landmarks.

    Args:
        meshes: settings of the method.
        item: prompt and seed.
        root: folder that relative paths start from.

    Raises:
        InputError: the table cannot be read.
        ValueError: it has no row for the mesh.
    """
    if meshes.eyes and meshes.chin:
        return Landmarks(meshes.eyes, meshes.chin)
    if meshes.landmarks is None:
        return None
    path = root / meshes.folder / meshes.landmarks
    found = read_landmarks(path, meshes).get(item_name(item))
    if found is None:
        raise ValueError(f"{path}: no row for {item_name(item)}; expected one for each mesh")
    return found


def read_landmarks(path: Path, meshes: MeshSettings) -> dict[str, Landmarks]:
    """Read a table of landmarks, by the name of the mesh.

    Args:
        path: of a CSV file with the columns `COLUMNS`.
        meshes: whose up axis the points refer to.

    Raises:
        InputError: not readable, columns missing or unknown, a duplicate row, or points that are not finite or lie
            upside down; one problem for each row.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise InputError([f"{path}: not readable: {error.strerror}"]) from error
    return _read_landmarks(path, facts.st_mtime_ns, facts.st_size, meshes.up)


@lru_cache(maxsize=8)
def _read_landmarks(path: Path, _changed: int, _size: int, up: Axis) -> dict[str, Landmarks]:
    """Read a table once until it changes: the fingerprint of every mesh asks for its row."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError([f"{path}: cannot be read as a CSV table in UTF-8: {error}"]) from error
    header = [name.strip() for name in rows[0]] if rows else []
    if sorted(header) != sorted(COLUMNS):
        raise InputError([f"{path}:1: got the columns {', '.join(header)}; expected {', '.join(COLUMNS)}"])
    found: dict[str, Landmarks] = {}
    problems = []
    for number, cells in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        try:
            if row["mesh"] in found:
                raise ValueError(f"duplicate mesh '{row['mesh']}'; expected one row for each")
            found[row["mesh"]] = _landmarks_in(row, up)
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    if problems:
        raise InputError(problems)
    return found


def _landmarks_in(row: dict[str, str], up: Axis) -> Landmarks:
    """Return the landmarks of a row of a table.

    Raises:
        ValueError: a cell is no finite number, or the points lie upside down.
    """
    cells = [row.get(name, "") for name in COLUMNS[1:]]
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise ValueError(f"got {', '.join(cells)}; expected six finite numbers")
    marks = Landmarks(eyes=(values[0], values[1], values[2]), chin=(values[3], values[4], values[5]))
    if face_height(up, *marks) <= 0:
        raise ValueError(f"eyes {marks.eyes} lie no higher than chin {marks.chin} along {up}; expected them above it")
    return marks


def parts_of(path: Path) -> list[Path]:
    """Return the file of an .obj or .ply and the files it refers to: materials and images."""
    files = [path]
    for file in files:  # the loop extends the list
        files += [other for other in _referred(file) if other.is_file() and other not in files]
    return files


def reference_problems(path: Path) -> list[str]:
    """Return missing files that an .obj or .ply refers to, and a second mtllib.

    Args:
        path: of the mesh.
    """
    gone = [other for part in parts_of(path) for other in _referred(part) if not other.is_file()]
    lines = [f"refers to '{other.name}'; expected that file beside it" for other in gone]
    if path.suffix == ".obj" and (count := len(_referred(path))) > 1:
        lines.append(f"got {count} mtllib files; expected one; export it with one")
    return lines


def _referred(path: Path) -> list[Path]:
    """Return the paths of the files that a file names."""
    if path.suffix in _REFERS:
        with path.open("rb") as file:
            names = _REFERS[path.suffix].findall(file.read(HEAD).decode("utf-8", errors="replace"))
    else:
        return []
    return [path.parent / name for name in dict.fromkeys(names)]
