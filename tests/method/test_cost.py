"""Peak memory can be measured anew in a process that once used more."""

import torch

from avatargen.method.cost import peak_memory_mb, reset_peak_memory


def test_peak_memory_starts_anew_and_rises_again():
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
