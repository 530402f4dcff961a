"""Captions say what a head is, and are understood as they were meant."""

import numpy as np
import pytest

from avatargen.headworld.attributes import Attributes, caption, parse, sample
from avatargen.headworld.pools import negatives, shape_captions


def test_every_caption_is_understood():
    rng = np.random.default_rng(5)
    for _ in range(500):
        head = sample(rng)
        assert parse(caption(head)) == head


def test_what_is_unsaid_is_the_templates():
    assert parse("a man") == Attributes()
    assert parse("an elderly lady with pink hair") == Attributes(age="old", sex="woman", hair_colour="pink")


@pytest.mark.parametrize("text", ["a purple monkey", "a man with plaid skin", "green", ""])
def test_other_worlds_are_not_guessed_at(text):
    assert parse(text) is None


def test_captions_of_shape_name_no_colour():
    rng = np.random.default_rng(6)
    colours = ("green", "blue", "pink", "white", "black", "skin", "golden", "dark", "pale")
    for _ in range(100):
        text = caption(sample(rng).shape_only(), colours=False)
        assert not any(word in text.split() for word in colours)


def test_negatives_differ_in_one_attribute():
    head = Attributes(age="old", skin="green", beard="full", beard_colour="white")
    for text in negatives(head, np.random.default_rng(0), 6):
        other = parse(text)
        assert other is not None
        assert sum(getattr(head, name) != getattr(other, name) for name in vars(head)) == 1


def test_shape_captions_are_distinct_and_begin_with_the_own():
    texts = shape_captions(["a man", "a man", "a girl"], np.random.default_rng(0), 12)
    assert texts[:2] == ["a man", "a girl"]
    assert len(set(texts)) == len(texts) == 12
