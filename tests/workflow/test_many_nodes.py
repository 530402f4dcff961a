"""Clusters of several nodes, with a real Ray: a node that is lost in the middle, workers and their GPUs."""

import os
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil
import pytest

from avatargen.config.places import ROOT
from avatargen.runtime.ray_head import environment
from avatargen.runtime.worker_pool import ExecutionSettings, JobHandler, WorkerPool
from tests.workflow.fake_calls import read_log

EXPERIMENT = """
lists: [few]
methods: [full]
overrides: {phase1_steps: 2, phase2_steps: 8, mask_period: 4, mask_views: 1}
batch_size: 1
cpus_per_worker: 1
max_failed_fraction: 0
evaluation: {views: 2, size: 64, samples: 1, turntable_frames: 4, turntable_size: 64}
"""
PROMPTS = ("an old man with a white beard", "a girl with a pink bun")
RESULTS = "results/tiny/few/full"
TARGET = f"{RESULTS}/render/0000.jsonl"

pytestmark = pytest.mark.slow


@dataclass
class Nodes:
    """A running cluster.

    Attributes:
        process: what runs it and obeys.
        environment: what a process needs that joins it.
    """

    process: subprocess.Popen
    environment: dict

    def kill_one(self):
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "killed\n"


def without_ray():
    """Return this process's environment without what other tests and clusters left in it."""
    others = ("RAY_", "AVATARGEN_BOARD", "AVATARGEN_RAY", "AVATARGEN_PARENT", "CUDA_VISIBLE_DEVICES")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}


@contextmanager
def cluster(folder, nodes, cpus=1, gpus=0):
    """Run a cluster that asks for a token, and check that nothing of it is left behind."""
    own = without_ray() | environment(secrets.token_hex(24)) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tests/workflow/ray_nodes.py"), *map(str, (nodes, cpus, gpus))]
    with (folder / "nodes.log").open("wb") as log:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log, "text": True}
        process = subprocess.Popen(command, env=own, cwd=folder, **pipes)
    try:
        address = process.stdout.readline().strip()
        assert address, (folder / "nodes.log").read_text()
        yield Nodes(process, own | {"RAY_ADDRESS": address})
    finally:
        process.stdin.close()
        process.wait(60)
    assert none_left(own["RAY_AUTH_TOKEN"], 30) == []


def none_left(token, seconds):
    """Return the processes whose environment holds the cluster's token, after waiting for them to end."""
    end = time.monotonic() + seconds
    while (found := list(_with_token(token))) and time.monotonic() < end:
        time.sleep(0.5)
    return found


def _with_token(token):
    for process in psutil.process_iter():
        try:
            if process.environ().get("RAY_AUTH_TOKEN") == token and process.status() != psutil.STATUS_ZOMBIE:
                yield process.cmdline()
        except psutil.Error:
            continue


def write_study(place):
    (place / "workflow/config").mkdir(parents=True)
    (place / "workflow/config/tiny.yaml").write_text(EXPERIMENT)
    (place / "prompts").mkdir()
    (place / "prompts/few.txt").write_text("".join(f"{prompt}\n" for prompt in PROMPTS))
    return place


@contextmanager
def running(place, environment, *changes):
    """Run the workflow up to the images that judges are shown; end it if the test fails meanwhile."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "2", "--nocolor"]
    command += ["--config", "experiment=tiny", *changes, "--", TARGET]
    with (place / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
        assert process.wait(500) == 0, (place / "output.txt").read_text()[-6000:]
    finally:
        process.kill()
        process.wait()


def half_made(place):
    """Return the avatars that stand at a checkpoint: those that a worker is making now."""
    return {path.parent.name for path in place.glob(f"{RESULTS}/avatars/*/checkpoint.safetensors")}


def files_of(place):
    """Return the avatars, the images that judges are shown, and the distances to the ground-truth heads, as bytes."""
    found = {}
    for folder in sorted(place.glob(f"{RESULTS}/avatars/*")):
        for name in ("avatar.safetensors", "texture.png", "truth.json"):
            found[f"{folder.name}/{name}"] = (folder / name).read_bytes()
        with np.load(folder / "views.npz") as file:
            found |= {f"{folder.name}/views/{name}": file[name].tobytes() for name in file.files}
    return found


def test_a_lost_node_changes_no_result(tmp_path):
    """Two nodes of one core each; one is killed while both are in the middle of an avatar.

    The reference is made in one process, without Ray.
    """
    alone, spread = write_study(tmp_path / "alone"), write_study(tmp_path / "spread")
    with running(alone, without_ray() | {"OMP_NUM_THREADS": "1"}, "backend=serial"):
        pass
    with cluster(tmp_path, nodes=2) as nodes, running(spread, nodes.environment) as process:
        while len(lost := half_made(spread)) < 2 and process.poll() is None:
            time.sleep(0.02)
        nodes.kill_one()
        assert len(lost) == 2, "each node was making one avatar"
    expected, found = files_of(alone), files_of(spread)
    assert expected.keys() == found.keys() and len(expected) == 7 * len(PROMPTS)
    assert [name for name in expected if expected[name] != found[name]] == []


JOIN = """
import sys
from pathlib import Path
from tests.workflow.test_many_nodes import tell_gpus
tell_gpus(Path(sys.argv[1]), float(sys.argv[2]))
"""


class TellGpus(JobHandler):
    """Lets a worker log the GPUs that it sees."""

    def submit(self, actor, job, heartbeat):
        return actor.call.remote("tests.workflow.fake_calls:SeenGpus", (), job, heartbeat)

    def ended(self, job, running):
        pass

    def lost(self, job, error, running):
        raise error


def tell_gpus(log, gpus):
    """Let all workers that fit log the GPUs that they see; each waits for the others."""
    pool = WorkerPool.join(ExecutionSettings("ray", threads=1, gpus=gpus))
    count = pool._capacity()
    pool.work([(log, count)] * count, TellGpus())
    pool.close()


def test_workers_share_the_gpus_of_a_node(tmp_path):
    """Ray is told of two GPUs and gives each worker its own: one GPU, a fraction of one, or both."""
    with cluster(tmp_path, nodes=1, cpus=8, gpus=2) as nodes:
        for gpus, seen in ((1.0, ["0", "1"]), (0.5, ["0", "0", "1", "1"]), (0.4, ["0", "0", "1", "1"]), (2.0, ["0,1"])):
            log = tmp_path / f"{gpus}.log"
            command = [sys.executable, "-c", JOIN, str(log), str(gpus)]
            environment = nodes.environment | {"PYTHONPATH": f"{ROOT}"}
            subprocess.run(command, env=environment, cwd=tmp_path, check=True, timeout=100)
            lines = read_log(log)
            assert sorted(visible for _, visible in lines) == seen, gpus
            assert len({process for process, _ in lines}) == len(seen)
