"""Prompts that are too long lose words before their view."""

import pytest

from avatargen.priors.long_prompts import truncate_to_fit


def at_most(length: int):
    return lambda text: len(text) <= length


def test_a_prompt_that_fits_is_unchanged():
    assert truncate_to_fit("a man,  side view", at_most(17)) == "a man,  side view"


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("a man with a beard, side view", 28, "a man with a, side view"),
        ("a man with a beard, side view", 21, "a man with, side view"),
        ("a man, old and grey, back view", 19, "a man, back view"),
        ("a man with a beard", 17, "a man with a"),
        ("一位留着长胡子的老人, side view", 15, "一位留着, side view"),
    ],
)
def test_whole_words_go_from_the_end_of_the_prompt(text, length, expected):
    """Of a first word that does not fit, letters go."""
    assert truncate_to_fit(text, at_most(length)) == expected
