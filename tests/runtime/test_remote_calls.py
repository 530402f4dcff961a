"""Calls on workers and in this process: loaded once, errors as they were raised, killed workers come back."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from avatargen.config.errors import InputError
from avatargen.config.prompts import PromptItem
from avatargen.runtime import progress, worker_pool
from avatargen.runtime.progress import Tally
from avatargen.runtime.remote_calls import EACH, RemoteCall, WorkerDiedError, _CallHandler, call_each
from avatargen.runtime.worker import Task, Worker
from avatargen.runtime.worker_pool import ExecutionSettings, WorkerPool

NOTING = "tests.workflow.fake_calls:Noting"
FAKE = "tests.workflow.fake_generator:FakeGenerator"


@pytest.fixture
def ray(running_head):
    return ExecutionSettings(
        "ray", threads=1, head_file=running_head, spec=FAKE
    )  # the workers that the tests of fan-out have


@pytest.fixture
def nobody(ray):
    """No workers of the tests before, who would keep their places."""
    joined = worker_pool.connect(ray).ray
    for name in joined.util.list_named_actors():
        joined.kill(joined.get_actor(name))
    joined.shutdown()


@pytest.fixture(params=["serial", "ray"])
def execution(request):
    return ExecutionSettings("serial", threads=1) if request.param == "serial" else request.getfixturevalue("ray")


def make(log, words, execution):
    """RemoteCall with each word. Returns the tally's lines."""
    tally = Tally("render · full", len(words), io.StringIO())
    call_each(NOTING, (log,), [RemoteCall(word, (log, word)) for word in words], execution, tally)
    return tally


def noted(log):
    lines = log.read_text().splitlines() if log.exists() else []
    return [tuple(line.split(" ", 1)) for line in lines]


def test_every_call_is_made_and_each_worker_loads_once(workplace, execution):
    log = workplace / "log"
    for words in (["a", "b", "c", "d"], ["e", "f"]):
        make(log, words, execution)
    workers = {process for process, _ in noted(log)}
    loaded = [process for process, word in noted(log) if word == "loaded"]
    assert sorted(word for _, word in noted(log) if word != "loaded") == [*"abcdef"]
    if execution.backend == "ray":  # kept from one driver to the next
        assert len(workers) <= 2 and len(loaded) == len(set(loaded))
    else:
        assert len(workers) == 1 and len(loaded) == 2


def test_an_error_is_what_the_call_raised(workplace, execution):
    with pytest.raises(InputError, match="the word is wrong"):
        make(workplace / "log", ["wrong"], execution)
    make(workplace / "log", ["right"], execution)
    assert noted(workplace / "log")[-1][1] == "right"


def test_without_calls_nothing_is_loaded(workplace, execution):
    make(workplace / "log", [], execution)
    assert not noted(workplace / "log")


def test_a_killed_worker_is_given_its_call_again(workplace, ray):
    make(workplace / "log", ["die once", "b"], ray)
    words = [word for _, word in noted(workplace / "log")]
    assert words.count("die once") == 2 and words.count("b") == 1


def test_a_call_that_takes_its_workers_down_is_said_and_no_other_drivers_calls_are_lost(
    workplace, ray, monkeypatch, nobody
):
    monkeypatch.setattr(worker_pool, "RESTARTS", 0)  # or it takes nine workers
    connection = worker_pool.connect(ray)
    logs = [workplace / "guilty", workplace / "innocent"]

    def work(log, words):
        tally = Tally("render", len(words), io.StringIO())
        calls = [RemoteCall(word, (log, word)) for word in words]
        WorkerPool(connection, ray, workplace).work(calls, _CallHandler(NOTING, (log,), tally))

    with ThreadPoolExecutor(2) as pool:
        guilty = pool.submit(work, logs[0], ["die always"])
        innocent = pool.submit(work, logs[1], [*"abcdef"])
        with pytest.raises(WorkerDiedError, match="die always: 3 workers died over it"):
            guilty.result(timeout=120)
        innocent.result(timeout=120)
    assert {*"abcdef"} <= {word for _, word in noted(logs[1])}
    connection.ray.shutdown()


def test_workers_that_died_of_earlier_calls_are_not_held_against_the_next(workplace, ray):
    for number in range(4):
        make(workplace / f"log-{number}", ["die once"], ray)
        assert noted(workplace / f"log-{number}")[-1][1] == "die once"


@pytest.mark.parametrize(("calls", "workers"), [(EACH, 1), (EACH + 1, 2)])
def test_a_cluster_starts_workers_that_have_enough_to_do(workplace, running_head, monkeypatch, nobody, calls, workers):
    """They end with their driver."""
    joined = ray_head.reach(running_head)
    for name, value in (("ADDRESS", joined.address), ("AUTH_MODE", "token"), ("AUTH_TOKEN", joined.token)):
        monkeypatch.setenv(f"RAY_{name}", value)
    hire, hired = WorkerPool._hire, []
    monkeypatch.setattr(WorkerPool, "_hire", lambda self, slot: hired.append(slot) or hire(self, slot))
    log, execution = workplace / "log", ExecutionSettings("ray", threads=2, gpus=1.0)  # neither of which the calls need
    words = [str(number) for number in range(calls)]
    make(log, words, execution)
    assert len(hired) == workers and {*words} <= {word for _, word in noted(log)}
    started = [process for process, word in noted(log) if word == "loaded"]
    end = time.monotonic() + 20
    while any(Path(f"/proc/{process}").exists() for process in started):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("few", [{"threads": 1, "gpus": 1.0}, {"threads": 2}])
def test_where_workers_would_leave_cores_idle_each_job_works_by_itself(workplace, few):
    """It would wait for a head that never comes."""
    log = workplace / "log"
    make(log, ["a"], ExecutionSettings("ray", **few, head_file=workplace / "none.json"))
    assert [word for _, word in noted(log)] == ["loaded", "a"]


def test_where_ray_did_not_start_this_process_makes_the_calls(workplace):
    (workplace / "ray.failed").write_text("too busy")
    make(workplace / "log", ["a"], ExecutionSettings("ray", threads=1, head_file=workplace / "ray.json"))
    assert [word for _, word in noted(workplace / "log")] == ["loaded", "a"]


def test_a_worker_keeps_either_a_generator_or_what_it_calls(workplace, make_run):
    log, item = workplace / "log", PromptItem("list", "p", "a")
    other = workplace / "other"
    worker = Worker(1, spec=FAKE)
    for target in (log, other):
        for _ in range(2):
            worker.call(NOTING, (target,), (target, "called"))
    assert [word for _, word in noted(other)] == ["loaded", "called", "called"]  # for the other, in its place
    assert len(worker._loaded) == 1
    worker.make(make_run(), [Task(item, workplace / "avatar", "print")])
    assert [*worker._loaded] == [f"{FAKE}.load"]
    worker.call(NOTING, (log,), (log, "again"))
    assert [*worker._loaded] == [NOTING]


def test_a_long_job_says_how_far_it_is(monkeypatch):
    now, stream = [0.0], io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    tally = Tally("render · full", 250, stream)
    for seconds in (60.0, *[3.0] * 14):  # the first waits
        now[0] += seconds
        tally.one()
    assert stream.getvalue().splitlines() == [
        "render · full · 1 of 250 avatars",
        "render · full · 8 of 250 avatars · 12 min left",
        "render · full · 15 of 250 avatars · 12 min left",
    ]
