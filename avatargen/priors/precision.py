"""The number format that networks run in."""

from __future__ import annotations

import torch


def network_dtype(device: torch.device) -> torch.dtype:
    """Return float16 for a GPU; for a CPU bfloat16 if that is faster, else float32.

    bfloat16 is faster with AMX, and on AMD cores with AVX512_BF16: the mini prior's UNet takes 60% of its time in
    float32. It is slower on Intel cores with AVX512_BF16 but without AMX, which many virtual machines hide (145%), and
    on cores without support for it (200 to 300%).
    """
    if device.type == "cuda":
        return torch.float16
    cpu = getattr(torch.cpu, "get_capabilities", dict)()
    intel = "intel" in str(cpu.get("cpu_name", "")).lower()
    return torch.bfloat16 if cpu.get("amx_bf16") or (cpu.get("avx512_bf16") and not intel) else torch.float32
