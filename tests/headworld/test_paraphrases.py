"""Mild rewordings keep the head, use words that the shipped models never read, and fit what these can read."""

from collections import defaultdict
from shutil import copy

import numpy as np
import pytest
from transformers import CLIPTokenizer

from avatargen.config.places import ROOT
from avatargen.config.pools import TRACKS
from avatargen.config.prompts import pools_of, read_list
from avatargen.headworld.attributes import sample
from avatargen.headworld.paraphrases import REWORDINGS, reword, write_paraphrases
from avatargen.headworld.phrases import caption, described, parse, tag_problems
from avatargen.headworld.pools import read_rivals_of
from avatargen.headworld.vocabulary import unknown_words
from avatargen.priors.view_prompts import VIEW_WORDS, with_view

PLAIN, REWORDED = (ROOT / "prompts" / f"{name}.tsv" for name in ("embedded", "embedded-paraphrases"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("an afro", "big curls"),
        ("a man with a blue afro and blue hair", "a grown man with big blue curls and hair in blue"),
        ("an old man with an afro", "a grandad with big curls"),
        ("a woman with a beard and a long pink beard", "a grown woman with a beard and a long beard in pink"),
        ("a smiling fat baby boy", "a jolly stout baby lad"),
        ("the Joker", "the Joker"),
    ],
)
def test_phrases_are_reworded(text, expected):
    assert reword(text) == expected


@pytest.mark.parametrize("colours", [True, False])
def test_captions_of_other_heads_stay_other(colours):
    rng = np.random.default_rng(5)
    texts = {caption(sample(rng), colours) for _ in range(1500)}
    said = defaultdict(set)
    for text in texts:
        said[reword(text)].add(text)
    assert len(texts) > 500 and {len(same) for same in said.values()} == {1}
    assert all(unknown_words(text) for text in said)
    assert [text for text in said if parse(text) is not None] == []


def test_every_rewording_occurs_in_the_pools():
    rows = "\n".join(text for texts in read_rivals_of(REWORDED).values() for text in texts)
    for phrase, other in REWORDINGS.items():
        parts = other.split("{colour}")
        assert all(part.strip() in rows for part in parts), phrase


def test_heads_of_the_reworded_list_are_those_of_the_list():
    plain, reworded = read_list(PLAIN), read_list(REWORDED, tag_problems)
    assert len(reworded) == 12
    for one, other in zip(plain, reworded, strict=True):
        assert described(other.prompt, other.tags) == parse(one.prompt) and parse(other.prompt) is None
        assert (other.item, other.geometry) == (one.item, reword(one.geometry or ""))
        assert unknown_words(other.prompt) and unknown_words(other.geometry or "")


def test_reworded_pools_have_as_many_captions():
    plain, reworded = read_rivals_of(PLAIN), read_rivals_of(REWORDED)
    sizes = {track: {len(texts) for (_, of), texts in reworded.items() if of == track} for track in TRACKS}
    assert plain.keys() == reworded.keys() and sizes == {track: {23} for track in TRACKS}


def test_prompts_fit_the_prior_with_any_view():
    """So that the list measures words, not truncation; judges read as many tokens."""
    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "avatargen/weights/prior/tokenizer")
    texts = [with_view(item.prompt, view) for item in read_list(REWORDED) for view in VIEW_WORDS["sectors"].names]
    assert max(map(len, tokenizer(texts).input_ids)) <= tokenizer.model_max_length


def test_the_list_is_written_as_it_is_committed(tmp_path):
    for file in (PLAIN, pools_of(PLAIN)):
        copy(file, tmp_path)
    made = write_paraphrases(tmp_path / PLAIN.name)
    for file, committed in ((made, REWORDED), (pools_of(made), pools_of(REWORDED))):
        assert file.read_bytes() == committed.read_bytes()


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (("truth=tags", "hair=bald"), None),
        (("hair=bold",), None),
        (("truth=tags", "hare=bald"), "unknown attribute 'hare'; did you mean 'hair'?"),
        (("truth=tags", "hair=bold"), "unknown hair 'bold'; did you mean 'bald'?"),
        (("truth=tags", "hair=bald", "hair=bun"), "got a second hair"),
    ],
)
def test_tags_that_describe_a_head_are_checked(tags, problem):
    found = tag_problems(tags)
    assert problem in found[0] if problem else found == []
    if problem:
        with pytest.raises(ValueError, match="tags of 'a man'"):
            described("a man", tags)
