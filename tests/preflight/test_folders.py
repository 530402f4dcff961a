"""Folders that a run cannot write into are sentences."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from avatargen.preflight.folders import folder_problems, writing_problems


def test_folders_that_are_there_or_may_be_made_are_fine(tmp_path):
    (tmp_path / "there").mkdir()
    folders = [tmp_path / "there", tmp_path / "new" / "deep"]
    assert folder_problems(folders) == [] and not folders[1].exists()
    assert writing_problems(folders) == [] and folders[1].is_dir() and not list(folders[0].iterdir())


@pytest.mark.parametrize("kind", ["a file", "a link to nothing"])
def test_what_is_in_the_way_is_named(tmp_path, kind):
    path = tmp_path / "results"
    path.touch() if kind == "a file" else path.symlink_to(tmp_path / "gone")
    for folder in (path, path / "embedded"):
        (problem,) = folder_problems([folder])
        assert problem.startswith(f"{path}: got {kind}; expected a folder")


def test_folders_that_cannot_be_written_are_named(tmp_path):
    """The kernel's own files cannot be written by anybody, not even by root."""
    (problem,) = writing_problems([Path("/proc/self/avatars")])
    assert problem.startswith("/proc/self/avatars: cannot be written (")


def test_missing_locks_are_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (problem,) = writing_problems([tmp_path])
    assert "without file locks (No locks available)" in problem
