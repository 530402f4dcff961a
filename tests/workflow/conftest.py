"""The small study, run once for all tests; each test goes on from a copy of its folder."""

import os
import shutil

import pytest

from avatargen.io.atomic import one_at_a_time
from tests.workflow.small_study import run, write_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a study that has run, and the run's output in it; one for all test processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "study"
    with one_at_a_time(folder):
        if not (folder / "output.txt").exists():
            write_study(folder)
            (folder / "output.txt").write_text(run(folder))
    return folder


@pytest.fixture
def place(finished, tmp_path):
    """A copy of the finished study."""
    return shutil.copytree(finished, tmp_path / "study")
