"""The number format that networks run in, by the capabilities of the device."""

import pytest
import torch

from avatargen.config.settings import PriorSettings
from avatargen.priors import kandinsky, stable_diffusion
from avatargen.priors.base import load_prior
from avatargen.priors.precision import full_float32, network_dtype
from tests.small_families import FAMILIES, KIND
from tests.small_kandinsky import write_kandinsky

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


@pytest.fixture(scope="module")
def every_prior(family_folders, tmp_path_factory):
    """Settings of a small prior of each family."""
    torch.manual_seed(0)
    decoder = write_kandinsky(tmp_path_factory.mktemp("kandinsky"))
    settings = {name: PriorSettings(kind=KIND[name], path=str(path)) for name, path in family_folders.items()}
    return {**settings, "kandinsky": PriorSettings(kind="kandinsky", path=str(decoder))}


@pytest.mark.parametrize("family", [*FAMILIES, "kandinsky"])
def test_exact_priors_decode_alike_whatever_steps_run_in(family, every_prior, monkeypatch):
    """The autoencoder computes in float32; the UNet keeps the fast format."""
    latents, images = torch.randn(2, 4, 8, 8), torch.rand(2, 3, 32, 32)
    seen = {}
    for dtype in (torch.float32, torch.bfloat16):
        for exact in (True, False):
            for module in (stable_diffusion, kandinsky):
                monkeypatch.setattr(module, "network_dtype", lambda _, dtype=dtype: dtype)
            prior = load_prior(every_prior[family], exact=exact)
            assert prior._unet.dtype == dtype  # pyright: ignore[reportAttributeAccessIssue]
            seen[dtype, exact] = (prior.decode(latents), prior.encode(images))
    for fast, exact in zip(seen[torch.bfloat16, True], seen[torch.float32, True], strict=True):
        assert torch.equal(fast, exact)
    if family != "sdxl":  # whose autoencoder runs in float32 anyway
        assert not torch.equal(seen[torch.bfloat16, False][0], seen[torch.float32, False][0])


@pytest.mark.parametrize("before", [True, False])
def test_full_float32_forbids_tf32_and_restores_the_setting(before):
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    usual = (products.allow_tf32, convolutions.allow_tf32)
    products.allow_tf32 = convolutions.allow_tf32 = before
    try:
        with pytest.raises(KeyError), full_float32():
            assert not (products.allow_tf32 or convolutions.allow_tf32)
            raise KeyError
        assert products.allow_tf32 == convolutions.allow_tf32 == before
    finally:
        products.allow_tf32, convolutions.allow_tf32 = usual
