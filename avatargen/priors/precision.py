"""The number format that networks run in.

Optimisation runs in the format that is fastest on its device. What judges see is decoded and embedded in float32 on
every device, so that scores do not depend on it: rounding to bfloat16 moves a cosine by as much as the margin that
decides some ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.backends import cudnn


def network_dtype(device: torch.device) -> torch.dtype:
    """Return float16 for a GPU with tensor cores; for a CPU bfloat16 if that is faster, else float32.

    float16 and bfloat16 run at one speed on GPUs that have both. Guidance of 100 multiplies the rounding of the
    difference of two predictions, which is eight times as large in bfloat16, and released weights fit into float16's
    range; autoencoders that do not (SDXL's) run in float32. GPUs before compute capability 7.0 have no tensor cores,
    and most of them run float16 at a fraction of float32's speed.

    bfloat16 is faster with AMX, and on AMD cores with AVX512_BF16: the mini prior's UNet takes 60% of its time in
    float32. It is slower on Intel cores with AVX512_BF16 but without AMX, which many virtual machines hide (145%), and
    on cores without support for it (200 to 300%).
    """
    if device.type == "cuda":
        return torch.float16 if torch.cuda.get_device_capability(device) >= (7, 0) else torch.float32
    cpu = getattr(torch.cpu, "get_capabilities", dict)()
    intel = "intel" in str(cpu.get("cpu_name", "")).lower()
    return torch.bfloat16 if cpu.get("amx_bf16") or (cpu.get("avx512_bf16") and not intel) else torch.float32


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 products and convolutions of a GPU in float32 rather than in TensorFloat-32.

    TensorFloat-32 has the 10 bits of float16's fraction, and is cuDNN's default.

    Example:
        >>> with full_float32():
        ...     torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        (False, False)
    """
    products = torch.backends.cuda.matmul
    before = products.allow_tf32
    products.allow_tf32 = False
    try:
        with cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        products.allow_tf32 = before
