"""Describe the machine that a process runs on, for the records of what it makes."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

CPU_FACTS = Path("/proc/cpuinfo")


@cache
def hardware() -> dict[str, Any]:
    """Return the machine, JSON-ready: `cpu` and `gpu` by name (no GPU is None), and `cores`."""
    return {"cpu": _cpu(), "cores": os.cpu_count(), "gpu": _gpu()}


def _cpu() -> str:
    """Return the name of the CPU; its architecture where the system does not tell."""
    try:
        lines = CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, names), None) or platform.processor() or platform.machine()


def _gpu() -> str | None:
    """Return the name of the GPU that torch uses first."""
    import torch  # drivers of jobs do without

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
