"""Write binary glTF 2.0, as much of it as an avatar needs.

Source: Khronos, https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from jaxtyping import Float

ARRAY, ELEMENTS = 34962, 34963
"""Targets of a buffer view: vertex attributes, or indices of triangles."""
_TYPES = {np.dtype("f4"): 5126, np.dtype("u1"): 5121, np.dtype("u2"): 5123, np.dtype("u4"): 5125}
_SHAPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


class Buffer:
    """Collects arrays in one buffer, with the accessors that describe them.

    Example:
        >>> buffer = Buffer()
        >>> buffer.add(np.zeros((5, 3), "f4"), ARRAY), buffer.add(np.arange(6, dtype="u4"), ELEMENTS)
        (0, 1)
        >>> buffer.pack({"asset": {"version": "2.0"}})[:4]
        b'glTF'
    """

    def __init__(self) -> None:
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self._bytes = bytearray()

    def view(self, data: bytes, target: int | None = None) -> int:
        """Add bytes at a multiple of four; return the index of their buffer view."""
        self._bytes += b"\0" * (-len(self._bytes) % 4)
        place = {"buffer": 0, "byteOffset": len(self._bytes), "byteLength": len(data)}
        self.views.append(place | ({"target": target} if target else {}))
        self._bytes += data
        return len(self.views) - 1

    def add(self, array: np.ndarray, target: int | None = None, normalized: bool = False) -> int:
        """Add an array and return the index of its accessor.

        Args:
            array: of shape (N,), (N, 2), (N, 3), (N, 4) or (N, 4, 4); 32-bit floats or unsigned integers.
            target: `ARRAY`, `ELEMENTS` or None.
            normalized: integers stand for numbers in [0, 1].
        """
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        facts = {"normalized": True} if normalized else {}
        return self._describe(array, bufferView=self.view(array.tobytes(), target), **facts)

    def add_sparse(self, array: Float[np.ndarray, "N 3"], rows: np.ndarray) -> int:
        """Add an array that is zero outside some rows, and return the index of its accessor.

        Args:
            array: the whole array.
            rows: increasing indices of the rows to store; with none, the file stores nothing but the array's size.
        """
        if not len(rows):
            return self._describe(array.astype("f4"))
        values, kind = np.ascontiguousarray(array[rows], "<f4"), index_type(len(array))
        parts: dict[str, Any] = {"count": len(rows)}
        parts["indices"] = {"bufferView": self.view(rows.astype(kind).tobytes()), "componentType": _TYPES[kind]}
        parts["values"] = {"bufferView": self.view(values.tobytes())}
        return self._describe(array.astype("f4"), sparse=parts)

    def _describe(self, array: np.ndarray, **place: Any) -> int:
        """Add an accessor with the array's type, size and bounds; return its index."""
        facts = {"componentType": _TYPES[array.dtype.newbyteorder("=")], "count": len(array), **place}
        if array.shape[1:] == (4, 4):
            facts["type"] = "MAT4"
        else:
            flat = array.reshape(len(array), -1)
            facts |= {"type": _SHAPES[array.shape[1:]], "min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self.accessors.append(facts)
        return len(self.accessors) - 1

    def pack(self, scene: dict[str, Any]) -> bytes:
        """Return the file's bytes.

        Args:
            scene: the file's JSON without accessors, buffer views and buffers.
        """
        scene |= {"accessors": self.accessors, "bufferViews": self.views, "buffers": [{"byteLength": len(self._bytes)}]}
        return to_file(scene, bytes(self._bytes))


def index_type(count: int) -> np.dtype:
    """Return the smallest type that numbers `count` vertices; glTF keeps the largest number for itself.

    Example:
        >>> index_type(65535), index_type(65536)
        (dtype('uint16'), dtype('uint32'))
    """
    return np.dtype("<u2" if count <= 65535 else "<u4")


def to_file(scene: dict[str, Any], data: bytes) -> bytes:
    """Return a GLB of its JSON and of the bytes of its buffer.

    Example:
        >>> parse(to_file({"asset": {}}, b"1234"))
        ({'asset': {}}, b'1234')
    """
    text = json.dumps(scene, ensure_ascii=False, separators=(",", ":")).encode()
    chunks = _chunk(b"JSON", text, b" ") + _chunk(b"BIN\0", data, b"\0")
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def parse(file: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON and the bytes of the buffer of a GLB that `to_file` wrote."""
    size = struct.unpack_from("<I", file, 12)[0]
    return json.loads(file[20 : 20 + size]), file[28 + size :]


def _chunk(kind: bytes, data: bytes, pad: bytes) -> bytes:
    """Return a chunk with its header, padded to a multiple of four bytes."""
    data += pad * (-len(data) % 4)
    return struct.pack("<I4s", len(data), kind) + data
