"""Words that the shipped models have read: exactly those of their training captions."""

import numpy as np
import open_clip
import pytest
from transformers import CLIPTokenizer

from avatargen.config.places import ROOT
from avatargen.config.prompts import read_list
from avatargen.headworld.attributes import sample
from avatargen.headworld.phrases import caption
from avatargen.headworld.vocabulary import unknown_words, vocabulary
from avatargen.priors.view_prompts import ALL_NAMES


def test_words_are_those_of_training_captions():
    rng = np.random.default_rng(3)
    lines = [caption(sample(rng), rng=rng) for _ in range(6_000)]
    said = {word for line in (*lines, *ALL_NAMES) for word in line.replace(",", " ").replace("-", " ").split()}
    assert said == vocabulary()


def test_the_documentation_counts_the_words():
    assert f"have met {len(vocabulary())}\nwords" in (ROOT / "docs/closed-world.md").read_text(encoding="utf-8")


def test_names_of_views_are_known():
    assert {word for name in ALL_NAMES for word in unknown_words(name)} == set()


@pytest.mark.parametrize("name", ["embedded", "embedded-study", "extreme", "gate", "study"])
def test_prompts_of_the_closed_world_are_known(name):
    items = read_list(ROOT / "prompts" / f"{name}.tsv")
    assert {word for item in items for word in unknown_words(f"{item.prompt} {item.geometry}")} == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("a man", ()),
        ("the man", ("the",)),
        ("Barack Obama, barack's HAIR", ("barack", "obama", "barack's")),
        ("a man with tan skin", ("tan",)),
        ("clown make-up, a blue-eyed girl", ("eyed",)),
        ("a man_with été 3", ("été", "3")),
        ("...", ()),
    ],
)
def test_unknown_words_in_order_and_once(text, expected):
    assert unknown_words(text) == expected


def test_case_and_punctuation_of_known_words_do_not_matter():
    """The models' own tokenizers read both texts alike, so that neither may count as unknown."""
    plain, other = "a smiling man with green skin", "A SMILING man  with Green skin"
    prior = CLIPTokenizer.from_pretrained(ROOT / "avatargen/weights/prior/tokenizer")
    judge = open_clip.get_tokenizer(f"local-dir:{ROOT / 'avatargen/weights/judge'}")
    assert prior(plain).input_ids == prior(other).input_ids
    assert np.array_equal(judge([plain]), judge([other]))
    assert unknown_words(other) == ()
