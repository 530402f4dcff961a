"""Warp's kernels on GPUs, as far as that shows without one."""

import pytest
import warp as wp

from avatargen.render import coverage, normals, visibility
from avatargen.render.launch import torch_stream


@pytest.mark.parametrize("module", [coverage, normals, visibility])
def test_kernels_compile_for_a_gpu(module, tmp_path):
    """For the oldest GPUs that PyTorch3D's wheel serves; needs no driver."""
    kernels = wp.get_module(module.__name__)
    wp.compile_aot_module(kernels, arch=75, module_dir=str(tmp_path), use_ptx=True)
    (compiled,) = tmp_path.glob("*.ptx")
    assert ".target sm_75" in compiled.read_text()


def test_the_cpu_has_no_stream():
    wp.init()
    assert torch_stream(wp.get_device("cpu")) is None
