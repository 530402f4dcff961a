"""Calls on workers and in this process: loaded once, errors as they were raised, dead workers replaced."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avatargen.config.errors import InputError
from avatargen.config.places import ROOT
from avatargen.runtime import progress, ray_head
from avatargen.runtime.progress import Tally
from avatargen.runtime.remote_calls import CALLS_PER_WORKER, RemoteCall, call_each
from avatargen.runtime.worker_pool import ATTEMPTS, ExecutionSettings
from tests.workflow.fake_calls import read_log

FAKE_CALLS = "tests.workflow.fake_calls:FakeCalls"
SPEC = "tests.workflow.fake_generator:FakeGenerator"
"""The generator of the workers that tests of chunks leave."""


@pytest.fixture
def ray(running_head):
    return ExecutionSettings("ray", threads=1, head_file=running_head, spec=SPEC)


@pytest.fixture(params=["serial", pytest.param("ray", marks=pytest.mark.slow)])
def execution(request):
    return ExecutionSettings("serial", threads=1) if request.param == "serial" else request.getfixturevalue("ray")


def make(log, words, execution):
    """Call with each word."""
    tally = Tally("render · full", len(words), io.StringIO())
    call_each(FAKE_CALLS, (log,), [RemoteCall(word, (log, word)) for word in words], execution, tally)


def words_of(log):
    return [word for _, word in read_log(log)]


def loaders(log):
    """The processes that loaded."""
    return [process for process, word in read_log(log) if word == "loaded"]


def test_each_call_is_made_and_each_worker_loads_once(workplace, execution):
    log = workplace / "log"
    for words in (["a", "b", "c", "d"], ["e", "f"]):
        make(log, words, execution)
    assert sorted(word for word in words_of(log) if word != "loaded") == [*"abcdef"]
    if execution.backend == "ray":  # networks stay from one driver to the next
        assert len(loaders(log)) == len(set(loaders(log))) <= 2
    else:
        assert len(loaders(log)) == 2 and len(set(loaders(log))) == 1


def test_an_error_is_what_the_call_raised(workplace, execution):
    with pytest.raises(InputError, match="the word is wrong"):
        make(workplace / "log", ["wrong"], execution)
    make(workplace / "log", ["right"], execution)
    assert words_of(workplace / "log")[-1] == "right"


def test_without_calls_nothing_is_loaded(workplace, execution):
    make(workplace / "log", [], execution)
    assert not (workplace / "log").exists()


@pytest.mark.slow
def test_a_call_is_given_to_another_worker(workplace, ray):
    for number in range(2):  # earlier deaths are not held against later calls
        log = workplace / f"log-{number}"
        make(log, ["die once", "b"], ray)
        assert words_of(log).count("die once") == 2 and words_of(log).count("b") == 1


@pytest.mark.slow
def test_a_deadly_call_fails_and_others_do_not(workplace, ray, no_workers):
    """Two drivers share a worker. One driver's call kills it each time; the other's waits in that worker's queue."""
    guilty, innocent = workplace / "guilty", workplace / "innocent"
    code = "import sys; from pathlib import Path; from tests.runtime import test_remote_calls as tests\n"
    code += "head = tests.ExecutionSettings('ray', threads=1, head_file=Path(sys.argv[2]), spec=tests.SPEC)\n"
    code += "tests.make(Path(sys.argv[1]), ['die always'], head)"
    command = [sys.executable, "-c", code, str(guilty), str(ray.head_file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while "die always" not in words_of(guilty) and driver.poll() is None:
        time.sleep(0.02)
    make(innocent, ["a"], ray)
    _, said = driver.communicate(timeout=60)
    died = {process for process, word in read_log(guilty) if word == "die always"}
    assert f"WorkerDiedError: die always: {len(died)} workers died over it" in said and len(died) == ATTEMPTS
    assert words_of(innocent).count("a") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("calls", "word", "workers"), [(CALLS_PER_WORKER, "linger", 1), (CALLS_PER_WORKER + 1, "meet", 2)]
)
def test_a_cluster_starts_workers_with_enough_to_do(
    workplace, running_head, monkeypatch, no_workers, calls, word, workers
):
    """They end with their driver."""
    joined = ray_head.reach(running_head)
    for name, value in (("ADDRESS", joined.address), ("AUTH_MODE", "token"), ("AUTH_TOKEN", joined.token)):
        monkeypatch.setenv(f"RAY_{name}", value)
    log, execution = workplace / "log", ExecutionSettings("ray", threads=2, gpus=1.0)  # neither of which the calls need
    make(log, [word] * calls, execution)
    assert len(loaders(log)) == workers and words_of(log).count(word) == calls
    end = time.monotonic() + 20
    while any(Path(f"/proc/{process}").exists() for process in loaders(log)):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("few", [{"threads": 1, "gpus": 1.0}, {"threads": 2}])
def test_where_workers_leave_cores_idle_this_process_calls(workplace, few):
    """Else it would wait for a head that never comes."""
    log = workplace / "log"
    make(log, ["a"], ExecutionSettings("ray", **few, head_file=workplace / "none.json"))
    assert words_of(log) == ["loaded", "a"] and loaders(log) == [str(os.getpid())]


def test_where_ray_did_not_start_this_process_calls(workplace):
    (workplace / "ray.failed").write_text("too busy")
    make(workplace / "log", ["a"], ExecutionSettings("ray", threads=1, head_file=workplace / "ray.json"))
    assert words_of(workplace / "log") == ["loaded", "a"]


def test_a_long_job_prints_its_progress(monkeypatch):
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
