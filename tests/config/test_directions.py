"""Text with a direction is isolated: nothing of it reaches what stands beside it."""

import unicodedata

import pytest

from avatargen.config.directions import isolated

RLO, RLI, PDI, PDF, FSI = "\u202e", "\u2067", "\u2069", "\u202c", "\u2068"


@pytest.mark.parametrize("text", ["a man", "ein Mädchen", "緑色の肌", ""])
def test_text_without_a_direction_stays(text):
    assert isolated(text) == text


@pytest.mark.parametrize(
    "text", [f"a {RLO}man", f"{RLI}a", f"a{PDI}{RLO}b", f"{PDI}{PDI}{RLI}{RLI}x{PDI}", "رجل عجوز", "זקן"]
)
def test_isolation_ends_where_the_text_does(text):
    """By the algorithm's pairs of initiators and terminators (UAX 9, BD9), counted anew here."""
    whole, depth = isolated(text), 0
    for position, letter in enumerate(whole):
        depth += unicodedata.bidirectional(letter) in ("FSI", "LRI", "RLI")
        depth -= letter == PDI
        assert depth > 0 or position == len(whole) - 1
    assert depth == 0 and whole[0] == FSI and whole[-1] == PDI
    assert [letter for letter in whole if letter not in (FSI, PDI)] == [letter for letter in text if letter != PDI]
