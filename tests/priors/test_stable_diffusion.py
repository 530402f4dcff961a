"""The Stable Diffusion adapter on an ordinary pipeline folder; view names."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from avatargen.config.errors import InputError
from avatargen.config.settings import PriorSettings
from avatargen.geometry.cameras import evaluation_cameras
from avatargen.io.content_hash import weights_id
from avatargen.priors.base import flat_latents, grey_response, load_prior
from avatargen.priors.view_prompts import LATENT_PAINT, VIEW_WORDS, mirrored, named_views, with_view
from tests.small_prior import write_pipeline


@pytest.fixture(scope="module")
def prior(pipeline_folder):
    return load_prior(PriorSettings(path=str(pipeline_folder)))


def test_facts_and_id_come_from_the_folder(prior, pipeline_folder):
    assert (prior.latent_channels, prior.downscale, prior.prediction) == (4, 4, "epsilon")
    assert prior.alphas_cumprod.shape == (1000,)
    assert prior.id == f"model-{weights_id(str(pipeline_folder))[:12]}"


def test_shapes_and_ranges(prior):
    latents = prior.encode(torch.rand(2, 3, 32, 32))
    assert latents.shape == (2, 4, 8, 8)
    images = prior.decode(latents)
    assert images.shape == (2, 3, 32, 32)
    assert images.min() >= 0 and images.max() <= 1
    condition = prior.embed(["a man", ""])
    assert not torch.equal(condition[0], condition[1])
    output = prior.predict(latents, torch.tensor([10, 500]), condition)
    assert output.shape == latents.shape and not output.requires_grad


def test_large_batches_give_the_same_as_small_ones(prior, monkeypatch):
    latents, t = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(5) * 100
    condition = prior.embed(["a man", "a girl", "", "a baby", "a statue"])
    whole = prior.predict(latents, t, condition), prior.decode(latents)
    for name in ("PREDICTED", "DECODED"):
        monkeypatch.setattr(f"avatargen.priors.stable_diffusion.{name}", 2)
    parts = prior.predict(latents, t, condition), prior.decode(latents)
    assert all(torch.allclose(*pair, atol=1e-5) for pair in zip(whole, parts, strict=True))


def test_long_prompt_keeps_its_view(prior):
    long = "a man with " + ", ".join(["a green beard"] * 20)
    side, back, plain = prior.embed([f"{long}, side view", f"{long}, back view", long])
    assert not torch.equal(side, back) and not torch.equal(side, plain)


def test_prompts_longer_than_the_tokenizer_are_truncated(prior):
    held = "man " * (40 - 2)  # its length, less start and end
    texts = [held, f"{held} man", f"{held}, side view", "a man", ""]
    assert prior.truncates(texts) == [False, True, True, False, False]
    assert torch.equal(*prior.embed([held, f"{held} man"]))


def test_grey_response_is_the_latents_of_greys(prior):
    greys = grey_response(prior, levels=3)
    assert greys.shape == (3, 4)
    assert torch.allclose(greys[1], flat_latents(prior, torch.full((1, 3), 0.5))[0], atol=1e-5)


def test_v_prediction_is_read_from_the_scheduler(tmp_path):
    folder = write_pipeline(tmp_path, prediction="v_prediction")
    assert load_prior(PriorSettings(path=str(folder))).prediction == "v_prediction"


def test_changed_weights_change_the_id(tmp_path):
    (tmp_path / "weights").write_bytes(b"one")
    before = weights_id(str(tmp_path))[:12]
    (tmp_path / "weights").write_bytes(b"two")
    assert weights_id(str(tmp_path))[:12] != before


def test_missing_pipeline_is_an_input_error():
    with pytest.raises(InputError, match="cannot load 'nowhere/at-all'"):
        load_prior(PriorSettings(path="nowhere/at-all"), Path("."))


@pytest.mark.parametrize(
    ("azimuth", "elevation", "name"),
    [
        (0.0, 0.0, "front"),
        (34.0, 0.0, "front"),
        (-36.0, 0.0, "side"),
        (90.0, 30.0, "side"),
        (180.0, 0.0, "back"),
        (-146.0, 0.0, "back"),
        (360.0, 0.0, "front"),
        (0.0, 61.0, "overhead"),
    ],
)
def test_latent_paint_view_names(azimuth, elevation, name):
    assert LATENT_PAINT.name(azimuth, elevation, 0.4) == f"{name} view" in LATENT_PAINT.names
    assert with_view("a man", f"{name} view") == f"a man, {name} view"


@pytest.mark.parametrize(
    ("azimuth", "height", "name"),
    [
        (11.0, 0.4, "front"),
        (-11.0, 0.2, "close front"),
        (12.0, 0.4, "22 left"),
        (-90.0, 0.4, "90 right"),
        (-45.0, 0.28, "close 45 right"),
        (170.0, 0.4, "back"),
        (-170.0, 0.4, "back"),
        (-168.0, 0.4, "157 right"),
        (349.0, 0.3, "front"),
        (202.0, 0.3, "157 right"),
    ],
)
def test_sector_names(azimuth, height, name):
    words = VIEW_WORDS["sectors"]
    assert words.name(azimuth, 0.0, height) == f"{name} view" in words.names
    assert mirrored(words.name(azimuth, 0.0, height)) == words.name(-azimuth, 0.0, height)
    assert len(set(words.names)) == 32


def test_cameras_are_named_by_what_they_see():
    cameras = evaluation_cameras(2, views=4)
    fov = torch.tensor([[18.0, 18.0, 18.0, 10.0]] * 2)
    names = named_views(replace(cameras, fov=fov), VIEW_WORDS["sectors"])
    assert names == [["front view", "90 left view", "back view", "close 90 right view"]] * 2
