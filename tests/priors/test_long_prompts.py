"""Prompts that are too long: the view stays, and it is said once."""

import pytest

from avatargen.priors.long_prompts import truncate_to_fit
from avatargen.priors.view_prompts import LATENT_PAINT


def at_most(length: int):
    return lambda text: len(text) <= length


def test_what_fits_stays_as_it_is(caplog):
    assert truncate_to_fit("a man,  side view", at_most(17), "test 0") == "a man,  side view"
    assert not caplog.records


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
    assert truncate_to_fit(text, at_most(length), "test 1") == expected


def test_a_prompt_is_warned_of_once_whatever_its_view(caplog):
    for name in LATENT_PAINT.names * 2:
        truncate_to_fit(f"a man with a beard, {name}", at_most(20), "test 2")
    assert [record.getMessage() for record in caplog.records] == [
        "test 2: the end of 'a man with a beard' is left out; expected a prompt that its text encoder holds"
    ]
