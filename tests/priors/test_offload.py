"""Networks that are seldom needed rest on the CPU; on a pretended GPU of 8 GB."""

import pytest
import torch

from avatargen.config.settings import PriorSettings
from avatargen.priors import offload, stable_diffusion
from avatargen.priors.base import load_prior
from avatargen.priors.offload import brought_to
from tests.pretend_gpu import is_marked, pretended_gpu
from tests.small_prior import write_pipeline


def on_gpu(module: torch.nn.Module) -> bool:
    return all(map(is_marked, module.parameters()))


@pytest.fixture
def prior(tmp_path, monkeypatch):
    monkeypatch.setattr(stable_diffusion, "network_dtype", lambda _: torch.float32)
    path = str(write_pipeline(tmp_path / "prior", "epsilon"))
    with pretended_gpu(monkeypatch):
        yield load_prior(PriorSettings(path=path, latent_size=16))


def watch(module: torch.nn.Module) -> list[bool]:
    """Note where a module is at each of its calls."""
    seen: list[bool] = []
    module.register_forward_pre_hook(lambda *_: seen.append(on_gpu(module)))
    return seen


def test_text_encoder_is_on_the_gpu_only_while_it_reads(prior):
    seen = watch(prior.text_encoders[0])
    first = prior.embed(["a man"])
    assert seen == [True] and not on_gpu(prior.text_encoders[0]) and is_marked(first)
    assert torch.equal(prior.embed(["a man"]), first) and seen == [True, True]


def test_autoencoder_rests_on_the_cpu_of_small_cards_alone(prior, monkeypatch):
    images = torch.rand(1, 3, 64, 64)
    latents = prior.encode(images)
    assert not on_gpu(prior._vae) and is_marked(latents)
    with torch.no_grad():
        prior.decode(latents)
    assert not on_gpu(prior._vae) and on_gpu(prior._unet)
    monkeypatch.setattr(offload, "SHORT", 0)
    prior.encode(images)
    assert on_gpu(prior._vae)


def test_modules_stay_where_a_backward_pass_needs_them(prior):
    latents = prior.encode(torch.rand(1, 3, 64, 64)).requires_grad_()
    prior.decode(latents).sum().backward()
    assert on_gpu(prior._vae) and latents.grad is not None and latents.grad.abs().max() > 0


def test_modules_go_back_after_an_error(monkeypatch):
    layer = torch.nn.Linear(2, 2)
    with pretended_gpu(monkeypatch), torch.no_grad():
        with pytest.raises(ValueError), brought_to(torch.device("cuda", 0), layer):
            assert on_gpu(layer)
            raise ValueError
        assert not on_gpu(layer)
