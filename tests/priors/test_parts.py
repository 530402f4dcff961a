"""Networks run on long batches in parts."""

import pytest
import torch

from avatargen.priors import parts
from avatargen.priors.parts import PartSize, in_parts
from tests.pretend_gpu import pretended_gpu


class Network:
    """Adds one; runs out of memory above a number of rows, as a network does whose tensors do not fit."""

    def __init__(self, fits: int):
        self.fits, self.sizes = fits, []

    def __call__(self, rows, *others):
        self.sizes.append(len(rows))
        if len(rows) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return rows + 1


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(parts, "_fitting", {})


def test_no_part_is_larger_than_the_limit():
    sizes = []

    def network(first, second):
        sizes.append(len(first))
        return first - second

    made = in_parts(network, 2, torch.arange(5) * 10, torch.arange(5))
    assert made.tolist() == [0, 9, 18, 27, 36]
    assert max(sizes) <= 2


def test_parts_that_do_not_fit_are_halved_and_stay_so():
    network, rows = Network(fits=3), torch.arange(13.0)[:, None]
    assert torch.equal(in_parts(network, 13, rows), rows + 1)
    assert network.sizes == [13, 6, 3, 3, 3, 3, 1]
    assert torch.equal(in_parts(network, 13, rows[:4]), rows[:4] + 1)
    assert network.sizes[7:] == [3, 1]


def test_one_row_that_does_not_fit_is_an_error():
    network = Network(fits=0)
    with pytest.raises(torch.OutOfMemoryError):
        in_parts(network, 8, torch.zeros(4, 1))
    assert network.sizes == [4, 2, 1]


def test_other_errors_are_not_tried_again():
    calls = []

    def network(rows):
        calls.append(len(rows))
        raise ValueError

    with pytest.raises(ValueError):
        in_parts(network, 8, torch.zeros(4, 1))
    assert calls == [4]


def test_parts_on_a_gpu_hold_so_many_latent_pixels(monkeypatch):
    size, latents = PartSize(rows=2, pixels=6 * 8 * 8), torch.zeros(10, 4, 8, 8)
    here, there = Network(fits=99), Network(fits=99)
    in_parts(here, size, latents)
    with pretended_gpu(monkeypatch):
        in_parts(there, size, latents.to("cuda"))
        in_parts(there, size, torch.zeros(3, 4, 32, 32).to("cuda"))
    assert here.sizes == [2] * 5 and there.sizes == [6, 4, 1, 1, 1]
