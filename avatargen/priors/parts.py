"""Networks on long batches, a part at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PREDICTED, DECODED = 24, 4
"""Samples that pass through a UNet, and a decoder, together.

In larger batches each takes longer on a CPU: of the mini prior, a decode 23 ms in 48 at once and 15 in 4, an evaluation
16 ms in 96 and 13 in 24 (float32, one thread). And the estimates of masks, which come in hundreds, would decide how
much memory a GPU must have.
"""


def in_parts(network: Callable[..., Tensor], size: int, *batches: Tensor) -> Tensor:
    """What a network makes of batches of one length, at most `size` rows at a time."""
    parts = zip(*(batch.split(size) for batch in batches), strict=True)
    return torch.cat([network(*part) for part in parts])
