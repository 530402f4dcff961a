"""Variants of captions have the stated number of unknown words, keep the head, and rivals are worded alike."""

from __future__ import annotations

from shutil import copy

import numpy as np
import pytest
from transformers import CLIPTokenizer

from avatargen.config.places import ROOT
from avatargen.config.pools import TRACKS
from avatargen.config.prompts import pools_of, read_list
from avatargen.headworld.attributes import sample
from avatargen.headworld.out_of_domain import (
    SWAPPED,
    SWAPS,
    VARIANTS,
    rewordings,
    swapped,
    variant_id,
    write_out_of_domain,
)
from avatargen.headworld.phrases import caption, described, parse, tag_problems
from avatargen.headworld.pools import read_rivals_of
from avatargen.headworld.vocabulary import unknown_words
from avatargen.priors.view_prompts import VIEW_WORDS, with_view

LIST, SOURCE = (ROOT / "prompts" / f"{name}.tsv" for name in ("out_of_domain", "embedded"))


def captions(count=400, colours=True):
    rng = np.random.default_rng(3)
    return {caption(sample(rng), colours) for _ in range(count)}


@pytest.mark.parametrize("name", SWAPS)
def test_a_swap_is_one_unknown_word(name):
    """In every caption of the closed world that names the attribute, and no other caption changes."""
    said = {text: swapped(text, [name]) for text in captions()}
    counts = {len(unknown_words(other)) for text, other in said.items() if other != text}
    repeated = name in ("skin", "hair")  # hair and beard colours may name hair twice; words count once
    assert counts == {1} or (repeated and counts <= {1, 2})
    assert {len(unknown_words(other)) for text, other in said.items() if other == text} <= {0}


def test_swapped_captions_stay_apart():
    texts = captions(1500)
    assert len({swapped(text, list(SWAPS)) for text in texts}) == len(texts) > 500


def test_variants_have_their_number_of_unknown_words():
    found = [rewordings(text) for text in captions()]
    assert sum(map(bool, found)) > 100
    for text in captions():
        for variant, reword in rewordings(text).items():
            assert len(unknown_words(reword(text))) == variant.number
            assert (reword(text) == text) == (variant.number == 0)


def test_more_words_swap_more_of_the_same_attributes():
    text = "a smiling fat girl with brown skin, a black afro and a long nose"
    found = {
        variant.number: set(reword.attributes) for variant, reword in rewordings(text).items() if reword.attributes
    }
    assert found[1] < found[2] < found[4] and len(found[4]) == 4


def test_captions_with_few_attributes_have_no_variants():
    assert rewordings("a man") == {}


def test_the_list_has_every_variant_of_eight_heads():
    ids = {item.item for item in read_list(LIST, tag_problems)}
    heads = dict.fromkeys(name.split(".")[0] for name in ids)
    assert ids == {variant_id(head, variant) for head in heads for variant in VARIANTS} and len(heads) == 8


def test_variants_show_the_head_of_their_source():
    sources = {item.item: item for item in read_list(SOURCE)}
    for item in read_list(LIST, tag_problems):
        source = sources[item.item.split(".")[0]]
        assert described(item.prompt, item.tags) == parse(source.prompt)
        assert len(unknown_words(item.prompt)) == int(item.item.split(".")[-1])


def test_plain_variants_are_avatars_of_the_source():
    """The same prompt and tags have the same fingerprint, so they are not made again."""
    sources = {(item.prompt, item.tags) for item in read_list(SOURCE)}
    plain = [item for item in read_list(LIST) if item.item.endswith(".plain.0")]
    assert {(item.prompt, item.tags) for item in plain} < sources


def test_rivals_are_worded_like_the_prompt():
    """Rivals of an addition have the same words; no rival of a swap names a swapped attribute in known words."""
    rivals, items = read_rivals_of(LIST), {item.item: item for item in read_list(LIST)}
    plain = {key: texts for key, texts in rivals.items() if key[0].endswith(".plain.0")}
    for name in items:
        head, kind, number = name.split(".")
        for track in TRACKS:
            own = rivals[name, track]
            assert len(own) == 23
            if kind == "added":
                assert all(len(unknown_words(text)) == int(number) for text in own)
            reword = next(
                r for v, r in rewordings(items[f"{head}.plain.0"].prompt).items() if variant_id(head, v) == name
            )
            assert own == tuple(map(reword, plain[f"{head}.plain.0", track]))
            if kind == SWAPPED:
                assert all(swapped(text, reword.attributes) == text for text in own if "two horns" not in text)


def test_no_prompt_is_truncated():
    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "avatargen/weights/prior/tokenizer")
    texts = [with_view(item.prompt, view) for item in read_list(LIST) for view in VIEW_WORDS["sectors"].names]
    assert max(map(len, tokenizer(texts).input_ids)) <= tokenizer.model_max_length


def test_writing_again_gives_the_same_files(tmp_path):
    for file in (SOURCE, pools_of(SOURCE)):
        copy(file, tmp_path)
    other = write_out_of_domain(tmp_path / SOURCE.name, 8)
    assert other.read_text() == LIST.read_text()
    assert pools_of(other).read_text() == pools_of(LIST).read_text()
