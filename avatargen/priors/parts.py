"""Run networks on long batches in parts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PREDICTED, DECODED = 24, 4
"""Largest number of samples in one pass of a UNet, and of a decoder.

On a CPU a sample takes longer in a larger batch. For the mini prior (float32, one thread), decoding takes 23 ms a
sample in batches of 48 and 15 ms in batches of 4; the UNet takes 16 ms in batches of 96 and 13 ms in batches of 24. On
a GPU, the hundreds of samples of a mask estimate would decide how much memory a run needs.
"""


def in_parts(network: Callable[..., Tensor], size: int, *batches: Tensor) -> Tensor:
    """Return a network's output on batches of one length, computed at most `size` rows at a time.

    Args:
        network: takes as many tensors as there are batches; its rows do not depend on each other.
        size: largest number of rows in a call.
        batches: inputs of the network, (N, ...) each.

    Example:
        >>> in_parts(lambda a, b: a + b, 2, torch.arange(5), torch.ones(5)).tolist()
        [1.0, 2.0, 3.0, 4.0, 5.0]
    """
    parts = zip(*(batch.split(size) for batch in batches), strict=True)
    return torch.cat([network(*part) for part in parts])
