"""Fixtures for tests of the runtime and the workflow."""

import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
if not os.environ.get("AVATARGEN_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # many tests compare bits, which must be the same on every machine
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # or each look-up of a missing model tries for half a minute

import pytest

from avatargen.config.experiment import RunConfig
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.runtime.ray_head import spawn
from avatargen.runtime.worker_pool import ExecutionSettings, WorkerPool
from tests.small_weights import CLIP_CONFIG, WEIGHTS
from tests.user_folder import write_yaml


def small_run(name="full", batch_size=2, steps=2, **method):
    """Return a resolved configuration that needs no files."""
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


@pytest.fixture
def make_run():
    """The function that makes configurations."""
    return small_run


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

    One per test process, since Ray keeps the first token that a process was given. Its workers stay from test to test.
    A test that harms the head starts one of its own, in a process of its own.
    """
    folder = tmp_path_factory.mktemp("head")
    process = spawn(folder / "ray.json", 2, False, folder / "ray.log")
    yield folder / "ray.json"
    process.terminate()
    process.wait(30)


@pytest.fixture
def no_workers(running_head):
    """The running head without the workers of earlier tests, which would hold its cores."""
    ray = WorkerPool.join(ExecutionSettings("ray", threads=1, head_file=running_head)).ray
    for name in ray.util.list_named_actors():
        ray.kill(ray.get_actor(name))
    ray.shutdown()


@pytest.fixture
def place(workplace):
    """A working directory with its own experiment, list, prior and judge, all of them right."""
    prior, judge = workplace / "prior", workplace / "judge"
    for part in ("unet", "vae", "text_encoder"):
        (prior / part).mkdir(parents=True)
        (prior / part / "model.safetensors").write_bytes(WEIGHTS)
        (prior / part / "config.json").write_text(json.dumps({"sample_size": 64}))
    (prior / "scheduler").mkdir()
    (prior / "scheduler/scheduler_config.json").write_text(json.dumps({"prediction_type": "epsilon"}))
    (prior / "model_index.json").write_text(json.dumps({"unet": [], "vae": [], "text_encoder": []}))
    judge.mkdir()
    (judge / "open_clip_config.json").write_text(CLIP_CONFIG)
    (judge / "open_clip_model.safetensors").write_bytes(WEIGHTS)
    config = workplace / "workflow/config"
    config.mkdir(parents=True)
    write_yaml(config / "priors.yaml", own={"path": str(prior)})
    write_yaml(config / "judges.yaml", own={"model": str(judge)})
    write_yaml(config / "mine.yaml", lists=["few"], methods=["full"], prior="own", judges=["own"], seeds=[0, 1])
    (workplace / "prompts").mkdir()
    (workplace / "prompts/few.txt").write_text("a man\na woman\n")
    return workplace
