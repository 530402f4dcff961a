"""Tensors reach a device in one copy, unchanged."""

import torch

from avatargen.geometry.transfer import pack, to_device, unpack
from tests.host_syncs import host_syncs
from tests.pretend_gpu import is_marked, pretended_gpu

MIXED = [
    torch.rand(3, 1),
    torch.tensor([[1, -(2**60)]]),
    torch.tensor([True, False, True]),
    torch.rand(2, 3).t(),
    torch.zeros(0, 2),
]


def test_packed_tensors_come_back_unchanged():
    made = unpack(pack(MIXED), MIXED)
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(made, MIXED, strict=True))
    assert all(tensor.is_contiguous() for tensor in made)


def test_the_host_does_not_wait_for_them(monkeypatch):
    with pretended_gpu(monkeypatch), host_syncs() as found:
        made = to_device(MIXED, torch.device("cuda", 0))
    assert found.syncs == [] and all(map(is_marked, made))
    assert all(torch.equal(a, b) for a, b in zip(made, MIXED, strict=True))
