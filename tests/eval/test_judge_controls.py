"""What judges follow: which heads are mixed, how they are shown, what is counted, and the report's section."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.places import ROOT
from avatargen.config.prompts import PromptItem, read_list
from avatargen.config.settings import MethodSettings
from avatargen.headworld.phrases import described
from avatargen.headworld.truth import TrueHead
from eval import judge_controls
from eval.embed import Judge
from eval.judge_controls import MOST, MixedHead, followed_colour, mixed_heads, render_mixed, to_frame
from eval.judge_section import TABLE, judge_section
from eval.tables import write_table
from eval.views import RenderTools, decode_views, protocol_cameras, render_views

SETTINGS = EvaluationSettings(views=4, size=32, samples=1)


def items(*prompts, **facts) -> list[PromptItem]:
    return [PromptItem("few", str(number), prompt, **facts) for number, prompt in enumerate(prompts)]


def pairs_of(*prompts) -> list[tuple[str, str]]:
    return [(pair.shape.prompt, pair.colour.prompt) for pair in mixed_heads(items(*prompts))]


def test_a_pair_differs_in_shape_and_in_colour():
    bald, green, woman = "a bald man", "a bald man with green skin", "a woman with green skin"
    assert pairs_of(bald, green, woman) == [(bald, woman), (woman, bald)]
    assert pairs_of(bald, green) == pairs_of(green, woman) == pairs_of(bald) == []


def test_colours_that_nobody_sees_make_no_difference():
    """A statue has no hair colour; a sleeping head shows no eyes."""
    assert pairs_of("a gold statue of a man with pink hair", "a gold statue of a woman with a bald head") == []
    assert pairs_of("a sleeping man with blue eyes", "a woman") == []


def test_prompts_without_a_known_head_are_left_out():
    known = items("a bald man", "a woman with green skin")
    tagged = replace(known[1], prompt="a girl with red skin", tags=("truth=none",))
    assert mixed_heads([known[0], tagged, *items("a wizard with green skin"), known[1]]) == [
        MixedHead(known[0], known[1]),
        MixedHead(known[1], known[0]),
    ]


def test_seeds_of_a_prompt_make_one_head():
    known = items("a bald man", "a woman with green skin")
    assert len(mixed_heads([*known, *(replace(item, seed=1) for item in known)])) == 2


@pytest.mark.parametrize("name", ["embedded", "embedded-study"])
def test_shipped_lists_give_each_prompt_another(name):
    found = read_list(ROOT / f"prompts/{name}.tsv")
    pairs = mixed_heads(found)
    assert [pair.shape for pair in pairs] == list(found[:MOST])
    for pair in pairs:
        shape, colour = (described(item.prompt) for item in pair)
        assert shape.shape_only() != colour.shape_only()


@pytest.fixture
def tools(head, renderer, resize_prior, prior_settings) -> RenderTools:
    return RenderTools(head, renderer, resize_prior, prior_settings, "anny", "warp")


def test_a_mixed_head_has_one_shape_and_the_others_texture(head, avatar, tools, monkeypatch):
    small, large = (replace(head.template(1), shape=torch.full((1, 1), size)) for size in (-1.0, 1.0))
    grey = torch.full((3, 8, 8), 0.6)
    truths = {"a": TrueHead(small, avatar.baked_texture), "b": TrueHead(large, grey)}
    monkeypatch.setattr(judge_controls, "true_head", lambda prompt, tags, head: truths[prompt])
    a, b = items("a", "b")
    shown = list(render_mixed([MixedHead(a, b), MixedHead(b, a)], tools, SETTINGS))
    for images, parameters, texture in zip(shown, (small, large), (grey, avatar.baked_texture), strict=True):
        mixed = replace(avatar, shape=parameters.shape[0], latent_texture=None, baked_texture=texture)
        decoded = decode_views(mixed, tools, protocol_cameras(mixed, tools, SETTINGS), SETTINGS.background)
        expected = render_views(mixed, tools, SETTINGS, decoded)["texture"]
        assert np.abs(images.astype(int) - expected).max() <= 1  # textures are rounded to 8 bits, as in files
    assert (shown[0] != 128).sum() < (shown[1] != 128).sum()


class Reader(Judge):
    """A judge of brightness: captions say how bright an image should be."""

    texts: ClassVar = {"dark": [0.0, 1.0], "bright": [1.0, 0.0]}

    def embed_texts(self, texts, batch=1):
        return np.array([self.texts[text] for text in texts])

    def embed_images(self, images, batch=1):
        bright = images.reshape(len(images), -1).mean(axis=1) / 255
        return np.stack((bright, 1 - bright), axis=1)


READER = Reader("reader", "reader", torch.nn.Identity(), {}, len, len)


def test_a_head_counts_by_the_mean_of_its_views():
    dark, bright = items("dark", "bright")
    mostly_bright = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (255, 255, 255, 0)])
    slightly_dark = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (140, 140, 0, 140)])
    pairs = [MixedHead(dark, bright), MixedHead(dark, bright), MixedHead(bright, dark)]
    found = followed_colour(READER, pairs, [mostly_bright, slightly_dark, slightly_dark])
    assert (found.judge, found.n) == ("reader", 3)
    assert found.followed_colour == pytest.approx(2 / 3)  # the first and the last
    assert found.followed_colour_views == pytest.approx((3 + 3 + 1) / 12)
    assert found.followed_colour_low == pytest.approx(0.208, abs=1e-3)  # Wilson, 2 of 3
    assert found.followed_colour_high == pytest.approx(0.939, abs=1e-3)


def test_a_tie_does_not_follow_colour():
    dark, bright = items("dark", "bright")
    grey = np.tile(np.array([[0, 255], [255, 0]], np.uint8)[None, :, :, None], (3, 1, 1, 3))
    assert followed_colour(READER, [MixedHead(dark, bright)], [grey]).followed_colour == 0


METHODS = {
    "full": MethodSettings(),
    "best": MethodSettings(source="oracle"),
    "true_shape": MethodSettings(source="true_shape"),
}


@pytest.fixture
def section(tmp_path):
    """A function that writes tables and returns the section."""

    def make(methods, mixed):
        lines = [
            {"method": method, "judge": judge, "track": track, "r_at_1": rate, "r_at_1_low": 0.1, "r_at_1_high": 0.99}
            for judge in ("one", "two")
            for method, rate in (("full", 0.5), ("best", 0.9), ("true_shape", 0.25))
            for track in ("geometry", "texture")
        ]
        write_table(pd.DataFrame(lines), tmp_path, "clip_r")
        write_table(to_frame(mixed), tmp_path, TABLE)
        return judge_section(methods, tmp_path)

    return make


def test_the_section_finds_controls_by_their_source(section):
    row = judge_controls.FollowedColour("two", 7, 6 / 7, 0.49, 0.97, 0.75)
    found = section(METHODS, [row])
    assert found.tracks == ["texture", "geometry"]
    one, two = found.cards
    assert [line.method for line in one.lines] == ["best", "true_shape"] and one.followed is None
    assert two.lines[0].cells == ["90 (10–99)", "90 (10–99)"]
    assert (two.followed["n"], two.followed["followed_colour"], two.followed["followed_colour_views"]) == (
        "7",
        "86",
        "75",
    )


def test_without_controls_there_is_no_section(section):
    assert section({"full": MethodSettings()}, []) is None
