"""Kandinsky 2.2 as a prior: two folders, image embeddings of texts, a predicted variance that is ignored."""

import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import KandinskyV22Pipeline, KandinskyV22PriorPipeline, UNet2DConditionModel

from avatargen.config.errors import InputError
from avatargen.config.loading import load_library
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.io.content_hash import weights_id
from avatargen.method.generator import Generator
from avatargen.preflight.weight_checks import prior_problems
from avatargen.priors import kandinsky
from avatargen.priors.base import grey_response, load_prior
from avatargen.priors.kandinsky import KandinskyPrior, seed_of
from avatargen.priors.precision import network_dtype
from avatargen.priors.view_prompts import LATENT_PAINT, with_view
from avatargen.runtime import fingerprint
from tests.pretend_gpu import is_marked, pretended_gpu
from tests.small_kandinsky import WIDTH, write_kandinsky


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    return write_kandinsky(tmp_path_factory.mktemp("kandinsky"))


@pytest.fixture(scope="module")
def settings(folder):
    return PriorSettings(kind="kandinsky", path=str(folder), latent_size=16, texture_size=32, samples=1)


@pytest.fixture(scope="module")
def prior(settings):
    return load_prior(settings)


def test_facts_and_id_come_from_both_folders(prior, folder):
    assert (prior.latent_channels, prior.downscale, prior.prediction) == (4, 2, "epsilon")
    assert prior.alphas_cumprod.shape == (1000,)
    beside = folder.with_name("small-prior")
    assert prior.id == f"small-decoder-{weights_id(str(folder))[:12]}-{weights_id(str(beside))[:12]}"


def test_texts_have_different_and_repeatable_embeddings(prior):
    once, again = prior.embed(["a man", "a girl", ""]), prior.embed(["a girl"])
    assert once.shape == (3, 1, WIDTH) and torch.allclose(once[1], again[0], atol=1e-6)
    assert len({tuple(row.flatten().tolist()) for row in once}) == 3


def test_views_of_a_prompt_share_the_noise_of_embeddings():
    front, back = (with_view("a man", name) for name in LATENT_PAINT.names[:2])
    assert front != back and seed_of(front) == seed_of(back) == seed_of("a man") != seed_of("a girl")


def test_long_prompt_keeps_its_view(prior):
    long = "a man with " + ", ".join(["a green beard"] * 30)
    side, back = prior.embed([f"{long}, side view", f"{long}, back view"])
    assert not torch.equal(side, back)
    assert prior.truncates([long, f"{long}, side view", "a man", ""]) == [True, True, False, False]


def test_shapes_and_ranges(prior, folder):
    latents = prior.encode(torch.rand(2, 3, 32, 32))
    assert latents.shape == (2, 4, 16, 16)
    images = prior.decode(latents.requires_grad_())
    assert images.shape == (2, 3, 32, 32) and images.min() >= 0 and images.max() <= 1
    images.sum().backward()
    assert latents.grad.isfinite().all() and latents.grad.abs().max() > 0
    t, condition = torch.tensor([10, 500]), prior.embed(["a man", ""])
    output = prior.predict(latents.detach(), t, condition)
    fast = network_dtype(latents.device)
    unet, given = UNet2DConditionModel.from_pretrained(folder / "unet").to(fast), condition[:, 0].to(fast)
    with torch.no_grad():
        whole = unet(latents.to(fast), t, encoder_hidden_states=None, added_cond_kwargs={"image_embeds": given}).sample
    assert whole.shape[1] == 8 and torch.allclose(output, whole[:, :4].float(), atol=1e-2)
    assert grey_response(prior, levels=3).shape == (3, 4)


def test_what_embeds_is_on_the_device_only_while_it_embeds(settings, monkeypatch):
    monkeypatch.setattr(kandinsky, "network_dtype", lambda _: torch.float32)
    seen = []
    embed = KandinskyPrior._embed
    monkeypatch.setattr(KandinskyPrior, "_embed", lambda prior, text: seen.append(places(prior)) or embed(prior, text))
    with pretended_gpu(monkeypatch):
        prior = load_prior(settings)
        assert prior.text_encoders[0].dtype == torch.float16 and places(prior) == {False}
        embeddings = prior.embed(["a man", ""])
        assert is_marked(embeddings) and is_marked(prior.alphas_cumprod)
    assert seen == [{True}] * 2 and places(prior) == {False}


def places(prior: KandinskyPrior) -> set[bool]:
    """Return whether the networks that embed are on the GPU."""
    return {is_marked(weights) for network in prior.text_encoders for weights in network.parameters()}


@pytest.mark.parametrize("options", [{"variant": "fp16"}, {"safe_serialization": False}])
def test_other_forms_of_the_folders_have_the_same_weights(prior, folder, options, tmp_path):
    kinds = (KandinskyV22Pipeline, KandinskyV22PriorPipeline)
    for kind, name in zip(kinds, ("small-decoder", "small-prior"), strict=True):
        kind.from_pretrained(folder.with_name(name)).save_pretrained(tmp_path / name, **options)
    (tmp_path / "small-prior/image_processor/preprocessor_config.json").unlink()  # processes images, of which are none
    other = load_prior(PriorSettings(kind="kandinsky", path=str(tmp_path / "small-decoder")))
    for networks in zip((prior._unet, *prior.text_encoders), (other._unet, *other.text_encoders), strict=True):
        one, again = (network.state_dict() for network in networks)
        assert one.keys() == again.keys() and all(torch.equal(one[name], again[name]) for name in one)
    assert torch.equal(*(each.embed(["a man", ""]) for each in (prior, other)))


def test_the_method_runs_on_kandinsky(settings, tmp_path, make_run):
    generator = Generator.load("anny", "warp", settings, threads=1)
    assert isinstance(generator.prior, KandinskyPrior)
    method = MethodSettings(phase1_steps=1, phase2_steps=1, views=1, mask_views=1)
    run = make_run().model_copy(update={"method": method, "prior": settings, "batch_size": 1})
    (avatar,) = generator.run(run, [PromptItem("few", "a", "a man")], [tmp_path])
    assert avatar.status == "ok" and avatar.prior_id == generator.prior.id


def test_both_folders_are_checked_and_fingerprinted(folder, settings, tmp_path, make_run, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert settings.parts == [str(folder), str(folder.with_name("small-prior"))]
    hub = PriorSettings(kind="kandinsky", path="kandinsky-community/kandinsky-2-2-decoder")
    assert hub.parts[1] == "kandinsky-community/kandinsky-2-2-prior"
    for part in ("small-decoder", "small-prior"):
        shutil.copytree(folder.with_name(part), tmp_path / part)
    mine = settings.model_copy(update={"path": str(tmp_path / "small-decoder")})

    def problems(prior):
        return prior_problems("mine", replace(load_library(), priors={"mine": prior}), tmp_path)

    run = make_run().model_copy(update={"prior": mine})
    assert problems(mine) == []
    before = fingerprint.of_method(run, tmp_path)
    noise = tmp_path / "small-decoder/scheduler"
    noise.rename(tmp_path / "elsewhere")
    assert "small-decoder/scheduler/scheduler_config.json: missing" in problems(mine)[0]
    with pytest.raises(InputError, match="no scheduler file"):
        load_prior(mine, tmp_path)
    (tmp_path / "elsewhere").rename(noise)
    (tmp_path / "small-prior/model_index.json").write_text('{"prior": []}')
    assert fingerprint.of_method(run, tmp_path) != before
    shutil.rmtree(tmp_path / "small-prior/prior")
    assert "small-prior/prior: no weights" in problems(mine)[0]
    shutil.rmtree(tmp_path / "small-prior")
    assert "no such folder; expected the pipeline that embeds" in problems(mine)[0]
    wrong = mine.model_copy(update={"path": "somewhere/else"})
    assert "expected a decoder's" in problems(wrong)[0]
    with pytest.raises(InputError, match="cannot load"):
        load_prior(mine.model_copy(update={"path": "nowhere/a-decoder"}), tmp_path)
