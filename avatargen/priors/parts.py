"""Run networks on long batches in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class PartSize(NamedTuple):
    """The largest part of a batch that a network takes at a time.

    Attributes:
        rows: on a CPU, samples.
        pixels: on a GPU, latent pixels of all samples together.
    """

    rows: int
    pixels: int


PREDICTED, DECODED = PartSize(24, 128 * 64**2), PartSize(4, 16 * 64**2)
"""Parts for UNets and for decoders.

On a CPU a sample takes longer in a larger batch. For the mini prior (float32, one thread), decoding takes 23 ms a
sample in batches of 48 and 15 ms in batches of 4; the UNet takes 16 ms in batches of 96 and 13 ms in batches of 24.

A GPU needs enough work in each kernel: 128 samples of 64 x 64 latents are 0.1 PFLOP of Stable Diffusion's UNet, a tenth
of a second or more on any card. Decoders need some 100 times the memory for a sample. These two sizes are estimates: we
had no GPU to measure them on. Where a part does not fit, it is halved until it does, and stays so.
"""

_fitting: dict[tuple[object, ...], int] = {}
"""Rows that fit, by network and shape of a sample, where memory has run out."""


def in_parts(network: Callable[..., Tensor], size: int | PartSize, *batches: Tensor) -> Tensor:
    """Return a network's output on batches of one length, computed a part at a time.

    Where torch runs out of memory, parts are halved; a part of one sample that does not fit is an error.

    Args:
        network: takes as many tensors as there are batches; its rows do not depend on each other.
        size: largest part; a number is of rows on any device.
        batches: inputs of the network, (N, ...) each; the first one holds latents (N, C, h, w).

    Raises:
        torch.OutOfMemoryError: not even one sample fits.

    Example:
        >>> in_parts(lambda a, b: a + b, 2, torch.arange(5), torch.ones(5)).tolist()
        [1.0, 2.0, 3.0, 4.0, 5.0]
    """
    first, made, start = batches[0], [], 0
    key = (getattr(network, "__code__", network), *(batch.shape[1:] for batch in batches))
    rows = min(_rows(size, first), _fitting.get(key, len(first)))
    while start < len(first):
        part = _output(network, [batch[start : start + rows] for batch in batches], rows > 1)
        if part is None:
            rows = _fitting[key] = max(1, min(rows, len(first) - start) // 2)
            continue
        made.append(part)
        start += rows
    return torch.cat(made)


def _rows(size: int | PartSize, first: Tensor) -> int:
    """Return the largest number of rows of a part."""
    if not isinstance(size, PartSize):
        return size
    return max(1, size.pixels // first[0, 0].numel()) if first.is_cuda else size.rows


def _output(network: Callable[..., Tensor], part: list[Tensor], may_fail: bool) -> Tensor | None:
    """Return a network's output; None if memory ran out and it may."""
    try:
        return network(*part)
    except torch.OutOfMemoryError:
        if not may_fail:
            raise
    if torch.cuda.is_available():  # here, where the error no longer holds the network's tensors
        torch.cuda.empty_cache()
    return None
