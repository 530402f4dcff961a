"""Decode the accessors of a GLB: strides, sparse values, normalised integers and compressed views.

Source: the glTF 2.0 specification, sections 3.6.1 (buffers and views) and 3.6.2 (accessors).
"""

from __future__ import annotations

import base64
import struct
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float, Shaped

from avatargen.exchange.gltf_document import HEAD
from avatargen.exchange.gltf_schema import WIDTHS, Gltf
from avatargen.exchange.meshopt_decoder import decode_view

_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}


class Accessors:
    """Reads the arrays and images of a GLB.

    Args:
        path: of the file.
        document: its JSON, whose indices are checked.
    """

    def __init__(self, path: Path, document: Gltf):
        self.path = path
        self.document = document
        self._views: dict[int, bytes] = {}

    def stored(self, index: int) -> Shaped[np.ndarray, "N K"]:
        """Return the numbers of an accessor as they are stored, a row for each element.

        Raises:
            ValueError: a buffer is shorter than it should be, or a sparse index lies beyond the array.
        """
        accessor = self.document.accessors[index]
        width, kind = WIDTHS[accessor.type], np.dtype(_TYPES[accessor.componentType])
        shape = (accessor.count, width)
        if accessor.bufferView is None:
            rows = np.zeros(shape, kind)
        else:
            stride = self.document.bufferViews[accessor.bufferView].byteStride or accessor.element
            view, steps = self.view(accessor.bufferView), (stride, kind.itemsize)
            rows = np.ndarray(shape, kind, view, accessor.byteOffset, steps).copy()
        if accessor.sparse is not None:
            sparse = accessor.sparse
            places = np.frombuffer(
                self.view(sparse.indices.bufferView),
                _TYPES[sparse.indices.componentType],
                sparse.count,
                sparse.indices.byteOffset,
            )
            values = self.view(sparse.values.bufferView)
            if places.max(initial=0) >= len(rows):
                raise ValueError(f"accessors.{index}.sparse: got index {places.max()}; expected below {len(rows)}")
            rows[places] = np.frombuffer(values, kind, sparse.count * width, sparse.values.byteOffset).reshape(
                -1, width
            )
        return rows

    def floats(self, index: int) -> Float[np.ndarray, "N K"]:
        """Return the numbers of an accessor; normalised integers lie in [0, 1] or [-1, 1]."""
        rows = self.stored(index)
        if not self.document.accessors[index].normalized or rows.dtype.kind == "f":
            return rows.astype(np.float64)
        return (rows / np.iinfo(rows.dtype).max).clip(-1, 1)

    def view(self, index: int) -> bytes:
        """Return the bytes of a buffer view, decompressed."""
        if index not in self._views:
            view = self.document.bufferViews[index]
            packed = view.extensions.EXT_meshopt_compression
            if packed is None:
                self._views[index] = self._slice(view.buffer, view.byteOffset, view.byteLength)
            else:
                data = self._slice(packed.buffer, packed.byteOffset, packed.byteLength)
                self._views[index] = decode_view(data, packed.count, packed.byteStride, packed.mode, packed.filter)
        return self._views[index]

    def image(self, index: int) -> bytes:
        """Return the bytes of an image's file."""
        image = self.document.images[index]
        if image.bufferView is not None:
            return self.view(image.bufferView)
        if image.uri is None:
            raise ValueError(f"images.{index}: got neither uri nor bufferView; expected one of them")
        return self._external(image.uri)

    def _slice(self, buffer: int, start: int, length: int) -> bytes:
        uri = self.document.buffers[buffer].uri
        data = self._binary if uri is None else self._external(uri)
        if uri is None and buffer:
            raise ValueError(f"buffers.{buffer}: got no uri; only the first buffer lies in the GLB itself")
        if start + length > len(data):
            raise ValueError(f"buffers.{buffer}: got {len(data):,} bytes; expected at least {start + length:,}")
        return data[start : start + length]

    def _external(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        return (self.path.parent / unquote(uri)).read_bytes()

    @cached_property
    def _binary(self) -> bytes:
        """Return the bytes of the chunk behind the JSON."""
        data = self.path.read_bytes()
        place = HEAD + struct.unpack_from("<I", data, 12)[0]
        if data[place + 4 : place + 8] != b"BIN\0":
            return b""
        return data[place + 8 : place + 8 + struct.unpack_from("<I", data, place)[0]]
