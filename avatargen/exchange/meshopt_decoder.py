"""Decode buffer views that EXT_meshopt_compression compresses.

Source: Khronos, "EXT_meshopt_compression", appendices A (bitstream) and B (filters). Filters of normals and rotations
are left out, since we read neither.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

_HEADERS = {"ATTRIBUTES": 0xA0, "TRIANGLES": 0xE1, "INDICES": 0xD1}
_BLOCK_BYTES, _BLOCK_ROWS, _GROUP, _TAIL = 8192, 256, 16, 32
_FIFO = 16


def decode_view(data: bytes, count: int, stride: int, mode: str, filter: str = "NONE") -> bytes:
    """Return the bytes of a view.

    Args:
        data: compressed.
        count: elements.
        stride: bytes of an element.
        mode: ``ATTRIBUTES``, ``TRIANGLES`` or ``INDICES``.
        filter: ``NONE`` or ``EXPONENTIAL``; the others are for normals and rotations.

    Raises:
        ValueError: the data are not of this mode or filter, or end too early.

    Example:
        >>> decode_view(bytes([0xD1, 0, 4, 4, 0, 0, 0, 0]), 3, 2, "INDICES").hex()
        '000001000200'
    """
    if not data or data[0] != _HEADERS[mode]:
        raise ValueError(f"compressed view: got a header of {data[:1].hex()}; expected {_HEADERS[mode]:x} for {mode}")
    if filter not in ("NONE", "EXPONENTIAL"):
        raise ValueError(f"compressed view: got the filter {filter}; expected NONE or EXPONENTIAL")
    try:
        if mode == "ATTRIBUTES":
            rows = _attributes(data, count, stride)
            return (_exponential(rows) if filter == "EXPONENTIAL" else rows).tobytes()
        indices = _triangles(data, count) if mode == "TRIANGLES" else _indices(data, count)
    except IndexError as error:
        raise ValueError(f"compressed view: got {len(data):,} bytes, which end too early") from error
    return np.array(indices, f"<u{stride}").tobytes()


def _attributes(data: bytes, count: int, stride: int) -> UInt8[np.ndarray, "N S"]:
    """Return the rows of mode 0: sums of differences, byte by byte."""
    codes = np.zeros((count, stride), np.uint8)
    step = min(_BLOCK_BYTES // stride, _BLOCK_ROWS) // _GROUP * _GROUP
    place = 1
    for start in range(0, count, step):
        here = min(step, count - start)
        groups = -(-here // _GROUP)
        for byte in range(stride):
            kinds = data[place : place + -(-groups // 4)]
            place += len(kinds)
            found = []
            for group in range(groups):
                values, place = _group(data, place, kinds[group // 4] >> (group % 4 * 2) & 3)
                found += values
            codes[start : start + here, byte] = found[:here]
    if place + max(_TAIL, stride) > len(data):
        raise IndexError(place)
    deltas = (codes >> 1) ^ -(codes & 1)
    first = np.frombuffer(data[-stride:], np.uint8)
    return first + np.cumsum(deltas, axis=0, dtype=np.uint8)


def _group(data: bytes, place: int, kind: int) -> tuple[list[int], int]:
    """Return 16 codes and the place behind them."""
    if kind == 0:
        return [0] * _GROUP, place
    if kind == 3:
        return list(data[place : place + _GROUP]), place + _GROUP
    bits = 2 * kind
    most, packed = (1 << bits) - 1, data[place : place + 2 * bits]
    place += 2 * bits
    values = [byte >> shift & most for byte in packed for shift in range(8 - bits, -1, -bits)]
    for index, value in enumerate(values):
        if value == most:
            values[index], place = data[place], place + 1
    return values, place


class _Stream:
    """Reads the varint-7 numbers behind the codes of indices."""

    def __init__(self, data: bytes, place: int):
        self.data, self.place, self.last = data, place, 0

    def byte(self) -> int:
        """Return the next byte."""
        self.place += 1
        return self.data[self.place - 1]

    def number(self) -> int:
        """Return the next number."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def index(self) -> int:
        """Return the next index, which is stored as its difference to the one before."""
        self.last = self.last + _signed(self.number()) & 0xFFFFFFFF
        return self.last


def _signed(code: int) -> int:
    return code >> 1 ^ -(code & 1)


def _indices(data: bytes, count: int) -> list[int]:
    """Return the indices of mode 2."""
    stream, last, found = _Stream(data, 1), [0, 0], []
    for _ in range(count):
        value = stream.number()
        last[value & 1] += _signed(value >> 1)
        found.append(last[value & 1])
    return found


class _Fifo:
    """Holds the last 16 edges or vertices; 0 is the last one."""

    def __init__(self) -> None:
        self.items: list = [0] * _FIFO
        self.head = 0

    def push(self, item: object) -> None:
        """Add one."""
        self.items[self.head % _FIFO] = item
        self.head += 1

    def __getitem__(self, age: int):
        return self.items[(self.head - 1 - age) % _FIFO]


class _Triangles:
    """Decodes mode 1."""

    def __init__(self, data: bytes, count: int):
        self.codes = data[1 : 1 + count // 3]
        self.table = data[len(data) - _FIFO :]
        self.stream = _Stream(data, 1 + count // 3)
        self.next = 0
        self.edges, self.vertices = _Fifo(), _Fifo()

    def edge(self, code: int) -> tuple[int, int, int]:
        """Return a triangle beside a recent edge."""
        (a, b), kind = self.edges[code >> 4], code & 15
        if kind == 0:
            c = self._new()
        elif kind < 13:
            c = self.vertices[kind]
        else:
            if kind == 15:
                c = self.stream.index()
            else:
                c = self.stream.last = self.stream.last + (1 if kind == 14 else -1)
        if kind == 0 or kind >= 13:
            self.vertices.push(c)
        return self._with_edges((c, b), (a, c), (a, b, c))

    def free(self, code: int) -> tuple[int, int, int]:
        """Return a triangle that shares no recent edge."""
        explicit = code >= 0xFE
        pair = self.stream.byte() if explicit else self.table[code & 15]
        if explicit and pair == 0:
            self.next = 0
        a = self.stream.index() if code == 0xFF else self._new()
        kinds = (pair >> 4, pair & 15)
        b, c = (self._corner(kind, explicit) for kind in kinds)
        self.vertices.push(a)
        for kind, corner in zip(kinds, (b, c), strict=True):
            if kind == 0 or (explicit and kind == 15):
                self.vertices.push(corner)
        self.edges.push((b, a))
        return self._with_edges((c, b), (a, c), (a, b, c))

    def _corner(self, kind: int, explicit: bool) -> int:
        if kind == 0:
            return self._new()
        return self.stream.index() if explicit and kind == 15 else self.vertices[kind - 1]

    def _new(self) -> int:
        self.next += 1
        return self.next - 1

    def _with_edges(self, first: tuple[int, int], second: tuple[int, int], triangle: tuple[int, int, int]):
        self.edges.push(first)
        self.edges.push(second)
        return triangle


def _triangles(data: bytes, count: int) -> list[int]:
    """Return the indices of mode 1."""
    decoder, found = _Triangles(data, count), []
    for code in decoder.codes:
        found += decoder.edge(code) if code < 0xF0 else decoder.free(code)
    if len(found) != count:
        raise IndexError(count)
    return found


def _exponential(rows: UInt8[np.ndarray, "N S"]) -> Float32[np.ndarray, "N F"]:
    """Return floats: a 24-bit mantissa times a power of two."""
    stored = rows.view("<i4")
    return np.ldexp((stored << 8 >> 8).astype(np.float64), stored >> 24).astype("<f4")
