"""Check meshes of another system before anything walks through them: what is malformed is a failure of that avatar."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from avatargen.config.errors import some_of
from avatargen.config.places import ROOT, config_folders, shown
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import MeshSettings
from avatargen.config.text_files import is_file, kind_of
from avatargen.exchange.mesh_files import FORMATS, find_mesh, mesh_name, parts_of
from avatargen.preflight.plan import Study

HEAD = 20
"""Bytes of a GLB before its JSON: the file's header and the chunk's."""


class _Part(BaseModel):
    """A part of glTF; what it holds beside its fields is not looked at."""

    model_config = ConfigDict(strict=True)


class _Image(_Part):
    uri: str = ""


class _Texture(_Part):
    extensions: dict[str, object] | None = None
    texCoord: int = 0


class _Colours(_Part):
    baseColorTexture: _Texture | None = None


class _Material(_Part):
    pbrMetallicRoughness: _Colours | None = None


class _Gltf(_Part):
    """What is read of the JSON of a GLB before its geometry."""

    images: list[_Image] | None = None
    materials: list[_Material] | None = None
    extensionsRequired: list[str] | None = None


def malformed(path: Path) -> str | None:
    """Return why nothing can be read of a mesh, in one line; None if its structure is right.

    Args:
        path: of a .glb, .obj or .ply; an empty one is right: it stands for a failure.
    """
    try:
        if path.suffix == ".glb" and path.stat().st_size and (problem := _gltf_problem(path)):
            return problem
        parts_of(path)
    except OSError as error:
        named = Path(str(error.filename or path)).name
        return f"a file that it names cannot be looked at: {error.strerror}: '{named[:40]}'"
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
        problem = malformed(path) if path else _strange(root / meshes.folder, mesh_name(item))
        if problem:
            found[item] = f"{path.name if path else mesh_name(item)}: malformed: {problem}"
    return found


def failure_notes(study: Study, method: str, root: Path = ROOT) -> list[str]:
    """Return one line if meshes of a method are malformed, and so count as failures of the other system.

    Args:
        study: what runs.
        method: name of one of its runs.
        root: folder that relative paths start from.
    """
    meshes = study.runs[method].method.meshes
    if meshes is None:
        return []
    failures = malformed_meshes(meshes, [item for name in study.lists for item in study.items(name, method)], root)
    some = some_of(list(failures.values()))
    return [f"methods.yaml: {method}: meshes: {len(failures)} count as failures: {some}"] if failures else []


def _strange(folder: Path, name: str) -> str | None:
    """Return what has a mesh's name and is no file: a folder, a pipe, or a link that leads to itself."""
    for suffix in FORMATS:
        try:
            mode = (folder / f"{name}{suffix}").stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            return error.strerror
        return f"got {kind_of(mode)}; expected a file"
    return None


def place_problems(method: str, meshes: MeshSettings, root: Path = ROOT) -> list[str]:
    """Return whether a method's folder of meshes or its table of landmarks is none, one line each.

    Args:
        method: name of the method, for messages.
        meshes: settings of the method.
        root: folder that relative paths start from.
    """
    where, folder = f"methods.yaml: {method}: meshes", root / meshes.folder
    if not os.path.isdir(folder):
        expected = "expected a folder, absolute or relative to the file that names it"
        return [f"{where}: folder: got no folder {shown(folder)}; {expected}{_hint(folder)}"]
    table = folder / (meshes.landmarks or "")
    if meshes.landmarks and os.path.lexists(table) and not is_file(table):
        return [f"{where}: landmarks: {meshes.landmarks}: got a folder, a pipe or a broken link; expected a file"]
    return []


def _hint(folder: Path) -> str:
    """Return what to write instead, if a path was meant to start at the working directory or at the repository."""
    for config in map(Path.absolute, config_folders()):
        meant = os.path.relpath(folder, config)
        for base in (Path.cwd(), ROOT):
            if not meant.startswith("..") and os.path.isdir(base / meant):
                return f"; did you mean '{os.path.relpath(base / meant, config)}'?"
    return ""


def _gltf_problem(path: Path) -> str | None:
    """Return what is wrong with the container or the JSON of a GLB."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        if len(head) < HEAD or head[:4] != b"glTF" or head[16:20] != b"JSON":
            return f"no GLB: it begins with {head[:4]!r}; expected b'glTF' and a chunk of JSON"
        size, length = path.stat().st_size, struct.unpack("<I", head[12:16])[0]
        if HEAD + length > size:
            return f"cut off: {size:,} bytes, of which JSON alone takes {HEAD + length:,}"
        text = file.read(length)
    try:
        _Gltf.model_validate(json.loads(text))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "JSON"
        reason = re.sub(r"^Input should be (.*?)( or instance of \w+)?$", r"\1", fault["msg"])
        reason = reason.replace("dictionary", "object")
        return f"{where}: got {json.dumps(fault['input'])[:40]}; expected {reason}"
    except RecursionError:
        return "its JSON is nested too deep"
    except ValueError as error:
        return f"its JSON cannot be read: {str(error).splitlines()[0]}"
    return None
