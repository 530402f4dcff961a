"""Binary glTF 2.0 (Khronos, https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html), as much as an avatar needs."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from jaxtyping import Float

ARRAY, ELEMENTS = 34962, 34963
"""What a buffer view is for: attributes of vertices, or indices of triangles."""
_TYPES = {np.dtype("f4"): 5126, np.dtype("u1"): 5121, np.dtype("u2"): 5123, np.dtype("u4"): 5125}
_SHAPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


class Buffer:
    """Collects arrays in one buffer, and the accessors that describe them."""

    def __init__(self) -> None:
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self._bytes = bytearray()

    def view(self, data: bytes, target: int | None = None) -> int:
        """Add bytes; returns the index of their view."""
        self._bytes += b"\0" * (-len(self._bytes) % 4)
        place = {"buffer": 0, "byteOffset": len(self._bytes), "byteLength": len(data)}
        self.views.append(place | ({"target": target} if target else {}))
        self._bytes += data
        return len(self.views) - 1

    def add(self, array: np.ndarray, target: int | None = None) -> int:
        """Add an array of elements (N, ...), of 32-bit floats or unsigned integers; returns its accessor's index."""
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return self._describe(array, bufferView=self.view(array.tobytes(), target))

    def add_sparse(self, array: Float[np.ndarray, "N 3"], rows: np.ndarray) -> int:
        """Add an array that is zero outside some rows (at least one), by those alone."""
        values = np.ascontiguousarray(array[rows], "<f4")
        parts = {"count": len(rows)}
        parts["indices"] = {"bufferView": self.view(rows.astype("<u4").tobytes()), "componentType": 5125}
        parts["values"] = {"bufferView": self.view(values.tobytes())}
        return self._describe(array.astype("f4"), sparse=parts)

    def _describe(self, array: np.ndarray, **place: Any) -> int:
        facts = {"componentType": _TYPES[array.dtype.newbyteorder("=")], "count": len(array), **place}
        if array.shape[1:] == (4, 4):
            facts["type"] = "MAT4"
        else:
            flat = array.reshape(len(array), -1)
            facts |= {"type": _SHAPES[array.shape[1:]], "min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self.accessors.append(facts)
        return len(self.accessors) - 1

    def pack(self, scene: dict[str, Any]) -> bytes:
        """The file: the rest of its JSON, then the buffer."""
        scene |= {"accessors": self.accessors, "bufferViews": self.views, "buffers": [{"byteLength": len(self._bytes)}]}
        text = json.dumps(scene, ensure_ascii=False, separators=(",", ":")).encode()
        chunks = _chunk(b"JSON", text, b" ") + _chunk(b"BIN\0", bytes(self._bytes), b"\0")
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _chunk(kind: bytes, data: bytes, pad: bytes) -> bytes:
    data += pad * (-len(data) % 4)
    return struct.pack("<I4s", len(data), kind) + data
