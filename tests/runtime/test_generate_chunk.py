"""Fan-out with a tiny generator: failures stay single, finished work stands, killed workers come back."""

import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from avatargen.config.errors import InputError
from avatargen.config.prompts import PromptItem
from avatargen.io.atomic import DiskFullError
from avatargen.io.avatar_file import load_avatar
from avatargen.runtime import ray_head, worker_pool
from avatargen.runtime.generate_chunk import Batch, TooManyFailuresError, _BatchHandler, check_failures, make_chunk
from avatargen.runtime.progress import Board, weight
from avatargen.runtime.worker import Task, is_done
from avatargen.runtime.worker_pool import ExecutionSettings

FAKE = "tests.workflow.fake_generator:FakeGenerator"
SERIAL = ExecutionSettings("serial", threads=1, spec=FAKE)


def items(*prompts):
    return [PromptItem("list", f"p{n}", prompt) for n, prompt in enumerate(prompts)]


def steps_of(folder):
    log = folder / "steps.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def ray(running_head):
    return ExecutionSettings("ray", threads=1, head_file=running_head, spec=FAKE)


@pytest.fixture(params=["serial", "ray"])
def execution(request):
    return SERIAL if request.param == "serial" else request.getfixturevalue("ray")


def test_rows_come_in_order_with_failures_in_place(workplace, make_run, execution):
    asked = items("first", "explode", "memory", "memory, says warp", "diverge", "last")
    rows = make_chunk(make_run(), asked, workplace / "avatars", execution)
    assert [row["prompt"] for row in rows] == [item.prompt for item in asked]
    assert [row["status"] for row in rows] == ["ok", "error", *["out_of_memory"] * 2, "diverged", "ok"]
    assert "it exploded" in rows[1]["message"]
    assert "ValueError" in (workplace / "avatars" / rows[1]["id"] / "error.txt").read_text()
    failed = load_avatar(workplace / "avatars" / rows[1]["id"])
    assert failed.status == "error" and float(failed.shape.abs().sum()) == 0
    assert load_avatar(workplace / "avatars" / rows[0]["id"]).provenance["fingerprint"] == rows[0]["fingerprint"]


def test_where_memory_runs_out_the_whole_batch_fails_at_once_and_says_what_to_change(workplace, make_run):
    """A single avatar is padded to the batch's size: one at a time needs as much."""
    avatars = workplace / "avatars"
    rows = make_chunk(make_run(), items("mate", "memory", "next"), avatars, SERIAL)
    assert [row["status"] for row in rows] == ["out_of_memory", "out_of_memory", "ok"]
    assert rows[0]["message"] == rows[1]["message"]
    assert re.fullmatch(
        r"batch_size 2 got to \d+ MB; expected a lower batch_size to fit. MemoryError: no memory for this one",
        rows[0]["message"],
    )
    assert (avatars / rows[0]["id"] / "error.txt").is_file()
    assert steps_of(avatars) == make_run().method.steps  # of "next" alone


def test_what_is_finished_is_not_made_again(workplace, make_run, capsys):
    run, avatars = make_run(), workplace / "avatars"
    first = make_chunk(run, items("a", "diverge b"), avatars, SERIAL)
    before, printed = steps_of(avatars), capsys.readouterr().out
    assert make_chunk(run, items("a", "diverge b"), avatars, SERIAL) == first
    assert steps_of(avatars) == before and before > 0
    assert "[2/2]" in printed and "DIVERGED" in printed and capsys.readouterr().out == ""
    made = (avatars / first[0]["id"] / "done.json").stat().st_mtime_ns
    rows = make_chunk(run, items("new", "a", "diverge b"), avatars, SERIAL)
    assert [row["status"] for row in rows] == ["ok", "ok", "diverged"]
    assert steps_of(avatars) == before + run.method.steps
    assert (avatars / first[0]["id"] / "done.json").stat().st_mtime_ns == made


def test_an_error_is_tried_again_and_another_configuration_starts_afresh(workplace, make_run):
    avatars = workplace / "avatars"
    row = make_chunk(make_run(), items("explode"), avatars, SERIAL)[0]
    before = (avatars / row["id"] / "done.json").stat().st_mtime_ns
    make_chunk(make_run(), items("explode"), avatars, SERIAL)
    assert (avatars / row["id"] / "done.json").stat().st_mtime_ns > before
    make_chunk(make_run(), items("a"), avatars, SERIAL)
    folder = avatars / items("a")[0].id
    (folder / "leftover").touch()
    make_chunk(make_run(steps=3), items("a"), avatars, SERIAL)
    assert not (folder / "leftover").exists()


def test_a_folder_that_was_not_made_here_is_never_emptied(workplace, make_run):
    folder = workplace / "avatars" / items("a")[0].id
    folder.mkdir(parents=True)
    (folder / "photo.jpg").touch()
    make_chunk(make_run(), items("a"), workplace / "avatars", SERIAL)
    assert (folder / "photo.jpg").exists()


@pytest.mark.parametrize("full", ["full disk c", "full disk, said by rust"])
def test_a_full_disk_stops_and_the_same_call_resumes(workplace, make_run, execution, full):
    run, avatars = make_run(), workplace / "avatars"
    asked = items("a", "b", full, "d")
    with pytest.raises(DiskFullError, match="free some and run the same command again"):
        make_chunk(run, asked, avatars, execution)
    assert (avatars / asked[0].id / "done.json").exists()
    assert not (avatars / asked[2].id / "done.json").exists()
    made = (avatars / asked[0].id / "done.json").stat().st_mtime_ns
    (avatars / "space").touch()
    assert [row["status"] for row in make_chunk(run, asked, avatars, execution)] == ["ok"] * 4
    assert (avatars / asked[0].id / "done.json").stat().st_mtime_ns == made


@pytest.mark.parametrize("lost", ["die once", "fault of the GPU"])
def test_a_lost_worker_comes_back(workplace, make_run, ray, lost):
    rows = make_chunk(make_run(batch_size=1), items("a", lost, "c"), workplace / "avatars", ray)
    assert [row["status"] for row in rows] == ["ok", "ok", "ok"]


def test_a_fault_of_the_gpu_is_no_avatars_own(workplace, make_run):
    """All that the process asks of the GPU after it fails, so nothing is recorded, and the same call goes on."""
    asked = items("a", "b", "fault of the GPU", "d")
    with pytest.raises(torch.AcceleratorError, match="CUDA error"):
        make_chunk(make_run(), asked, workplace / "avatars", SERIAL)
    assert not (workplace / "avatars" / asked[2].id / "done.json").exists()
    rows = make_chunk(make_run(), asked, workplace / "avatars", SERIAL)
    assert [row["status"] for row in rows] == ["ok"] * 4


def test_a_gpu_that_torch_does_not_see_is_said(workplace, make_run):
    with pytest.raises(InputError, match=r"gpus_per_worker: got 0\.5, but torch .* finds no GPU on .*; expected"):
        make_chunk(make_run(), items("a"), workplace / "avatars", replace(SERIAL, gpus=0.5))


@pytest.mark.parametrize("lost", ["die always", "faults of the GPU"])
def test_a_worker_that_dies_each_time_takes_down_one_avatar_only(workplace, make_run, ray, monkeypatch, lost):
    monkeypatch.setattr(worker_pool, "RESTARTS", 0)
    rows = make_chunk(make_run(), items("a", lost, "c"), workplace / "avatars", ray)
    assert [row["status"] for row in rows] == ["ok", "error", "ok"]
    assert "died" in rows[1]["message"]
    assert ("illegal memory access" in rows[1]["message"]) == ("GPU" in lost)


def test_methods_with_other_settings_of_the_prior_share_the_workers(workplace, make_run, ray):
    run = make_run()
    other = run.model_copy(update={"prior": run.prior.model_copy(update={"guidance": 3.0})})
    for number, one in enumerate((run, other)):  # two workers of one core each fill this head
        rows = make_chunk(one, items("a", "b"), workplace / f"avatars-{number}", ray)
        assert [row["status"] for row in rows] == ["ok", "ok"]


def test_a_worker_that_does_not_fit_is_said(workplace, make_run, running_head):
    with pytest.raises(ray_head.RayUnavailableError, match="cpus_per_worker"):
        make_chunk(
            make_run(),
            items("a"),
            workplace / "avatars",
            ExecutionSettings("ray", 64, head_file=running_head, spec=FAKE),
        )


def test_only_its_user_can_read_how_to_reach_the_head(running_head):
    ray_head.reach(running_head)
    assert running_head.stat().st_mode & 0o077 == 0
    assert json.loads(running_head.read_text())["host"] == os.uname().nodename


def test_a_head_that_does_not_come_is_said(workplace):
    start = time.monotonic()
    with pytest.raises(ray_head.RayUnavailableError, match="backend=serial"):
        ray_head.reach(workplace / "none.json", timeout_s=0.3)
    assert time.monotonic() - start < 5


def test_a_head_that_failed_is_said_at_once(workplace):
    (workplace / "ray.failed").write_text("no memory")
    with pytest.raises(ray_head.RayUnavailableError, match="no memory"):
        ray_head.reach(workplace / "ray.json", timeout_s=60)


def test_without_ray_a_machine_of_one_worker_goes_on(workplace, make_run, capsys):
    (workplace / "ray.failed").write_text("too busy")
    execution = ExecutionSettings("ray", threads=2, cores=8, head_file=workplace / "ray.json", spec=FAKE)
    with pytest.raises(ray_head.RayUnavailableError, match="too busy"):
        make_chunk(make_run(), items("a"), workplace / "avatars", execution)
    rows = make_chunk(make_run(), items("a"), workplace / "avatars", replace(execution, cores=2))
    assert rows[0]["status"] == "ok" and "too busy" in capsys.readouterr().out


def test_drivers_that_share_a_cluster_do_not_wait_for_each_other(workplace, make_run, monkeypatch, ray):
    """Two workers have room; each of two drivers has one of them, and another that waits for room."""
    run, joined = make_run().model_copy(update={"batch_size": 1}), worker_pool.connect(ray).ray
    assert joined.cluster_resources()["CPU"] == 2
    for name in joined.util.list_named_actors():  # those of the tests before
        joined.kill(joined.get_actor(name))
    pools = [worker_pool.WorkerPool(worker_pool.Connection(joined, own_head=False), ray, workplace) for _ in range(2)]
    for slot in range(2):
        for one in pools:
            one._hire(slot)
    monkeypatch.setattr(worker_pool.WorkerPool, "_room", lambda _: 0)  # all are hired

    def work(number):
        tasks = [Task(item, workplace / f"{number}-{item.id}", "f") for item in items("a", "b", "c")]
        board = Board.create(workplace / f"{number}.jsonl", [weight(run)] * len(tasks))
        pools[number].work([Batch([task]) for task in tasks], _BatchHandler(run, board))
        return [is_done(task) for task in tasks]

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(work, number) for number in range(2)]
        assert [future.result(timeout=60) for future in done] == [[True] * 3] * 2
    pools[0].dismiss()


def test_too_many_failures_fail_the_chunk():
    rows = [{"id": str(n), "status": "ok" if n else "error", "message": "why"} for n in range(4)]
    check_failures(rows, 0.25)
    with pytest.raises(TooManyFailuresError, match="1 of 4 avatars failed"):
        check_failures(rows, 0.2)


def test_a_ray_that_lost_its_node_stops_with_a_word(workplace, make_run, ray):
    """The last of this module: it kills the Ray that the others share."""
    with pytest.raises(ray_head.RayUnavailableError, match="lost its node"):
        make_chunk(make_run(), items("first", "kill raylet"), workplace / "avatars", ray)
