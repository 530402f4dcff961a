"""The report's figures and pictures, by a judge with given embeddings and a prior that knows its answer."""

import numpy as np
import pytest
import torch

from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.appearance import make_appearance
from avatargen.headworld.attributes import Attributes
from avatargen.headworld.phrases import parse
from avatargen.priors.base import Prior
from avatargen.render.warp import WarpRenderer
from avatargen.training import pictures as picture_module
from avatargen.training.measures import Judge, attribute_accuracy, recall
from avatargen.training.pictures import (
    AGAIN,
    BETWEEN,
    GUIDED_FROM,
    Pictures,
    ddim,
    decoded,
    render_heads,
    sample_heads,
)
from avatargen.training.report_tables import evaluation_ms

COLOURS = {"green": 1, "blue": 2}


class ColourJudge(Judge):
    """Sees green skin in a first pixel of 1, blue in 2, and reads the words for them; nothing else."""

    def __init__(self):
        """Load no weights."""

    def images(self, images):
        return torch.eye(3)[images[:, 0, 0, 0].astype(int)]

    def texts(self, captions):
        heads = [parse(text) for text in captions]
        return torch.eye(3)[[COLOURS.get(head.skin, 0) for head in heads]]


def pictures(*seen):
    return Pictures(
        np.array(seen, np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8), np.arange(len(seen))
    )


def test_recall_is_the_share_of_own_captions_found():
    own = ["a man with green skin", "a man with blue skin", "a man"]
    assert recall(ColourJudge(), pictures(1, 2, 0), own, own) == 1.0
    assert recall(ColourJudge(), pictures(1, 1, 0), own, own) == pytest.approx(2 / 3)


def test_accuracy_is_among_captions_differing_in_it_alone():
    heads = [Attributes(skin="green"), Attributes(skin="blue", hair="bald")]
    found = attribute_accuracy(ColourJudge(), pictures(1, 2), heads)
    assert found["skin"] == (1.0, pytest.approx(0.1))
    assert attribute_accuracy(ColourJudge(), pictures(2, 1), heads)["skin"][0] == 0.0
    assert found["hair_colour"][1] == pytest.approx(1 / 8)  # of the one head that has hair
    assert "skin" not in attribute_accuracy(ColourJudge(), pictures(1, 2), heads, colours=False)


class KnowingPrior(Prior):
    """Knows the perfect denoiser: its data is one plain picture."""

    id, latent_channels, downscale, prediction = "knowing", 3, 1, "epsilon"
    alphas_cumprod = torch.linspace(0.999, 0.005, 100)
    answer = torch.tensor([0.9, 0.2, 0.5]).view(1, 3, 1, 1)

    def embed(self, prompts):
        return torch.zeros(len(prompts), 1, 1)

    def truncates(self, prompts):
        return [False] * len(prompts)

    def predict(self, noisy, timesteps, condition):
        a = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        return (noisy - a.sqrt() * self.answer) / (1 - a).sqrt()

    def decode(self, latents):
        return latents.clamp(0, 1)

    def encode(self, images):
        return images


def test_ddim_finds_what_the_prior_knows():
    made = ddim(KnowingPrior(), ["a", "b"], guidance=4.0)
    assert made.shape == (2, 32, 32, 3)
    assert np.abs(made - np.array([230, 51, 128])).max() <= 1


class CountingPrior(KnowingPrior):
    """Sees the picture for caption "a" and black for others; records what it is asked."""

    def __init__(self):
        self.asked = []

    def embed(self, prompts):
        return torch.tensor([float(text == "a") for text in prompts]).view(-1, 1, 1)

    def predict(self, noisy, timesteps, condition):
        self.asked.append((int(timesteps[0]), len(noisy)))
        told = self.answer * condition[..., None]
        a = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        return (noisy - a.sqrt() * told) / (1 - a).sqrt()


def test_samples_are_guided_above_the_set_share_only():
    prior = CountingPrior()
    made = ddim(prior, ["a"], guidance=4.0)
    assert {count for t, count in prior.asked if t >= GUIDED_FROM * 99} == {2}
    assert {count for t, count in prior.asked if t < GUIDED_FROM * 99} == {1}
    assert np.abs(made - np.array([230, 51, 128])).max() <= 1  # guided to the end it would be four times as bright


class WatchingPrior(KnowingPrior):
    """Records its timesteps and the deviation of the noise that it finds; 1 is right."""

    def __init__(self):
        self.asked, self.noise = [], []

    def predict(self, noisy, timesteps, condition):
        self.asked.append(int(timesteps[0]))
        self.noise.append(super().predict(noisy, timesteps, condition).std().item())
        return super().predict(noisy, timesteps, condition)


def test_restarts_add_the_noise_of_their_timestep():
    prior = WatchingPrior()
    ddim(prior, ["a", "b"], guidance=1.0)
    rises = [k for k in range(1, len(prior.asked)) if prior.asked[k] > prior.asked[k - 1]]
    low, high = (int(share * 99) for share in BETWEEN)
    assert [prior.asked[k] for k in rises] == [high] * AGAIN
    assert prior.asked[0] == 99 and len(prior.asked) == 30 + AGAIN * round(30 * (high - low) / 99)
    assert prior.noise == pytest.approx([1.0] * len(prior.noise), abs=0.05)
    assert len({round(prior.noise[k], 6) for k in (0, *rises)}) == 1 + AGAIN  # other noise each time


class ListeningPrior(KnowingPrior):
    """Records its prompts."""

    def __init__(self):
        self.told = []

    def embed(self, prompts):
        self.told += [text for text in prompts if text]
        return super().embed(prompts)


def test_samples_name_each_direction_in_turn():
    directions = {}
    for front, count in ((True, 6), (False, 11)):
        prior = ListeningPrior()
        made = sample_heads(prior, ["a", "b"], count, guidance=4.0, front=front)
        assert len(made.images) == 2 * count and made.own.tolist() == [0, 1] * count
        assert all(prior.told[k].startswith("ab"[k % 2]) for k in range(2 * count))
        directions[front] = [text.split(", ")[1] for text in prior.told[::2]]
    assert directions[True][:5] == [f"{name} view" for name in ("45 right", "22 right", "front", "22 left", "45 left")]
    assert directions[True][5] == directions[True][0]
    assert len({*directions[True], *directions[False]}) == 16 and "back view" in directions[False]


def test_decoded_pictures_have_the_noise_of_their_latents():
    grey = Pictures(np.full((30, 32, 32, 3), 128, np.uint8), np.arange(30))
    assert (decoded(KnowingPrior(), grey, 0.0).images == 128).all()
    noisy = decoded(KnowingPrior(), grey, 0.1)
    assert noisy.images.std() / 255 == pytest.approx(0.1, rel=0.02) and (noisy.own == grey.own).all()


class DistantPrior(KnowingPrior):
    """Is on a device that shares no tensors with the CPU."""

    alphas_cumprod, answer = KnowingPrior.alphas_cumprod.to("meta"), KnowingPrior.answer.to("meta")


def test_a_prior_is_timed_on_its_own_device():
    assert evaluation_ms(DistantPrior()) > 0


def test_renders_show_every_head_from_the_asked_side():
    head = AnnyHead.load()
    renderer = WarpRenderer(head.topology, head.canonical(head.shape_template[None])[0])
    heads = [Attributes(skin="green", hair="bald"), Attributes(skin="red", hair="afro", hair_colour="white")]
    front = render_heads(head, renderer, heads, 2, clay=False, front=True, seed=1)
    assert front.images.shape == (4, 128, 128, 3) and front.own.tolist() == [0, 0, 1, 1]
    middle = front.images[:, 70:80, 58:70].astype(float).mean((1, 2))
    assert (middle[:2, 1] > 1.2 * middle[:2, 0]).all() and (middle[2:, 0] > 1.5 * middle[2:, 1]).all()
    clay = render_heads(head, renderer, heads[:1], 2, clay=True, front=False, seed=1).images[:, 60:70, 58:70]
    assert (clay.max(-1) == clay.min(-1)).all()


def test_ground_truth_heads_are_one_individual(monkeypatch):
    """Others are not: each has a shape of its own."""
    head, made = AnnyHead.load(), []
    renderer = WarpRenderer(head.topology, head.canonical(head.shape_template[None])[0])
    monkeypatch.setattr(
        picture_module, "make_appearance", lambda *given: made.append(make_appearance(*given)) or made[-1]
    )
    for true in (True, False):
        render_heads(head, renderer, [Attributes(age="old")], 2, clay=True, front=True, seed=1, true=true)
    known, same, other, another = (appearance.parameters.shape for appearance in made)
    assert torch.equal(known, make_appearance(head, Attributes(age="old")).parameters.shape) and torch.equal(
        known, same
    )
    assert not torch.equal(known, other) and not torch.equal(other, another)
