"""A decoder of EXT_meshopt_compression, byte by byte as the specification's appendix A and B describe it."""

import numpy as np


def decode_attributes(data: bytes, count: int, size: int) -> np.ndarray:
    """Return rows of bytes."""
    assert data[0] == 0xA0
    tail = max(size, 32)
    place, last = 1, list(data[len(data) - size :])
    step = min(8192 // size, 256) & ~15
    rows = np.zeros((count, size), np.uint8)
    for start in range(0, count, step):
        here = min(step, count - start)
        for byte in range(size):
            groups = (here + 15) // 16
            header = data[place : place + (groups + 3) // 4]
            place += len(header)
            deltas = []
            for group in range(groups):
                kind = header[group // 4] >> (group % 4 * 2) & 3
                values, place = _group(data, place, kind)
                deltas += values
            for row in range(here):
                delta = deltas[row]
                last[byte] = (last[byte] + (delta >> 1 ^ -(delta & 1))) % 256
                rows[start + row, byte] = last[byte]
    assert len(data) - place == tail
    return rows


def _group(data: bytes, place: int, kind: int) -> tuple[list[int], int]:
    if kind == 0:
        return [0] * 16, place
    if kind == 3:
        return list(data[place : place + 16]), place + 16
    bits = 2 if kind == 1 else 4
    packed, most = data[place : place + 2 * bits], 2**bits - 1
    place += 2 * bits
    values = []
    for index in range(16):
        per = 8 // bits
        value = packed[index // per] >> (8 - bits - index % per * bits) & most
        if value == most:
            value, place = data[place], place + 1
        values.append(value)
    return values, place


def decode_indices(data: bytes, count: int) -> np.ndarray:
    """Return indices."""
    assert data[0] == 0xD1 and data[-4:] == bytes(4)
    place, last, found = 1, [0, 0], []
    for _ in range(count):
        value = shift = 0
        while True:
            value |= (data[place] & 127) << shift
            shift += 7
            place += 1
            if data[place - 1] < 128:
                break
        current, delta = value & 1, value >> 1
        last[current] += delta >> 1 ^ -(delta & 1)
        found.append(last[current])
    assert place == len(data) - 4
    return np.array(found)


def decode_normals(rows: np.ndarray) -> np.ndarray:
    """Return unit vectors of rows that the octahedral filter was applied to."""
    stored = rows.view(np.int8).astype(float)
    x, y = (stored[:, :2] / stored[:, 2:3]).T
    z = 1 - np.abs(x) - np.abs(y)
    below = np.minimum(z, 0)
    x, y = x + np.where(x >= 0, below, -below), y + np.where(y >= 0, below, -below)
    vectors = np.stack((x, y, z), axis=1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
