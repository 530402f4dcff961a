"""Pools files: what is read, and every way in which one can be wrong."""

import pytest

from avatargen.config.errors import InputError
from avatargen.config.pools import TRACKS, read_rivals
from avatargen.config.prompts import list_names, pools_of

HEADER = "id\ttrack\tcaption\n"
OWN = {(item, track): f"own {item}" for item in ("a", "b") for track in TRACKS}
GOOD = "".join(f"{item}\t{track}\trival {item}\n" for item, track in OWN)


def problems_of(tmp_path, content):
    path = tmp_path / "few.pools.tsv"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_rivals(path, OWN)
    return [line.removeprefix(str(path)) for line in caught.value.problems]


def test_rivals_are_read_in_order(tmp_path):
    path = tmp_path / "few.pools.tsv"
    path.write_text("# a comment\n" + HEADER + GOOD + "\na\ttexture\t a green man \n")
    found = read_rivals(path, OWN)
    assert found["a", "texture"] == ("rival a", "a green man") and found["b", "geometry"] == ("rival b",)
    assert set(found) == set(OWN)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c\ttexture\tx", "id: unknown id 'c'"),
        ("a\ttextur\tx", "track: unknown track 'textur'; did you mean 'texture'?"),
        ("a\ttexture\town a", "got 'own a', the own caption of 'a' in texture; expected only others"),
        ("a\ttexture\trival a", "duplicate caption 'rival a' of 'a' in texture; first on line 2"),
        ("a\ttexture\t", "the caption is empty"),
        ("a\ttexture\tbell \x07", "caption holds the control character U+0007"),
        ("a\ttexture\t" + "x" * 301, "caption of 301 characters; expected at most 300"),
        ("a\ttexture", "2 columns; expected 3"),
    ],
)
def test_each_wrong_line_is_named(tmp_path, line, message):
    (problem,) = problems_of(tmp_path, f"{HEADER}{GOOD}{line}\n")
    assert problem.startswith(":8: ") and message in problem


def test_prompts_without_captions_are_named_once_for_each_track(tmp_path):
    problems = problems_of(
        tmp_path, HEADER + GOOD.replace("b\tgeometry\trival b\n", "").replace("a\ttexture\t", "a\tx\t")
    )
    assert ["'texture' for a;" in problems[1], "'geometry' for b;" in problems[2], len(problems)] == [True, True, 3]


def test_all_problems_come_at_once(tmp_path):
    problems = problems_of(tmp_path, f"{HEADER}{GOOD}c\ttexture\tx\na\ttexture\town a\nb\n")
    assert [problem.split(":")[1] for problem in problems] == ["8", "9", "10"]


@pytest.mark.parametrize("content", ["", "id\ttrack\n", "track\tid\tcaption\na\ttexture\tb\n"])
def test_header_is_checked(tmp_path, content):
    (problem,) = problems_of(tmp_path, content)
    assert "expected" in problem and "id, track, caption" in problem


def test_pools_files_are_no_lists(tmp_path):
    for name in ("few.tsv", "few.pools.tsv", "few.negatives.txt"):
        (tmp_path / name).write_text("")
    assert list_names([tmp_path]) == ["few"] and pools_of(tmp_path / "few.tsv") == tmp_path / "few.pools.tsv"
