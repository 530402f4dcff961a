"""Peak memory of one piece of work, in a process that used more before."""

import torch

from avatargen.method.cost import peak_memory_mb, reset_peak_memory


def test_peak_memory_restarts_after_a_reset():
    ballast = torch.ones(2**26)
    high = peak_memory_mb()
    assert high > 256
    del ballast
    assert peak_memory_mb() > high - 10  # the kernel counts in strides
    reset_peak_memory()
    low = peak_memory_mb()
    assert 0 < low < high - 200
    torch.ones(2**26)
    assert peak_memory_mb() > low + 200
