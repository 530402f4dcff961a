"""Compress arrays as the glTF extension EXT_meshopt_compression stores them.

Source: Khronos, "EXT_meshopt_compression", appendices A (bitstream) and B (filters): mode 0 (attributes) and mode 2
(index sequence), version 0. Decoders are in every viewer of glTF; encoders for Python are young, so this is one, of the
two modes that heads need. Attributes compress best where neighbouring rows are alike, see :func:`spatial_order`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8

ATTRIBUTES, INDICES = "ATTRIBUTES", "INDICES"
"""Modes of compressed buffer views."""
OCTAHEDRAL = "OCTAHEDRAL"
"""Filter of compressed normals."""
_ATTRIBUTE_HEADER, _INDEX_HEADER = 0xA0, 0xD1
_BLOCK_BYTES, _BLOCK_ROWS, _GROUP = 8192, 256, 16
_TAIL = 32
_DENSE = ((2, 3), (4, 15))
"""Bits of a delta in a packed group, and the value that stands for a delta which follows in a byte of its own."""


def encode_attributes(rows: UInt8[np.ndarray, "N S"]) -> bytes:
    """Return rows of bytes, compressed.

    Each byte of a row is coded as its difference to that byte of the row before, in blocks of rows that hold one plane
    of bytes after the other.

    Args:
        rows: at least one; S is a multiple of four, at most 256.

    Raises:
        ValueError: the rows have another size.

    Example:
        >>> len(encode_attributes(np.zeros((1000, 8), np.uint8)))
        161
    """
    count, size = rows.shape
    if not count or size % 4 or not 4 <= size <= _BLOCK_ROWS:
        raise ValueError(f"rows: got shape {rows.shape}; expected at least one row of 4 to 256 bytes, in fours")
    codes = _zigzag(np.diff(rows, axis=0, prepend=rows[:1]))
    step = min(_BLOCK_BYTES // size, _BLOCK_ROWS) // _GROUP * _GROUP
    parts = [bytes([_ATTRIBUTE_HEADER])]
    parts += [_planes(codes[start : start + step]) for start in range(0, count, step)]
    return b"".join([*parts, bytes(max(_TAIL - size, 0)), rows[0].tobytes()])


def encode_indices(indices: Int[np.ndarray, " N"]) -> bytes:
    """Return indices of vertices, compressed: each as its difference to the nearer of two earlier ones.

    Example:
        >>> list(encode_indices(np.array([0, 1, 2])))
        [209, 0, 4, 4, 0, 0, 0, 0]
    """
    out, last, current = bytearray([_INDEX_HEADER]), [0, 0], 0
    for index in indices.tolist():
        deltas = [index - one for one in last]
        if abs(deltas[current]) >= 30 and abs(deltas[1 - current]) < abs(deltas[current]):
            current = 1 - current
        value = (abs(2 * deltas[current]) - (deltas[current] < 0)) << 1 | current
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
        last[current] = index
    return bytes(out) + bytes(4)


def encode_normals(normals: Float[np.ndarray, "N 3"], bits: int = 8) -> UInt8[np.ndarray, "N 4"]:
    """Return unit vectors as the octahedral filter stores them: three signed bytes, and a byte that is not used.

    A decoder makes signed bytes (x, y, z, 0) of them.

    Example:
        >>> encode_normals(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])).tolist()
        [[0, 0, 127, 0], [127, 127, 127, 0]]
    """
    flat = normals / np.abs(normals).sum(axis=1, keepdims=True).clip(1e-12)
    folded = (1 - np.abs(flat[:, 1::-1])) * np.where(flat[:, :2] >= 0, 1, -1)
    both = np.where(flat[:, 2:] >= 0, flat[:, :2], folded)
    one = 2 ** (bits - 1) - 1
    filtered = np.zeros((len(normals), 4), np.int8)
    filtered[:, :2], filtered[:, 2] = np.round(both * one), one
    return filtered.view(np.uint8)


def spatial_order(points: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, " N"]:
    """Return the order of points along a space-filling (Morton) curve, along which neighbours are alike.

    Example:
        >>> spatial_order(np.array([[0.0, 0, 0], [1, 1, 1], [0.1, 0, 0]])).tolist()
        [0, 2, 1]
    """
    low, span = points.min(axis=0), np.ptp(points, axis=0).max()
    cells = ((points - low) / (span or 1) * 1023).astype(np.int64)
    code = np.zeros(len(points), np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    return np.argsort(code, kind="stable")


def _zigzag(deltas: UInt8[np.ndarray, "N S"]) -> UInt8[np.ndarray, "N S"]:
    """Return signed differences of bytes as numbers that are small where the differences are."""
    signed = deltas.view(np.int8)
    return (signed.astype(np.int16) << 1 ^ signed.astype(np.int16) >> 7).astype(np.uint8)


def _planes(codes: UInt8[np.ndarray, "R S"]) -> bytes:
    """Return a block: for each byte of its rows the kinds of groups of 16, then the groups in their shortest kind."""
    size, groups = codes.shape[1], np.zeros((codes.shape[1], -(-len(codes) // _GROUP) * _GROUP), np.uint8)
    groups[:, : len(codes)] = codes.T
    groups = groups.reshape(size, -1, _GROUP)
    large = [groups >= most for _, most in _DENSE]
    lengths = [np.where(groups.any(axis=2), 255, 0)]
    lengths += [_GROUP * bits // 8 + over.sum(axis=2) for (bits, _), over in zip(_DENSE, large, strict=True)]
    kinds = np.argmin([*lengths, np.full(groups.shape[:2], _GROUP)], axis=0)
    cells = np.concatenate([np.zeros((*groups.shape[:2], 8), np.uint8), groups], axis=2)
    kept = np.zeros(cells.shape, bool)
    kept[kinds == 3, 8:] = True
    for kind, ((bits, most), over) in enumerate(zip(_DENSE, large, strict=True), start=1):
        here, width = kinds == kind, _GROUP * bits // 8
        cells[here, :width] = _packed(np.minimum(groups[here], most), bits)
        kept[here, :width], kept[here, 8:] = True, over[here]
    header = np.zeros((size, -(-kinds.shape[1] // 4) * 4), np.uint8)
    header[:, : kinds.shape[1]] = kinds
    starts = _packed(header, 2, lowest_first=True)
    return b"".join(
        start.tobytes() + plane[keep].tobytes() for start, plane, keep in zip(starts, cells, kept, strict=True)
    )


def _packed(values: UInt8[np.ndarray, "... V"], bits: int, lowest_first: bool = False) -> UInt8[np.ndarray, "... B"]:
    """Return small numbers packed into bytes, the first in the highest bits or in the lowest."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = values.reshape(*values.shape[:-1], values.shape[-1] // len(shifts), len(shifts))
    return (parts << (shifts if lowest_first else shifts[::-1])).sum(axis=-1, dtype=np.uint8)
