"""The number format that networks run in, by the capabilities of the device."""

import pytest
import torch

from avatargen.priors.precision import network_dtype

CPUS = [
    ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, torch.bfloat16),
    ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, torch.float32),
    ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, torch.bfloat16),
    ({"cpu_name": "AMD EPYC", "avx512_bf16": False}, torch.float32),
    ({}, torch.float32),
]


@pytest.mark.parametrize(("capabilities", "dtype"), CPUS)
def test_bfloat16_is_chosen_on_cpus_where_it_is_faster(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert network_dtype(torch.device("cpu")) == dtype


@pytest.mark.parametrize(
    ("capability", "dtype"), [((9, 0), torch.float16), ((7, 0), torch.float16), ((6, 1), torch.float32)]
)
def test_a_gpu_with_tensor_cores_runs_in_half_precision(capability, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert network_dtype(torch.device("cuda")) == dtype
