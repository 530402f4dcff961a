"""Compressed arrays: a decoder written from the specification gives back what was encoded."""

import numpy as np
import pytest

from avatargen.exchange.meshopt_codec import encode_attributes, encode_indices, encode_normals, spatial_order
from tests.exchange.meshopt_decoder import decode_attributes, decode_indices, decode_normals

KINDS = {
    "noise": lambda draw, shape: draw.integers(0, 256, shape),
    "steps": lambda draw, shape: np.cumsum(draw.integers(-2, 3, shape), axis=0),
    "rare": lambda draw, shape: np.cumsum(draw.integers(-99, 99, shape) * (draw.random(shape) < 0.05), axis=0),
    "flat": lambda draw, shape: np.full(shape, 7),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 4), (15, 8), (17, 4), (300, 12), (257, 32), (70, 256)])
def test_attributes_are_decoded_as_they_were(kind, shape):
    rows = (KINDS[kind](np.random.default_rng(0), shape) % 256).astype(np.uint8)
    assert np.array_equal(decode_attributes(encode_attributes(rows), *shape), rows)


def test_alike_rows_take_a_fraction_of_their_bytes():
    rows = np.zeros((4096, 8), np.uint8)
    rows[:, 0] = np.arange(4096) // 16
    assert len(encode_attributes(rows)) < rows.size / 20


@pytest.mark.parametrize("shape", [(0, 4), (3, 6), (3, 260)])
def test_rows_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match="expected at least one row of 4 to 256 bytes"):
        encode_attributes(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("most", [3, 300, 70_000])
def test_indices_are_decoded_as_they_were(most):
    indices = np.random.default_rng(1).integers(0, most, 999)
    assert np.array_equal(decode_indices(encode_indices(indices), 999), indices)


def test_near_indices_take_a_byte_each():
    indices = (np.arange(300)[:, None] + [0, 1, 2]).ravel()
    assert len(encode_indices(indices)) == 900 + 5


def test_normals_are_kept_to_a_degree():
    normals = np.random.default_rng(2).normal(size=(5000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    decoded = decode_normals(encode_normals(normals))
    assert np.degrees(np.arccos((decoded * normals).sum(axis=1).clip(-1, 1))).max() < 1.2


def test_points_in_order_are_near_the_next():
    points = np.random.default_rng(3).random((4000, 3))
    order = spatial_order(points)
    steps = [np.linalg.norm(np.diff(each, axis=0), axis=1).mean() for each in (points, points[order])]
    assert sorted(order.tolist()) == list(range(4000)) and steps[1] < steps[0] / 5
