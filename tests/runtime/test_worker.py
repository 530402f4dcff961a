"""What a worker process keeps loaded, and what it makes of errors."""

import os
import subprocess
import sys
import weakref
from typing import ClassVar

import pytest
import torch

from avatargen.config.places import ROOT
from avatargen.config.prompts import PromptItem
from avatargen.runtime.faults import cause_line, is_lasting, status_of
from avatargen.runtime.model_cache import ModelCache
from avatargen.runtime.task import Task
from avatargen.runtime.worker import Worker
from tests.workflow.fake_calls import read_log


class Model:
    def __init__(self, value=0):
        self.value = value


class Other(Model):
    """Notes which models exist while it is loaded."""

    existing: ClassVar[list] = []

    def __init__(self, *models):
        self.existing[:] = [model() for model in models]


MODEL, OTHER = f"{__name__}:Model", f"{__name__}:Other"


def test_a_model_is_loaded_once_for_its_arguments():
    cache = ModelCache()
    first = cache.get(MODEL, (1,))
    assert cache.get(MODEL, (1,)) is first and first.value == 1
    assert cache.get(MODEL, (2,)).value == 2


def test_models_stay_beside_each_other_unless_one_is_alone():
    """Networks of evaluation stay, and generators do not; memory is free before the next model loads."""
    cache = ModelCache()
    model = weakref.ref(cache.get(MODEL, ()))
    cache.get(OTHER, (model,))
    assert cache.get(MODEL, ()) is model() and Other.existing == [model()]
    Other.existing.clear()
    cache.get(OTHER, (model, model), alone=True)
    assert model() is None and Other.existing == [None, None]
    generator = weakref.ref(cache.get(OTHER, (model, model)))
    cache.get(MODEL, ())
    assert generator() is None


class Loaded:
    """A generator that is its arguments."""

    @classmethod
    def load(cls, *arguments):
        return arguments


def test_methods_with_other_renderers_get_other_generators(make_run):
    """A worker that makes both methods' avatars in turn never renders one with the other's renderer or settings."""
    worker, warp = Worker(threads=1, spec=f"{__name__}:Loaded"), make_run()
    soft = warp.model_copy(update={"renderer": "pytorch3d"})
    wide = soft.model_copy(update={"method": make_run(soft_raster={"sigma": 1e-3}).method})
    for run in (warp, soft, wide, warp):
        _, renderer, _, _, settings = worker._generator(run)
        assert renderer == run.renderer and settings.sigma == (1e-3 if run is wide else 1e-4)
    assert worker._generator(warp) is worker._generator(warp)


def test_a_worker_without_a_gpu_stays_on_the_cpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    ModelCache().get(MODEL, ())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_a_worker_makes_avatars_and_calls(workplace, make_run):
    log, worker = workplace / "log", Worker(1, spec="tests.workflow.fake_generator:FakeGenerator")
    for word in ("one", "two"):
        worker.call("tests.workflow.fake_calls:FakeCalls", (log,), (log, word))
    worker.make(make_run(), [Task(PromptItem("list", "p", "a"), workplace / "avatar", "print")])
    worker.call("tests.workflow.fake_calls:FakeCalls", (log,), (log, "three"))
    assert [word for _, word in read_log(log)] == ["loaded", "one", "two", "loaded", "three"]
    assert (workplace / "avatar/done.json").is_file()


def test_a_replaced_worker_ends_on_a_lasting_gpu_fault(workplace):
    """Without clean-up, and having written why into the avatar's folder."""
    code = """
from pathlib import Path
from avatargen.config.prompts import PromptItem
from avatargen.runtime.task import Task
from avatargen.runtime.worker import Worker
from tests.conftest import small_run
task = Task(PromptItem("list", "p", "faults of the GPU"), Path("avatar"), "print")
Worker(1, spec="tests.workflow.fake_generator:FakeGenerator", replaced=True).make(small_run(), [task])
"""
    ended = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert ended.returncode == 1 and "illegal memory access" in (workplace / "avatar/error.txt").read_text()
    assert not (workplace / "avatar/done.json").exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "out_of_memory"),
        (ValueError("no such prompt"), "error"),
    ],
)
def test_the_status_of_an_error(error, status):
    assert status_of(error) == status and not is_lasting(error)


def test_the_line_that_names_a_lasting_fault():
    text = "Traceback\nRuntimeError: CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA\n"
    assert cause_line(text) == "RuntimeError: CUDA error: device-side assert triggered"
    assert cause_line("first\nlast\n") == "last" and cause_line("") == ""
