"""Read the header of a PLY, to tell points from surfaces and a whole file from one that is cut off."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

HEAD = 2**16
"""Bytes that are searched for the end of a header."""
END = b"end_header"
CORNERS = 3
"""Fewest numbers in a list of a face."""
_BYTES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "float", "int32", "uint32", "float32"), 4),
    **dict.fromkeys(("double", "float64"), 8),
}


@dataclass
class _Element:
    """A kind of element.

    Attributes:
        name: ``vertex``, ``face`` and so on.
        count: of its elements.
        bytes: of one, at least.
        properties: their names.
    """

    name: str
    count: int
    bytes: int = 0
    properties: list[str] = field(default_factory=list)


def ply_problems(path: Path) -> list[str]:
    """Return whether a PLY holds no surface, or is cut off, each as ``got X; expected Y``.

    Args:
        path: of the file; one without a readable header has no problems here, and fails when it is read.
    """
    with path.open("rb") as file:
        head, ended, _ = file.read(HEAD).partition(END)
    try:
        binary, elements = _header(head.decode("latin-1").splitlines())
    except (ValueError, KeyError, IndexError):
        return []
    surfaces = [one.count for one in elements if one.name in ("face", "tristrips")]
    if ended and not sum(surfaces):
        splats = any(name.startswith("f_dc_") for one in elements for name in one.properties)
        return [f"got {'Gaussian splats' if splats else 'points'}; expected triangles"]
    if binary:
        least, unit = len(head) + len(END) + 1 + sum(one.count * one.bytes for one in elements), "bytes"
        size = path.stat().st_size
    else:
        least, unit = sum(one.count for one in elements), "lines"
        size = max(0, path.read_bytes().partition(END)[2].strip().count(b"\n") + 1)
    return [f"got {size:,} {unit}; expected at least {least:,}: the file is cut off"] if size < least else []


def _header(lines: list[str]) -> tuple[bool, list[_Element]]:
    """Return whether a file is binary, and its elements.

    Raises:
        ValueError, KeyError, IndexError: it is no header of a PLY.
    """
    if lines[0].strip() != "ply":
        raise ValueError("no PLY")
    binary, elements = False, []
    for words in map(str.split, lines):
        if words[:1] == ["format"]:
            binary = words[1] != "ascii"
        elif words[:1] == ["element"]:
            elements.append(_Element(words[1], int(words[2])))
        elif words[:2] == ["property", "list"]:
            elements[-1].bytes += _BYTES[words[2]] + CORNERS * _BYTES[words[3]]
            elements[-1].properties.append(words[4])
        elif words[:1] == ["property"]:
            elements[-1].bytes += _BYTES[words[1]]
            elements[-1].properties.append(words[2])
    return binary, elements
