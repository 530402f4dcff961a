"""Read the container and the JSON of a binary glTF 2.0 file (GLB), and check its structure.

The Snakefile checks meshes while it is parsed, so this module imports neither numpy nor torch.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from avatargen.exchange.gltf_schema import Gltf, Part, To

HEAD = 20
"""Bytes of a GLB before its JSON: the file's header and the chunk's."""


def read_gltf(path: Path) -> Gltf:
    """Return the JSON of a GLB.

    Raises:
        ValueError: what is wrong with the container, the JSON or its indices, in one line.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        if len(head) < HEAD or head[:4] != b"glTF" or head[16:20] != b"JSON":
            raise ValueError(f"no GLB: it begins with {head[:4]!r}; expected b'glTF' and a chunk of JSON")
        version, length = struct.unpack("<I4xI", head[4:16])
        if version != 2:
            raise ValueError(f"got version {version} of glTF; expected 2")
        text = file.read(length)
    try:
        document = Gltf.model_validate(json.loads(text, parse_float=_number))
    except ValidationError as error:
        raise ValueError(_first_fault(error)) from error
    except RecursionError as error:
        raise ValueError("its JSON is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"its JSON cannot be read: {str(error).splitlines()[0]}") from error
    for check in (_dangling(document, document, ""), _family_problems(document), _extent_problems(document)):
        for problem in check:
            raise ValueError(problem)
    return document


def _number(text: str) -> int | float:
    """Return a number of JSON: 1.0 is an integer there, and writers in languages without integers write it so."""
    number = float(text)
    return int(number) if number.is_integer() else number


def truncation(path: Path) -> str | None:
    """Return how far a GLB is cut off; None if it is as long as its header says, or no GLB."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if len(head) < HEAD or head[:4] != b"glTF":
        return None
    stated, size = struct.unpack("<I", head[8:12])[0], path.stat().st_size
    return (
        f"got {size:,} bytes; expected {stated:,}, as its header says: the file is cut off" if size < stated else None
    )


def _first_fault(error: ValidationError) -> str:
    """Return the first problem that pydantic found, as ``where: got X; expected Y``."""
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"])) or "JSON"
    if fault["type"] == "missing":
        return f"{where}: got nothing; expected a value"
    reason = re.sub(r"^Input should be (.*?)( or instance of \w+)?$", r"\1", fault["msg"])
    return f"{where}: got {json.dumps(fault['input'])[:40]}; expected {reason.replace('dictionary', 'object')}"


def _dangling(part: Any, document: Gltf, where: str) -> Iterator[str]:
    """Yield the indices that refer to nothing."""
    if isinstance(part, list):
        for number, one in enumerate(part):
            yield from _dangling(one, document, f"{where}.{number}")
    elif isinstance(part, Part):
        for name, field in type(part).model_fields.items():
            value: Any = getattr(part, name)
            place = f"{where}.{name}".lstrip(".")
            lists = [one.list for one in field.metadata if isinstance(one, To)]
            if lists and value is not None:
                yield from _out_of_range(value, lists[0], document, place)
            elif name == "targets":
                for number, target in enumerate(value or ()):
                    yield from _out_of_range(target, "accessors", document, f"{place}.{number}")
            else:
                yield from _dangling(value, document, place)


def _out_of_range(value: Any, name: str, document: Gltf, where: str) -> Iterator[str]:
    """Yield the indices, in a field, that lie beyond a list of the document."""
    count = len(getattr(document, name))
    indices = value if isinstance(value, list) else [*value.values()] if isinstance(value, dict) else [value]
    yield from (f"{where}: got {index}; expected an index of {count} {name}" for index in indices if index >= count)


def _family_problems(document: Gltf) -> Iterator[str]:
    """Yield the nodes that have several parents, or are their own ancestors."""
    parents: dict[int, int] = {}
    for number, node in enumerate(document.nodes):
        for child in node.children:
            if child in parents:
                yield f"nodes.{number}.children: got {child}, a child of nodes.{parents[child]}; expected one parent"
            parents[child] = number
    for number in parents:
        seen, node = set(), number
        while node in parents and node not in seen:
            seen.add(node)
            node = parents[node]
        if node in seen:
            yield f"nodes.{number}: got its own ancestor; expected a tree"
            return


def _extent_problems(document: Gltf) -> Iterator[str]:
    """Yield the views and accessors that reach beyond what holds them."""
    for number, view in enumerate(document.bufferViews):
        end, size = view.byteOffset + view.byteLength, document.buffers[view.buffer].byteLength
        if end > size:
            yield f"bufferViews.{number}: got {end:,} bytes; expected at most the {size:,} of its buffer"
    for number, accessor in enumerate(document.accessors):
        if accessor.bufferView is None or not accessor.count:
            continue
        view = document.bufferViews[accessor.bufferView]
        stride = view.byteStride or accessor.element
        end = accessor.byteOffset + stride * (accessor.count - 1) + accessor.element
        if end > view.byteLength:
            yield f"accessors.{number}: got {end:,} bytes; expected at most the {view.byteLength:,} of its view"
