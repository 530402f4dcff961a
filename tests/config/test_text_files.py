"""Text files and tables are read as editors and spreadsheets save them."""

import os
from pathlib import Path

import pytest

from avatargen.config.errors import InputError
from avatargen.config.prompts import find_list, list_names, read_list
from avatargen.config.text_files import read_table, read_text
from tests.user_folder import problems_of

QUOTED = 'id\tprompt\r\nh\t"a man with a ""big"" nose, and ears"\r\n'
PLAIN = [("h", "a man, smiling"), ("k", "a woman")]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def prompts_of(path: Path) -> list[tuple[str, str]]:
    return [(item.item, item.prompt) for item in read_list(path)]


def test_quotes_of_spreadsheets_are_read(tmp_path):
    assert prompts_of(write(tmp_path, "q.tsv", QUOTED)) == [("h", 'a man with a "big" nose, and ears')]


def test_quotes_within_a_plain_cell_stay(tmp_path):
    assert prompts_of(write(tmp_path, "q.tsv", 'id\tprompt\nh\ta "big" nose\n')) == [("h", 'a "big" nose')]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('h\t"a\nman"\nk\ta woman\n', ":2: a cell holds a line break; expected each row on one line"),
        ('k\ta woman\nh\t"a man\n', ":3: a quoted cell has no closing quote"),
        ('h\t"a" man\n', ":2: text follows a closing quote; expected quotes within a quoted cell doubled"),
    ],
)
def test_quotes_that_go_wrong_are_named_by_line(tmp_path, content, message):
    (problem,) = problems_of(read_list, write(tmp_path, "q.tsv", f"id\tprompt\n{content}"))
    assert message in problem


def test_rows_after_a_line_break_are_checked_too(tmp_path):
    content = 'id\tprompt\nh\t"a\nman"\n# a comment\nb b\ta woman\n'
    problems = problems_of(read_list, write(tmp_path, "q.tsv", content))
    assert [problem.split(":")[1] for problem in problems] == ["2", "5"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_in_any_way(tmp_path, end):
    table = end.join(["id\tprompt", "# comment", "h\ta man, smiling", "", "k\ta woman", ""])
    assert prompts_of(write(tmp_path, "q.tsv", table)) == PLAIN
    assert [prompt for _, prompt in prompts_of(write(tmp_path, "t.txt", f"a man, smiling{end}a woman"))] == [
        prompt for _, prompt in PLAIN
    ]
    (problem,) = problems_of(read_list, write(tmp_path, "w.tsv", end.join(["id\tprompt", "h\ta", "i i\tb"])))
    assert ":3: id 'i i' is not safe" in problem


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_are_read(tmp_path, encoding):
    content = "id\tprompt\r\nh\tein Mädchen mit 緑 Haut\r\n".encode(encoding)
    assert prompts_of(write(tmp_path, "q.tsv", content)) == [("h", "ein Mädchen mit 緑 Haut")]


@pytest.mark.parametrize(
    ("text", "encoding", "names"),
    [
        ("a man with a café au lait skin, and a façade", "cp1252", ("cp1252",)),
        ("старик с зелёной кожей", "cp1251", ("cp1251",)),
        ("緑色の肌をした老人の頭部、白いひげ", "shift_jis", ("cp932", "shift-jis")),
    ],
)
def test_other_encodings_are_named(tmp_path, text, encoding, names):
    (problem,) = problems_of(read_list, write(tmp_path, "q.tsv", f"id\tprompt\nh\t{text}\n".encode(encoding)))
    assert ":2: not UTF-8: byte 0x" in problem and problem.endswith("; save it as UTF-8")
    assert any(f"which looks like {name};" in problem for name in names)


def test_utf16_without_a_mark_is_named(tmp_path):
    (problem,) = problems_of(read_text, write(tmp_path, "q.tsv", "id\tprompt\n".encode("utf-16-le")))
    assert "q.tsv:1: holds NUL bytes, as UTF-16 without a byte order mark" in problem


def test_half_a_utf16_file_is_named(tmp_path):
    (problem,) = problems_of(read_text, write(tmp_path, "q.tsv", "id\tprompt".encode("utf-16")[:-1]))
    assert "begins as UTF-16 but is not all so" in problem


def test_comma_separated_lists_are_read(tmp_path):
    path = write(tmp_path, "q.csv", 'id,prompt\nh,"a man, smiling"\nk,a woman,\n')
    assert prompts_of(path) == PLAIN and find_list("q", [tmp_path]) == path and list_names([tmp_path]) == ["q"]
    write(tmp_path, "q.tsv", "id\tprompt\n")
    assert "got both q.tsv and q.csv" in problems_of(find_list, "q", [tmp_path])[0]


@pytest.mark.parametrize(
    ("name", "header", "message"),
    [
        ("q.csv", "id;prompt", "separated by semicolons; expected commas in a .csv file"),
        ("q.csv", "id\tprompt", "separated by tabs; expected commas in a .csv file"),
        ("q.tsv", "id,prompt", "separated by commas; expected tabs in a .tsv file"),
    ],
)
def test_another_separator_is_named(tmp_path, name, header, message):
    (problem,) = problems_of(read_list, write(tmp_path, name, f"{header}\n"))
    assert f"{name}:1: the header is {message}" in problem


def test_columns_beyond_the_header_may_be_empty(tmp_path):
    """Spreadsheets end every row where the longest one does."""
    rows, problems = read_table(write(tmp_path, "q.tsv", "id\tprompt\t\nh\ta man\t\n"))
    assert [row.cells for row in rows] == [["id", "prompt", ""], ["h", "a man", ""]] and problems == []
    assert prompts_of(tmp_path / "q.tsv") == [("h", "a man")]


def test_what_is_no_file_is_named(tmp_path):
    """Reading a pipe would block for ever, and a device would never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    found = [problems_of(read_text, tmp_path / name)[0] for name in ("pipe", "loop", "zero", "folder")]
    parts = ("got a named pipe; expected a file", "not readable: ", "got a device; expected a file", "got a folder")
    assert [part in line for part, line in zip(parts, found, strict=True)] == [True] * 4


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "sparse.txt").open("w") as file:
        file.truncate(8 * 2**30)
    assert "got 8,589,934,592 bytes; expected at most 67,108,864" in problems_of(read_text, tmp_path / "sparse.txt")[0]


@pytest.mark.parametrize("name", ["../secret", "a/b", "x" * 101, "", ".hidden", "a\nb", "{x}", "é" * 60])
def test_names_of_lists_that_are_no_names_are_refused(tmp_path, name):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "secret.txt").write_text("a man\n")
    with pytest.raises(InputError, match=r"got the name .* expected at most 100 letters"):
        find_list(name, [tmp_path / "prompts"])


def test_a_list_that_is_a_pipe_or_a_loop_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "loop.tsv").symlink_to("loop.tsv")
    for name in ("pipe", "loop"):
        assert "got a folder, a pipe or a broken link; expected a file" in problems_of(find_list, name, [tmp_path])[0]
    assert list_names([tmp_path]) == []
