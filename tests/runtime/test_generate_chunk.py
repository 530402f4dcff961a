"""Making a chunk with a tiny generator: failures stay single, finished work stays, dead workers are replaced."""

import json
import os
import re
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest
import torch

from avatargen.config.errors import InputError
from avatargen.config.places import ROOT
from avatargen.config.prompts import PromptItem
from avatargen.io.atomic import DiskFullError
from avatargen.io.avatar_file import load_avatar
from avatargen.io.manifest import Row
from avatargen.runtime import ray_head, worker_pool
from avatargen.runtime.generate_chunk import TooManyFailuresError, check_failures, make_chunk
from avatargen.runtime.worker_pool import ATTEMPTS, ExecutionSettings, JobHandler, WorkerPool
from tests.workflow.fake_calls import read_log

FAKE = "tests.workflow.fake_generator:FakeGenerator"
SERIAL = ExecutionSettings("serial", threads=1, spec=FAKE)


def items(*prompts):
    return [PromptItem("list", f"p{n}", prompt) for n, prompt in enumerate(prompts)]


def steps_of(folder):
    log = folder / "steps.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def statuses(rows):
    return [row.status for row in rows]


@pytest.fixture
def ray(running_head):
    return ExecutionSettings("ray", threads=1, head_file=running_head, spec=FAKE)


@pytest.fixture(params=["serial", pytest.param("ray", marks=pytest.mark.slow)])
def execution(request):
    return SERIAL if request.param == "serial" else request.getfixturevalue("ray")


def test_rows_come_in_order_with_failures_in_place(workplace, make_run, execution):
    asked = items("first", "explode", "memory", "memory, says warp", "diverge", "last")
    rows = make_chunk(make_run(), asked, workplace / "avatars", execution)
    assert [row.prompt for row in rows] == [item.prompt for item in asked]
    assert statuses(rows) == ["ok", "error", *["out_of_memory"] * 2, "diverged", "ok"]
    assert "it exploded" in rows[1].message
    assert "ValueError" in (workplace / "avatars" / rows[1].id / "error.txt").read_text()
    failed = load_avatar(workplace / "avatars" / rows[1].id)
    assert failed.status == "error" and float(failed.shape.abs().sum()) == 0
    assert load_avatar(workplace / "avatars" / rows[0].id).provenance["fingerprint"] == rows[0].fingerprint


def test_malformed_meshes_fail_alone_in_one_line(workplace, make_run):
    (workplace / "p1.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    data = b'{"images":["a"]}'
    (workplace / "p0.glb").write_bytes(struct.pack("<4sIIII", b"glTF", 2, 36, 16, 0x4E4F534A) + data)
    run = make_run(source="imported", meshes={"folder": str(workplace), "scale": 1.0})
    rows = make_chunk(run, items("a man", "a woman"), workplace / "avatars", SERIAL)
    assert statuses(rows) == ["error", "ok"]
    assert rows[0].message == 'p0.glb: malformed: images.0: got "a"; expected a valid object'


def test_a_row_tells_who_truncates_the_prompt(workplace, make_run):
    rows = make_chunk(make_run(), items("a long prompt", "a man"), workplace / "avatars", SERIAL)
    assert [row.truncated_by for row in rows] == [("prior 'none'",), ()]
    made = json.loads((workplace / rows[0].folder / "done.json").read_text())
    assert made["truncated_by"] == ["prior 'none'"]


def test_phase1_folders_reach_the_generator(workplace, make_run):
    """Only if another method of the experiment has the same phase 1."""
    full = make_run(phase2_steps=2)
    other = make_run("other", phase2_steps=2, segmentation_weight=0.0)
    make_chunk(full, items("a", "b"), workplace / "list/full/avatars", SERIAL, [full])
    assert not (workplace / "list/.phase1").exists()
    make_chunk(other, items("a", "b"), workplace / "list/other/avatars", SERIAL, [full, other])
    assert len(list((workplace / "list/.phase1").iterdir())) == 2


def test_out_of_memory_fails_one_avatar(workplace, make_run):
    """The generator halves batches, so what reaches the job is an avatar that does not fit alone."""
    avatars = workplace / "avatars"
    rows = make_chunk(make_run(), items("mate", "memory", "next"), avatars, SERIAL)
    assert statuses(rows) == ["ok", "out_of_memory", "ok"]
    assert re.fullmatch(
        r"one avatar at a time needs more than \d+ MB; use a machine with more memory, or lower the prior's "
        r"texture_size or the method's views. MemoryError: no memory for this one",
        rows[1].message,
    )
    assert (avatars / rows[1].id / "error.txt").is_file()
    assert steps_of(avatars) == 2 * make_run().method.steps  # of "mate" and "next"


def test_auto_gives_workers_a_fixed_number_on_cpus(workplace, make_run):
    avatars = workplace / "avatars"
    rows = make_chunk(make_run(batch_size="auto"), items(*"abcdefgh"), avatars, SERIAL)
    sizes = [int(line.split()[2]) for line in (avatars / "steps.log").read_text().splitlines()]
    assert statuses(rows) == ["ok"] * 8 and sorted(set(sizes)) == [2, 6]


def test_finished_avatars_are_not_made_again(workplace, make_run, capsys):
    run, avatars = make_run(), workplace / "avatars"
    first = make_chunk(run, items("a", "diverge b"), avatars, SERIAL)
    before, printed = steps_of(avatars), capsys.readouterr().out
    assert make_chunk(run, items("a", "diverge b"), avatars, SERIAL) == first
    assert steps_of(avatars) == before and before > 0
    assert "[2/2]" in printed and "DIVERGED" in printed and capsys.readouterr().out == ""
    made = (avatars / first[0].id / "done.json").stat().st_mtime_ns
    assert statuses(make_chunk(run, items("new", "a", "diverge b"), avatars, SERIAL)) == ["ok", "ok", "diverged"]
    assert steps_of(avatars) == before + run.method.steps
    assert (avatars / first[0].id / "done.json").stat().st_mtime_ns == made


def test_an_error_is_tried_again(workplace, make_run):
    avatars = workplace / "avatars"
    (row,) = make_chunk(make_run(), items("explode"), avatars, SERIAL)
    before = (avatars / row.id / "done.json").stat().st_mtime_ns
    make_chunk(make_run(), items("explode"), avatars, SERIAL)
    assert (avatars / row.id / "done.json").stat().st_mtime_ns > before


def test_other_settings_start_from_an_empty_folder(workplace, make_run):
    make_chunk(make_run(), items("a"), workplace / "avatars", SERIAL)
    leftover = workplace / "avatars" / items("a")[0].id / "leftover"
    leftover.touch()
    make_chunk(make_run(steps=3), items("a"), workplace / "avatars", SERIAL)
    assert not leftover.exists()


def test_a_foreign_folder_is_never_emptied(workplace, make_run):
    folder = workplace / "avatars" / items("a")[0].id
    folder.mkdir(parents=True)
    (folder / "photo.jpg").touch()
    make_chunk(make_run(), items("a"), workplace / "avatars", SERIAL)
    assert (folder / "photo.jpg").exists()


@pytest.mark.parametrize("full", ["full disk c", "full disk, reported by rust"])
def test_a_full_disk_stops_and_the_same_call_resumes(workplace, make_run, execution, full):
    run, avatars = make_run(), workplace / "avatars"
    asked = items("a", "b", full, "d")
    with pytest.raises(DiskFullError, match="free some and run the same command again"):
        make_chunk(run, asked, avatars, execution)
    done = avatars / asked[0].id / "done.json"
    end = time.monotonic() + 10  # on another worker, which finishes what it has begun
    while not done.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert done.exists() and not (avatars / asked[2].id / "done.json").exists()
    made = done.stat().st_mtime_ns
    (avatars / "space").touch()
    assert statuses(make_chunk(run, asked, avatars, execution)) == ["ok"] * 4
    assert done.stat().st_mtime_ns == made


@pytest.mark.slow
def test_a_job_is_given_to_another_worker(workplace, make_run, ray):
    """It resumes from the checkpoint, so no step is made twice."""
    run, asked, avatars = make_run(), items("a", "die once", "fault of the GPU", "d"), workplace / "avatars"
    assert statuses(make_chunk(run, asked, avatars, ray)) == ["ok"] * 4
    assert all((avatars / item.id / "died").exists() for item in asked[1:3])
    assert steps_of(avatars) == 2 * run.method.steps


def test_a_lasting_gpu_fault_is_no_avatars_own(workplace, make_run):
    """All later calls of the process to its GPU fail, so nothing is recorded, and the same call goes on."""
    asked = items("a", "b", "fault of the GPU", "d")
    with pytest.raises(torch.AcceleratorError, match="CUDA error"):
        make_chunk(make_run(), asked, workplace / "avatars", SERIAL)
    assert not (workplace / "avatars" / asked[2].id / "done.json").exists()
    assert statuses(make_chunk(make_run(), asked, workplace / "avatars", SERIAL)) == ["ok"] * 4


def test_a_gpu_that_torch_does_not_see_is_an_error(workplace, make_run):
    with pytest.raises(InputError, match=r"gpus_per_worker: got 0\.5, but torch .* finds no GPU on .*; expected"):
        make_chunk(make_run(), items("a"), workplace / "avatars", replace(SERIAL, gpus=0.5))


@pytest.mark.slow
def test_a_failure_counts_the_processes_that_died(workplace, make_run, ray):
    """Its batch mate is made; the message's number is that of the processes that died."""
    asked = items("a", "die always", "c", "faults of the GPU")
    rows = make_chunk(make_run(), asked, workplace / "avatars", ray)
    assert statuses(rows) == ["ok", "error", "ok", "error"]
    for row in (rows[1], rows[3]):
        died = set((workplace / "avatars" / row.id / "died").read_text().split())
        assert len(died) == ATTEMPTS and row.message.startswith(f"{len(died)} workers died over it: ")
    assert "illegal memory access" in rows[3].message


@pytest.mark.slow
def test_methods_with_other_prior_settings_share_workers(workplace, make_run, ray):
    run = make_run()
    other = run.model_copy(update={"prior": run.prior.model_copy(update={"guidance": 3.0})})
    for number, one in enumerate((run, other)):  # two workers of one core each fill this head
        assert statuses(make_chunk(one, items("a", "b"), workplace / f"avatars-{number}", ray)) == ["ok", "ok"]


@pytest.mark.slow
def test_a_worker_that_does_not_fit_is_an_error(workplace, make_run, ray):
    with pytest.raises(ray_head.RayUnavailableError, match="cpus_per_worker"):
        make_chunk(make_run(), items("a"), workplace / "avatars", replace(ray, threads=64))


@pytest.mark.slow
def test_only_the_user_can_read_the_heads_file(running_head):
    assert ray_head.reach(running_head).token in running_head.read_text()
    assert running_head.stat().st_mode & 0o077 == 0


def test_a_head_that_does_not_come_is_an_error(workplace):
    start = time.monotonic()
    with pytest.raises(ray_head.RayUnavailableError, match="backend=serial"):
        ray_head.reach(workplace / "none.json", timeout_s=0.3)
    assert time.monotonic() - start < 5


def test_a_head_that_failed_is_an_error_at_once(workplace):
    (workplace / "ray.failed").write_text("no memory")
    with pytest.raises(ray_head.RayUnavailableError, match="no memory"):
        ray_head.reach(workplace / "ray.json", timeout_s=60)


def end_head(folder, processes):
    """Start a head, end some of its processes, and join it: before it is ready, once it is, or while it is joined."""
    file = folder / "ray.json"
    head = ray_head.spawn(file, 1, False, folder / "ray.log")
    if processes != "head":
        ray_head.reach(file)
    if processes == "gcs":
        for process in psutil.Process(head.pid).children(recursive=True):
            if "gcs_server" in process.name():
                process.kill()
        threading.Timer(5, head.kill).start()
    else:
        head.kill()
    try:
        WorkerPool.join(ExecutionSettings("ray", threads=1, head_file=file))
    finally:
        head.kill()
        head.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["head", "ready head", "gcs"])
def test_a_head_that_was_killed_is_an_error(workplace, processes):
    """And not after the 12 minutes that Ray itself tries; in a process of its own, since Ray keeps its first token."""
    code = "import sys; from pathlib import Path; from tests.runtime import test_generate_chunk as tests\n"
    code += "tests.end_head(Path(sys.argv[1]), sys.argv[2])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", code, str(workplace), processes]
    ended = subprocess.run(
        command, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=150
    )
    assert "RayUnavailableError: the workflow's Ray has ended; what is finished stays" in ended.stderr


def test_without_ray_a_machine_of_one_worker_goes_on(workplace, make_run, capsys):
    (workplace / "ray.failed").write_text("too busy")
    execution = ExecutionSettings("ray", threads=2, cores=8, head_file=workplace / "ray.json", spec=FAKE)
    with pytest.raises(ray_head.RayUnavailableError, match="too busy"):
        make_chunk(make_run(), items("a"), workplace / "avatars", execution)
    rows = make_chunk(make_run(), items("a"), workplace / "avatars", replace(execution, cores=2))
    assert statuses(rows) == ["ok"] and "too busy" in capsys.readouterr().out


class CallHandler(JobHandler):
    """Makes calls of one word."""

    def submit(self, actor, job, heartbeat):
        return actor.call.remote("tests.workflow.fake_calls:FakeCalls", (job,), (job, "linger"), heartbeat)

    def ended(self, job, running):
        pass

    def lost(self, job, error, running):
        raise error


@pytest.mark.slow
def test_drivers_of_a_cluster_do_not_wait_for_each_other(workplace, monkeypatch, ray, no_workers):
    """Two workers have room: each of two drivers has one, and hired another that waits for room."""
    joined = WorkerPool.join(ray).ray
    assert joined.cluster_resources()["CPU"] == 2
    pools = [WorkerPool(joined, own_head=False, execution=ray) for _ in range(2)]
    for slot in range(2):
        for pool in pools:
            pool._hire(slot)
    monkeypatch.setattr(WorkerPool, "_capacity", lambda _: 0)  # all are hired
    logs = [workplace / "0.log", workplace / "1.log"]
    with ThreadPoolExecutor(2) as threads:
        working = [threads.submit(pool.work, [log] * 3, CallHandler()) for pool, log in zip(pools, logs, strict=True)]
        for future in working:
            future.result(timeout=60)
    assert [[word for _, word in read_log(log)].count("linger") for log in logs] == [3, 3]
    pools[0].close()


class Stillborn:
    """A worker that dies before it begins a job."""

    def __init__(self, *_, **__):
        os._exit(1)


@pytest.mark.slow
def test_workers_that_cannot_start_are_an_error(workplace, make_run, monkeypatch, ray, no_workers):
    monkeypatch.setattr(worker_pool, "Worker", Stillborn)
    monkeypatch.setattr(worker_pool, "MAX_IDLE_DEATHS", 2)
    with pytest.raises(ray_head.RayUnavailableError, match="2 workers in a row died before they began a job"):
        make_chunk(make_run(), items("a"), workplace / "avatars", replace(ray, spec="of:Stillborn"))


def test_too_many_failures_fail_the_chunk():
    row = Row(id="0", list="l", item="0", prompt="p", method="full", status="error", message="why", folder="f")
    rows = [row, *[row.model_copy(update={"status": "ok"})] * 3]
    check_failures(rows, 0.25)
    with pytest.raises(TooManyFailuresError, match=r"1 of 4 avatars failed(.|\n)*0: error: why"):
        check_failures(rows, 0.2)


def lose_node(folder):
    """Make a chunk on a head of its own, whose node a worker kills."""
    from tests.conftest import small_run  # importing it at the top would load it twice

    file = folder / "ray.json"
    head = ray_head.spawn(file, 1, False, folder / "ray.log")
    try:
        execution = ExecutionSettings("ray", threads=1, head_file=file, spec=FAKE)
        make_chunk(small_run(), items("kill raylet"), folder / "avatars", execution)
    finally:
        head.terminate()
        head.wait(30)


@pytest.mark.slow
def test_a_ray_that_lost_its_node_is_an_error(workplace):
    """In a process of its own, since Ray keeps the first token that a process was given."""
    code = "import sys; from pathlib import Path; from tests.runtime import test_generate_chunk as tests\n"
    code += "tests.lose_node(Path(sys.argv[1]))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_health_check_period_ms": "500", "RAY_health_check_timeout_ms": "500"}  # sooner than after 20 s
    command = [sys.executable, "-c", code, str(workplace)]
    ended = subprocess.run(
        command, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode and "RayUnavailableError: the workflow's Ray lost its node" in ended.stderr
