"""What tests of the workflow share."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the same on every machine: many compare bits

import pytest

from avatargen.config.experiment import RunConfig
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.runtime.ray_head import spawn


@pytest.fixture
def make_run():
    """Resolved configurations that need no files."""

    def make(name="full", batch_size=2, steps=2, **method):
        return RunConfig(
            method_name=name,
            method=MethodSettings(**{"phase1_steps": steps, "phase2_steps": 0, **method}),
            prior_name="none",
            prior=PriorSettings(path="no/such/prior", texture_size=16),
            head="anny",
            renderer="warp",
            batch_size=batch_size,
            threads=1,
        )

    return make


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty working directory, without a Ray cluster around it."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "AVATARGEN_BOARD", "AVATARGEN_RAY_HEAD", "AVATARGEN_PARENT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def running_head(tmp_path_factory):
    """A Ray head of the workflow's kind for two workers, as its file.

    One for all tests, since Ray keeps the first token that a process was given. The last test of `test_fanout` kills
    it: those that need it come before.
    """
    folder = tmp_path_factory.mktemp("head")
    process = spawn(folder / "ray.json", 2, False, folder / "ray.log")
    yield folder / "ray.json"
    process.terminate()
    process.wait(30)
