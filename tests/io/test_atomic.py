"""Atomic writes leave a whole file or none."""

import errno
import json

import pytest

from avatargen.io.atomic import DiskFullError, is_full, read_json, replacing, write_json


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


def test_only_writer_removes_partial_files_of_killed_processes(tmp_path):
    target, stale, other = tmp_path / "a.npz", tmp_path / ".partial-0a-a.npz", tmp_path / ".partial-0a-b.npz"
    stale.touch(), other.touch()
    with replacing(target) as partial:
        partial.touch()
    assert stale.exists()
    with replacing(target, only_writer=True) as partial:
        partial.touch()
    assert not stale.exists() and other.exists()


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
