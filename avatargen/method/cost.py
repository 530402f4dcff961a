"""Time and peak memory of one piece of work in a process that does many."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def now() -> float:
    """Return the seconds of a monotonic clock, after all work queued on the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


def reset_peak_memory() -> None:
    """Restart the measurement of `peak_memory_mb`; without Linux's proc(5), the process's earlier peak remains."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        _CLEAR.write_text("5", encoding="ascii")


def peak_memory_mb() -> float:
    """Return the largest memory in use since `reset_peak_memory`, in MB of 2^20 bytes, loaded models included.

    This is the memory that torch allocated on the GPU if there is one, else the resident set of the process.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
