"""Which number formats are fast here."""

from __future__ import annotations

import torch


def network_dtype(device: torch.device) -> torch.dtype:
    """The format that networks run in: float16 on a GPU; on a CPU bfloat16 where that is faster, else float32.

    It is with AMX, and on AMD's cores with AVX512_BF16: there the mini prior's UNet takes 60% of float32's time. With
    that unit Intel's cores without AMX (many virtual machines hide it) take 145%, and cores without units for it 200 to
    300%.
    """
    if device.type == "cuda":
        return torch.float16
    cpu = getattr(torch.cpu, "get_capabilities", dict)()
    intel = "intel" in str(cpu.get("cpu_name", "")).lower()
    return torch.bfloat16 if cpu.get("amx_bf16") or (cpu.get("avx512_bf16") and not intel) else torch.float32
