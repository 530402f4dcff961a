"""Prompt lists: both formats, and every way in which one can be wrong."""

import hashlib
import re
from dataclasses import replace

import pytest

from avatargen.config.errors import InputError
from avatargen.config.prompts import (
    MAX_PROMPT,
    PromptItem,
    draw_key,
    find_list,
    read_captions,
    read_list,
    slug,
    with_seeds,
)

HEADER = "id\tprompt\ttags\tgeometry\n"


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def problems_of(path):
    with pytest.raises(InputError) as caught:
        read_list(path)
    return caught.value.problems


def test_a_table_is_read(tmp_path):
    path = write(tmp_path, "mine.tsv", HEADER + "a\tan old man\tage=old;skin=green\ta man\n\n# no\nb\ta girl\t\t\n")
    first, second = read_list(path)
    assert first == PromptItem("mine", "a", "an old man", ("age=old", "skin=green"), "a man", 0)
    assert second == PromptItem("mine", "b", "a girl", (), None, 0)


def test_a_text_is_read_and_its_ids_do_not_depend_on_the_line(tmp_path):
    plain = read_list(write(tmp_path, "a.txt", "\ufeffan old man\r\n# comment\r\n\r\na girl\r\n"))
    assert [item.prompt for item in plain] == ["an old man", "a girl"]
    moved = read_list(write(tmp_path, "a.txt", "a boy\nan old man\na girl\n"))
    assert [item.item for item in moved[1:]] == [item.item for item in plain]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x y\ta\t\t", "id 'x y' is not safe as a file name"),
        ("../up\ta\t\t", "id '../up' is not safe"),
        ("CON\ta\t\t", "id 'CON' is not safe"),
        (".hidden\ta\t\t", "id '.hidden' is not safe"),
        ("\ta\t\t", "id '' is not safe"),
        ("b\t\t\t", "the prompt is empty"),
        ("b\t" + "x" * (MAX_PROMPT + 1) + "\t\t", f"prompt of {MAX_PROMPT + 1} characters; expected at most"),
        ("b\tbell \x07\t\t", "prompt holds the control character U+0007"),
        ("b\tline\u2028end\t\t", "prompt holds the control character U+2028"),
        ("b\ta\tyoung\t", "tag 'young': expected key=value"),
        ("b\ta\t\t\t\textra", "6 columns; expected 4"),
        ("ok\tsomething else\t\t", "duplicate id 'ok'; first on line 2"),
        ("OK\tsomething else\t\t", "duplicate id 'OK'; first on line 2"),
        ("b\tFine\t\t", "duplicate prompt 'Fine'; first on line 2"),
    ],
)
def test_each_wrong_line_is_named(tmp_path, line, message):
    path = write(tmp_path, "mine.tsv", HEADER + "ok\tfine\t\t\n" + line + "\n")
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}:3: ") and message in problem


def test_all_problems_come_at_once(tmp_path):
    problems = problems_of(write(tmp_path, "m.tsv", HEADER + "a b\tone\t\t\nc\t\t\t\nd\tone\t\t\n"))
    assert [re.search(r":(\d+):", problem)[1] for problem in problems] == ["2", "3", "4"]


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n"])
def test_an_empty_list_is_an_error(tmp_path, content):
    assert "empty" in problems_of(write(tmp_path, "a.txt", content))[0]
    assert "empty" in problems_of(write(tmp_path, "a.tsv", HEADER + content))[0]


def test_not_utf8_says_where(tmp_path):
    assert ":2: not UTF-8: byte 0xe9" in problems_of(write(tmp_path, "a.txt", b"fine\ncaf\xe9\n"))[0]


def test_captions_skip_blank_and_comment_lines(tmp_path):
    path = tmp_path / "list.negatives.txt"
    path.write_text("# swapped\n\n a pale baby \n", encoding="utf-8-sig")
    assert read_captions(path) == ("a pale baby",)


def test_columns_are_checked(tmp_path):
    problems = problems_of(write(tmp_path, "a.tsv", "id\tpromt\ttags\na\tb\t\n"))
    assert "unknown column 'promt'; did you mean 'prompt'?" in problems[0]
    assert "missing column 'prompt'" in problems[1]


def test_tags_are_optional(tmp_path):
    (item,) = read_list(write(tmp_path, "a.tsv", "id\tprompt\na\ta man\n"))
    assert (item.item, item.prompt, item.tags, item.geometry) == ("a", "a man", (), None)


def test_lists_are_found_by_name(tmp_path):
    path = write(tmp_path, "embedded.txt", "a\n")
    write(tmp_path, "embedded.negatives.txt", "b\n")
    with pytest.raises(InputError, match=r"expected one of: embedded$"):
        find_list("something", [tmp_path])
    assert find_list("embedded", [tmp_path / "none", tmp_path]) == path
    with pytest.raises(InputError, match="did you mean 'embedded'"):
        find_list("embeded", [tmp_path])
    write(tmp_path, "embedded.tsv", HEADER)
    with pytest.raises(InputError, match="expected one of them"):
        find_list("embedded", [tmp_path])


def test_keys_tell_prompts_and_seeds_apart():
    """The first is SHA-256 of the two, by hand: its first 64 bits without the last."""
    keys = {(prompt, seed): draw_key(prompt, seed) for prompt in ("a man", "a woman", "a man\n1") for seed in (0, 1, 2)}
    assert keys["a man", 0] == int(hashlib.sha256(b"a man\n0").hexdigest()[:16], 16) // 2
    assert len(set(keys.values())) == 9 and all(0 <= key < 2**63 for key in keys.values())
    item = PromptItem("list", "a", "a man", seed=2)
    assert item.key == replace(item, list="other", item="b", tags=("x=y",), geometry="a head").key == keys["a man", 2]


def test_ids_are_safe_and_tell_prompts_and_seeds_apart():
    nasty = PromptItem("l", "i", "../<b>Öl & 日本</b>" + "x" * 200)
    assert re.fullmatch(r"[a-z0-9-]{1,49}", nasty.id)
    one, two = with_seeds([PromptItem("l", "i", "a man")], (0, 1))
    assert one.id != two.id and one.id != PromptItem("l", "i", "a man!").id
    assert PromptItem.from_facts(one.facts()) == one
    assert slug("日本") == "avatar"


@pytest.mark.parametrize("tag", ["truth=no", "truth=None"])
def test_truth_tag_has_two_values(tmp_path, tag):
    """Any other one would be ignored without a word."""
    (problem,) = problems_of(write(tmp_path, "a.tsv", f"{HEADER}a\ta man\t{tag}\t\n"))
    assert f"tag '{tag}': expected 'truth=none' or 'truth=tags'" in problem


def test_there_is_one_truth_tag(tmp_path):
    (problem,) = problems_of(write(tmp_path, "a.tsv", f"{HEADER}a\ta man\ttruth=none;truth=tags\t\n"))
    assert "tags truth=none and truth=tags: expected one of them" in problem
