"""Peak memory of one piece of work, in a process that used more before."""

import subprocess
import sys

SEQUENCE = """
import torch
from avatargen.method.cost import peak_memory_mb, reset_peak_memory

ballast = torch.ones(2**26)
print(peak_memory_mb())
del ballast
print(peak_memory_mb())
reset_peak_memory()
print(peak_memory_mb())
torch.ones(2**26)
print(peak_memory_mb())
"""
"""In a process of its own: what earlier tests left may be freed at any moment, between two of these lines too."""


def test_peak_memory_restarts_after_a_reset():
    run = subprocess.run([sys.executable, "-c", SEQUENCE], capture_output=True, text=True, timeout=120, check=True)
    high, kept, low, again = map(float, run.stdout.split())
    assert high > 256
    assert kept > high - 10  # the kernel counts in strides
    assert 0 < low < high - 200
    assert again > low + 200
