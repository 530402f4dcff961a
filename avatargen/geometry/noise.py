"""Normal random numbers from integer keys, in tensor arithmetic that runs on any device.

Each key is the seed of a SplitMix64 generator (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
2014, fig. 15), whose n-th output is a hash of seed + n * GAMMA. So all outputs are computed at once, without a
generator's state, and none depends on how many others there are. The halves of an output give two normal numbers (Box
and Muller, "A Note on the Generation of Random Normal Deviates", 1958).

Torch has no unsigned 64-bit arithmetic on all devices: signed integers wrap around to the same bits.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

GAMMA = 0x9E3779B97F4A7C15 - 2**64
"""Step from one state of SplitMix64 to the next, as a signed integer."""
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def normal(keys: Int[Tensor, "B V"], shape: tuple[int, ...]) -> Float[Tensor, "B V ..."]:
    """Return standard normal numbers (B, V, *shape), a function of each key alone.

    Args:
        keys: 64-bit integers, one for each view; the result is on their device.
        shape: of each view's numbers.

    Example:
        >>> keys = torch.tensor([[3, 2**60]])
        >>> numbers = normal(keys, (4, 8, 8))
        >>> numbers.shape, torch.equal(numbers[:, 1:], normal(keys[:, 1:], (4, 8, 8)))
        (torch.Size([1, 2, 4, 8, 8]), True)
    """
    count = math.prod(shape)
    bits = splitmix64(keys, (count + 1) // 2)
    radius = ((bits >> 32) & 0xFFFFFFFF).to(torch.float32).add_(0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = (bits & 0xFFFFFFFF).to(torch.float32).mul_(2 * math.pi * 2.0**-32)
    both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=-1)
    return both[..., :count].reshape(*keys.shape, *shape)


def splitmix64(keys: Int[Tensor, "B V"], count: int) -> Int[Tensor, "B V {count}"]:
    """Return the first outputs of the SplitMix64 generators with these seeds, as signed integers.

    Args:
        keys: seeds.
        count: outputs of each.

    Example:
        >>> splitmix64(torch.tensor([[0]]), 1)[0, 0, 0].item() % 2**64 == 0xE220A8397B1DCDAF  # reference output
        True
    """
    steps = torch.arange(1, count + 1, device=keys.device)
    state = keys[..., None] + steps * GAMMA
    state = (state ^ _shifted(state, 30)).mul_(_FIRST)
    state = (state ^ _shifted(state, 27)).mul_(_SECOND)
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, places: int) -> Tensor:
    """Shift to the right as if the integers were unsigned."""
    return (state >> places) & ((1 << (64 - places)) - 1)
