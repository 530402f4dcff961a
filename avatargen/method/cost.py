"""What a piece of work costs, in a process that does many: the clock, and peak memory since the work began."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def now() -> float:
    """Seconds of a monotonic clock, once the GPU has done what it was asked to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


def reset_peak_memory() -> None:
    """Start to measure `peak_memory_mb` anew; without Linux's proc(5), the process's peak so far stays."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        _CLEAR.write_text("5", encoding="ascii")


def peak_memory_mb() -> float:
    """Most memory in use at once since `reset_peak_memory`, MB of 2^20 bytes, loaded models included.

    Of the GPU if there is one (what torch allocated), else of the process (its resident set).
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
