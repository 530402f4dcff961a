"""Move tensors from the host to a GPU without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return tensors of the host on a device.

    On a GPU they go in one copy from pinned memory, and the host does not wait: each copy of ordinary memory would wait
    for all work that is queued. On the CPU they are returned as they are.

    Args:
        tensors: on the CPU.
        device: to copy to.

    Example:
        >>> host = [torch.tensor([1, 2]), torch.tensor([0.5])]
        >>> [tensor.tolist() for tensor in to_device(host, torch.device("cpu"))]
        [[1, 2], [0.5]]
    """
    if device.type == "cpu":
        return list(tensors)
    return unpack(pack(tensors).pin_memory().to(device, non_blocking=True), tensors)


def pack(tensors: Sequence[Tensor]) -> Tensor:
    """Return the memory of tensors, each contiguous, one after the other as bytes; the largest dtypes come first."""
    return torch.cat([tensor.contiguous().view(-1).view(torch.uint8) for tensor in _by_size(tensors)])


def unpack(packed: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors that `pack` packed.

    Args:
        packed: bytes.
        like: tensors of the same shapes and dtypes, in the same order.

    Example:
        >>> host = [torch.tensor([[0.5], [1.5]]), torch.tensor([7])]
        >>> [tensor.tolist() for tensor in unpack(pack(host), host)]
        [[[0.5], [1.5]], [7]]
    """
    ordered = _by_size(like)
    parts = packed.split([tensor.numel() * tensor.element_size() for tensor in ordered])
    made = {id(tensor): part.view(tensor.dtype).view(tensor.shape) for tensor, part in zip(ordered, parts, strict=True)}
    return [made[id(tensor)] for tensor in like]


def _by_size(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors ordered so that each starts at a multiple of its element's size."""
    return sorted(tensors, key=lambda tensor: -tensor.element_size())
