"""Calls that make the host wait for a GPU are found; others are not. All of it runs on a pretended GPU."""

import numpy as np
import pytest
import torch
import warp as wp

from tests.host_syncs import HostSyncError, host_syncs
from tests.pretend_gpu import MARK, pretended_gpu


@pytest.fixture
def gpu(monkeypatch):
    with pretended_gpu(monkeypatch):
        yield torch.device("cuda", 0)


def whole(x):
    return (x * 10).long()


WAITING = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "if": lambda x: 1 if x.any() else 0,
    "in": lambda x: 1.0 in x,
    "number as argument": lambda x: torch.full((2,), x[0], device=x.device),
    "slice": lambda x: x[: whole(x)[1]],
    "list": lambda x: x.tolist(),
    "list of tensors": lambda x: torch.tensor([x[0], x[1]], device=x.device),
    "printed": lambda x: f"{x}",
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 1),
    "masked_select": lambda x: x.masked_select(x > 1),
    "mask": lambda x: x[x > 1],
    "assigned by mask": lambda x: x.index_put_((x > 1,), x[:1]),
    "unique": lambda x: x.unique(),
    "unique rows": lambda x: x[:, None].unique(dim=0),
    "unique neighbours": lambda x: x.unique_consecutive(),
    "repeat_interleave": lambda x: x.repeat_interleave(whole(x)),
    "bincount": lambda x: torch.bincount(whole(x)),
    "classes": lambda x: torch.nn.functional.one_hot(whole(x)),
    "equal": lambda x: torch.equal(x, x + 1),
    "allclose": lambda x: torch.allclose(x, x),
    "inverse": lambda x: torch.linalg.inv(x.diag() + torch.eye(3, device=x.device)),
    "to host": lambda x: x.cpu(),
    "to host by name": lambda x: x.to("cpu", torch.float64),
    "copied to host": lambda x: torch.zeros(3).copy_(x),
    "to device": lambda x: torch.ones(3).to(x.device),
    "array to device": lambda x: torch.from_numpy(np.ones(3)).to(device=x.device, dtype=torch.float32),
    "copied to device": lambda x: x.copy_(torch.ones(3)),
    "made on device": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "made beside": lambda x: x.new_tensor((1.0, 2.0)),
    "array": lambda x: torch.as_tensor(np.ones(2), device=x.device),
    "number assigned to a place": lambda x: x.__setitem__(0, 1.0),
    "number assigned by index": lambda x: x.__setitem__(whole(x) % 3, 1.0),
    "index on the host": lambda x: x[[0, 1]],
    "synchronize": lambda x: torch.cuda.synchronize(),
    "Warp array": lambda x: wp.from_torch(x).numpy(),
    "Warp waits": lambda x: wp.synchronize_device("cpu"),
}

GOING_ON = {
    "arithmetic": lambda x: (x * 2.0 + torch.tensor(1.0)).clamp(0, 1).sum(),
    "made on device": lambda x: torch.zeros(3, device=x.device) + torch.full((3,), 0.5, device=x.device),
    "shapes": lambda x: x.view(-1, len(x)).expand(2, -1).numel(),
    "iteration": lambda x: [row + 1 for row in x],
    "mask filled with a number": lambda x: x.__setitem__(x > 1, 0.0),
    "masked_fill and where": lambda x: torch.where(x > 1, x, 0.0).masked_fill(x > 1, 2.0),
    "number filled by index": lambda x: x.index_fill_(0, whole(x) % 3, 1.0),
    "slice filled": lambda x: x[1:].fill_(2.0),
    "index on the device": lambda x: x[whole(x) % 3].index_add(0, whole(x) % 3, x),
    "repeat_interleave of known size": lambda x: x.repeat_interleave(whole(x), output_size=33),
    "known classes": lambda x: torch.nn.functional.one_hot(whole(x) % 3, 3),
    "quantile": lambda x: x.quantile(0.5),
    "copied between": lambda x: torch.zeros(3, device=x.device).copy_(x),
    "copy of a device tensor": lambda x: x.detach().clone(),
    "to the same device": lambda x: x.to(x.device),
    "not awaited to device": lambda x: torch.ones(3).to(x.device, non_blocking=True),
    "not awaited copy": lambda x: x.copy_(torch.ones(3), non_blocking=True),
    "on the host alone": lambda x: torch.ones(3).nonzero().tolist(),
    "list on the host": lambda x: torch.tensor([1.0, 2.0])[torch.tensor([True, False])].item(),
}


@pytest.mark.parametrize("name", WAITING)
def test_calls_that_wait_are_found(gpu, name):
    x = torch.tensor([0.3, 1.0, 2.0], device=gpu)
    with host_syncs() as found:
        WAITING[name](x)
    assert found.syncs
    assert all("tests/test_host_syncs.py" in line for line in found.syncs)


@pytest.mark.parametrize("name", GOING_ON)
def test_calls_that_go_on_are_not_found(gpu, name):
    x = torch.tensor([0.3, 1.0, 2.0], device=gpu)
    with host_syncs() as found:
        GOING_ON[name](x)
    assert found.syncs == []


def test_each_call_counts_once(gpu):
    x = torch.tensor([0.3, 1.0], device=gpu)
    with host_syncs() as found:
        x.cpu().tolist()
        x.sum().tolist()
        x.new_tensor([1.0, 2.0])
    assert [line.split(":")[0] for line in found.syncs] == [
        "cpu from device to host",
        "tolist",
        "new_tensor from host to device",
    ]


class _Waits(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx, incoming):
        assert incoming.max().item() == 1.0
        return incoming * ctx.saved_tensors[0][ctx.saved_tensors[0] > 0]


def test_backward_passes_are_searched(gpu):
    """Both gradients, which only torch's engine sees, and saved tensors are on the device."""
    x = torch.ones(3, device=gpu).requires_grad_()
    with host_syncs() as found:
        _Waits.apply(x).sum().backward()
    assert [line.split(":")[0] for line in found.syncs] == ["_local_scalar_dense", "index with a boolean mask"]
    with host_syncs() as found:
        (x[torch.tensor([0, 1]).to(gpu, non_blocking=True)] * x.sum()).sum().backward()
    assert found.syncs == []


def test_refused_at_once_if_asked(gpu):
    x = torch.ones(3, device=gpu)
    with pytest.raises(HostSyncError, match=r"nonzero: tests/test_host_syncs.py:\d+ in test_refused"):
        with host_syncs(refuse=True):
            x.nonzero()


def test_operations_and_kernels_are_counted(gpu):
    x = torch.ones(4, device=gpu)
    with host_syncs() as found:
        (x.view(2, 2)[0] * 2).add_(1)
        torch.ones(3) * 2
        wp.launch(_nothing, dim=1, inputs=[wp.from_torch(x)])
    assert found.operations == {"mul": 1, "add_": 1} and found.kernels == {"_nothing": 1}


@wp.kernel
def _nothing(values: wp.array(dtype=float)):
    pass


def test_without_a_pretended_gpu_nothing_waits():
    x = torch.ones(3)
    with host_syncs() as found:
        x.nonzero().tolist()
        x[x > 0].sum().item()
    assert found.syncs == [] and not found.operations and not hasattr(wp.from_torch(x), MARK)
