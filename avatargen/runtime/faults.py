"""Tell what an error means for an avatar and for the process that raised it."""

from __future__ import annotations

from avatargen.method.out_of_memory import is_out_of_memory

LASTING = (
    *("illegal memory access", "misaligned address", "illegal instruction", "device-side assert", "launch failure"),
    *("launch timed out", "ecc error", "cudnn_status_execution_failed"),
)
"""CUDA errors after which every further call of the process to the GPU fails."""


def status_of(error: Exception) -> str:
    """Return the status of an avatar that failed with `error`.

    Example:
        >>> status_of(RuntimeError("Failed to allocate 1048576 bytes on device 'cuda:0'"))
        'out_of_memory'
        >>> status_of(ValueError("no such prompt"))
        'error'
    """
    return "out_of_memory" if is_out_of_memory(error) else "error"


def is_lasting(error: Exception | str) -> bool:
    """Return whether an error, or its text, reports a fault after which the process cannot use its GPU.

    Example:
        >>> is_lasting("CUDA error: an illegal memory access was encountered")
        True
    """
    return any(phrase in str(error).lower() for phrase in LASTING)


def cause_line(text: str) -> str:
    """Return the line of an error's text that names a lasting fault; the last line if none does.

    Torch prints advice after the line that names the fault.

    Example:
        >>> cause_line("CUDA error: misaligned address\\nConsider CUDA_LAUNCH_BLOCKING=1")
        'CUDA error: misaligned address'
    """
    lines = text.strip().splitlines() or [""]
    return next(filter(is_lasting, lines), lines[-1])
