"""Launches of Warp's kernels in the order of torch's work.

Warp has a stream of its own for each GPU. It keeps the order of torch's default stream, but of no other one, so that
kernels would race with torch's work on a side stream or in a captured graph. So everything here runs on torch's current
stream: no kernel waits for a stream, and the host waits for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import warp as wp


@cache
def _as_warp(stream: torch.cuda.Stream) -> wp.Stream:
    """Return a stream of torch's as Warp's; cached, since Warp forgets a stream as soon as one of its copies goes."""
    return wp.stream_from_torch(stream)


def torch_stream(device: wp.Device) -> wp.Stream | None:
    """Return torch's current stream of a GPU; None for the CPU."""
    return None if device.is_cpu else _as_warp(torch.cuda.current_stream(wp.device_to_torch(device)))


def launch(kernel: Any, dim: int | Sequence[int], inputs: Sequence[Any], device: wp.Device) -> None:
    """Launch a kernel on torch's current stream.

    Args:
        kernel: to run; type checkers take kernels for the functions that they decorate.
        dim: number of threads in each dimension.
        inputs: all arguments, those that the kernel writes to included.
        device: of the arrays.
    """
    wp.launch(kernel, dim=dim, inputs=inputs, device=device, stream=torch_stream(device))
