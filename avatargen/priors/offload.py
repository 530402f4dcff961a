"""Keep networks that are seldom needed in the host's memory, and bring them to the GPU for a block of code.

Text encoders read a batch's prompts once and then rest for thousands of steps; so they rest on the CPU, whatever the
card. Autoencoders are needed at each refresh of the masks; they rest there only on a card that is short of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SHORT = 10 * 2**30
"""Memory of a GPU below which it is short of it, bytes: cards of 8 GB are."""


def is_short(device: torch.device) -> bool:
    """Return whether a device is a GPU that is short of memory."""
    return device.type == "cuda" and torch.cuda.get_device_properties(device).total_memory < SHORT


@contextmanager
def brought_to(device: torch.device, *modules: torch.nn.Module, and_back: bool = True) -> Iterator[None]:
    """Bring modules to a device; when the block ends, let them rest on the CPU.

    They stay on the device if gradients are recorded, as the backward pass needs them there.

    Args:
        device: where they are needed.
        modules: wherever they are.
        and_back: leave the device when the block ends.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> with torch.no_grad(), brought_to(torch.device("cpu"), layer):
        ...     made = layer(torch.ones(3, 2))
        >>> made.shape
        torch.Size([3, 1])
    """
    for module in modules:
        module.to(device)
    try:
        yield
    finally:
        if and_back and not torch.is_grad_enabled():
            for module in modules:
                module.to("cpu")
