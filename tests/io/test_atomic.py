"""Atomic writes leave a whole file or none."""

import errno
import json
import os
import time

import pytest

from avatargen.io.atomic import STALE_S, DiskFullError, is_full, read_json, replacing, write_json


def test_failed_write_leaves_nothing_behind(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with pytest.raises(RuntimeError):
        with replacing(target) as partial:
            partial.write_text("half")
            raise RuntimeError
    assert list(target.parent.iterdir()) == []


def test_write_replaces_the_file_and_keeps_its_suffix(tmp_path):
    target = tmp_path / "deep" / "file.npz"
    for text in ("first", "second"):
        with replacing(target) as partial:
            assert partial.suffix == ".npz"
            partial.write_text(text)
        assert target.read_text() == text
    assert list(target.parent.iterdir()) == [target]


def test_old_partial_files_of_killed_processes_are_removed(tmp_path):
    target = tmp_path / "a.npz"
    stale, young, other = (tmp_path / f".partial-0{name}" for name in ("a-a.npz", "b-a.npz", "a-b.npz"))
    for file in (stale, young, other):
        file.touch()
    old = time.time() - 2 * STALE_S
    os.utime(stale, (old, old)), os.utime(other, (old, old))
    with replacing(target) as partial:
        partial.touch()
    assert not stale.exists() and young.exists() and other.exists()


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    target = tmp_path / "file"
    with replacing(target) as first:
        first.write_text("first")
        with replacing(target) as second:
            second.write_text("second")
    assert target.read_text() == "first" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "\ud800"])
def test_missing_or_damaged_json_reads_as_empty(tmp_path, content):
    path = tmp_path / "facts.json"
    if content is not None:
        path.write_text(content, errors="surrogatepass")
    assert read_json(path) == {}


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "facts.json", {"b": 1, "a": "é"})
    assert read_json(tmp_path / "facts.json") == {"a": "é", "b": 1}
    assert [*json.loads((tmp_path / "facts.json").read_text())] == ["a", "b"]


def test_full_disk_is_recognised_through_causes():
    try:
        try:
            raise OSError(errno.EDQUOT, "quota")
        except OSError as cause:
            raise ValueError("wrapped") from cause
    except ValueError as error:
        assert is_full(error)
    assert is_full(RuntimeError("write failed (os error 28)"))
    assert is_full(DiskFullError("/results"))
    assert not is_full(OSError(errno.EACCES, "denied")) and not is_full(None)
