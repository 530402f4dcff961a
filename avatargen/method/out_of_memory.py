"""Tell whether an error says that memory ran out. Drivers import this module, so it imports no torch."""

from __future__ import annotations

PHRASES = ("out of memory", "failed to allocate", "alloc_failed", "can't allocate memory")
"""How torch, Warp, cuBLAS and torch's CPU allocator report that memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a GPU or on the CPU.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes"))
        True
        >>> is_out_of_memory(ValueError("no such prompt"))
        False
    """
    named = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
    return named or any(phrase in str(error).lower() for phrase in PHRASES)
