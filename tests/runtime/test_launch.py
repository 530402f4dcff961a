"""The start and the end of a run: locks of killed runs, processes that end with their parent, the progress board."""

import io
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from avatargen.config.places import ROOT
from avatargen.runtime import ownership, parent_watch
from avatargen.runtime.progress import Board, Made, Running, duration, shorten, weight


def start(code, *arguments):
    """Start a Python process and wait until it is ready."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline().strip() == "ready"
    return process


SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
FOLLOW = "import sys, time; from avatargen.runtime import parent_watch; parent_watch.end_with(sys.argv[1]); " + SLEEP


@pytest.fixture
def sleeper():
    process = start(SLEEP)
    yield process
    process.kill()
    process.wait()


def ends_within(process, seconds):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return False
    return True


def test_a_stamp_tells_processes_with_one_pid_apart(sleeper):
    stamp = parent_watch.stamp(sleeper.pid)
    host, pid, started = stamp.split("|")
    assert parent_watch.is_alive(stamp)
    assert not parent_watch.is_alive(f"{host}|{pid}|{float(started) - 100}")
    assert parent_watch.is_alive(f"elsewhere|{pid}|{float(started) - 100}")
    os.kill(sleeper.pid, signal.SIGKILL)
    while parent_watch.is_alive(stamp):  # a zombie until it is waited for; a zombie is not alive
        time.sleep(0.01)


def test_a_job_ends_when_its_parent_is_killed(sleeper):
    follower = start(FOLLOW, parent_watch.stamp(sleeper.pid))
    assert follower.poll() is None
    sleeper.kill()
    assert ends_within(follower, 20)


def test_only_the_lock_of_a_killed_run_is_removed(tmp_path, sleeper):
    state, locks = tmp_path / "state", tmp_path / "locks"
    locks.mkdir()
    (locks / "0.input.lock").touch()
    assert not ownership.clear_after_crash(state, locks), "a lock without a note is not ours to judge"
    state.mkdir()
    note = state / f"owner-{sleeper.pid}"
    note.write_text(parent_watch.stamp(sleeper.pid))
    assert not ownership.clear_after_crash(state, locks) and list(locks.iterdir()), "the run is alive"
    sleeper.kill()
    sleeper.wait()
    ownership.note_owner(state)
    assert not ownership.clear_after_crash(state, locks) and list(locks.iterdir()), "another experiment runs here"
    ownership.forget_owner(state)
    assert ownership.clear_after_crash(state, locks) and not list(locks.iterdir()) and not note.exists()
    (locks / "0.input.lock").touch()
    assert not ownership.clear_after_crash(state, locks), "this process has taken over"
    ownership.forget_owner(state)
    assert not list(state.glob("owner-*"))


@pytest.mark.parametrize(
    ("error", "status", "logged"),
    [
        ("KeyboardInterrupt", 130, r"Interrupted; what is finished stays, .*\n"),
        ("ValueError('no')", 1, r"(?s).*ValueError: no\n"),
    ],
)
def test_a_job_ends_with_a_status_and_logs_why(tmp_path, error, status, logged):
    code = "import sys; from avatargen.runtime.job import job\nwith job(sys.argv[1]):\n    raise " + error
    log = tmp_path / "logs" / "job.log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code, str(log)], env=environment).returncode == status
    assert re.fullmatch(logged, log.read_text())


def test_the_terminal_says_why_a_job_failed_even_if_the_log_is_full():
    code = "from avatargen.runtime.job import job\nwith job('/dev/full'):\n    raise OSError(28, 'No space left')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert found.returncode == 1
    assert "FAILED: DiskFullError: " in found.stdout and "free some and run the same command again" in found.stdout


def test_the_board_counts_across_processes_and_estimates(tmp_path, make_run, monkeypatch):
    quick, slow = make_run("template", source="template"), make_run("full", steps=95)
    stream = io.StringIO()
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    board = Board.create(tmp_path / "board", map(weight, [quick, *[slow] * 3]), stream)
    now[0] += 100
    board.finished(slow, [Made("an old man with a beard and a very long name", "ok", 100)])
    Board(tmp_path / "board", stream).finished(slow, [Made("a girl", "diverged", 90)])
    first, second = stream.getvalue().splitlines()
    assert first == "[1/4] full · an old man with a beard and a ver…  100 s · 3 min left".replace("100 s", "2 min")
    assert second.startswith("[2/4] full · a girl") and "DIVERGED" in second and second.endswith("· 52 s left")


def test_loading_models_does_not_count_as_pace(tmp_path, make_run, monkeypatch):
    quick, slow, stream = make_run("template", source="template"), make_run("full", steps=95), io.StringIO()
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    board = Board.create(tmp_path / "board", map(weight, [quick, *[slow] * 3]), stream)
    monkeypatch.setattr(time, "time", lambda: 1030.0)
    board.finished(quick, [Made("a man", "ok", 0)])
    assert stream.getvalue().startswith("[1/4] template · a man") and "left" not in stream.getvalue()


def test_running_batches_count_in_the_time_left(tmp_path, make_run, monkeypatch):
    """Two drivers, the first with two batches of three avatars; all eight take a second per step at the same time."""
    run, stream, now = make_run("full", steps=95), io.StringIO(), [0.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr("avatargen.runtime.progress.STEP_LINE_S", -1.0)
    drivers = [Board.create(tmp_path / "board", [weight(run)] * 8, stream), Board(tmp_path / "board", stream)]
    drivers[1].steps(run, [Running(2, 0, 95), Running(1, 0, 0)])
    drivers[0].steps(run, [Running(3, 0, 95), Running(3, 0, 95)])
    now[0] = 38.0
    drivers[1].steps(run, [Running(2, 38, 95)])
    drivers[0].steps(run, [Running(3, 38, 95), Running(3, 38, 95)])
    now[0] = 57.0
    drivers[1].steps(run, [Running(2, 57, 95)])
    drivers[0].steps(run, [Running(3, 76, 95), Running(3, 38, 95)])
    now[0] = 76.0
    drivers[1].steps(run, [Running(2, 76, 95)])
    drivers[0].finished(run, [Made(name, "ok", 80) for name in "abc"], [Running(3, 57, 95)])
    drivers[0].steps(run, [])
    lines = [line.strip() for line in stream.getvalue().splitlines()]
    assert lines[:2] == ["full · step 0 of 95 · 2 avatars", "full · step 0 of 95 · 6 avatars"]
    assert lines[3] == "full · step 38 of 95 · 6 avatars · 62 s left"
    assert lines[5] == "full · step 38 to 76 of 95 · 6 avatars · 43 s left"
    assert [line.split(" · ")[-1] for line in lines[7:]] == ["22 s left"] * 3 and lines[9].startswith("[3/8] full · c")
    assert len(lines) == 10


def test_earlier_runs_do_not_count_as_pace(tmp_path, make_run, monkeypatch):
    """A minute of loading, then half of an avatar is there already, then a step per second."""
    run, stream, now = make_run("full", steps=95), io.StringIO(), [0.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr("avatargen.runtime.progress.STEP_LINE_S", -1.0)
    board = Board.create(tmp_path / "board", [weight(run)], stream)
    for now[0], done in ((60.0, 50), (80.0, 70)):
        board.steps(run, [Running(1, done, 95)])
    first, second = stream.getvalue().splitlines()
    assert "left" not in first and second.endswith("· 30 s left")


def test_steps_with_masks_count_for_two(make_run):
    plain = weight(make_run(steps=10))
    masked = make_run(steps=10).model_copy(deep=True)
    method = masked.method.model_copy(update={"phase2_steps": 10})
    assert weight(masked.model_copy(update={"method": method})) == plain + 20
    without = method.model_copy(update={"segmentation_weight": 0.0})
    assert weight(masked.model_copy(update={"method": without})) == plain + 10
    whole = masked.model_copy(update={"method": method})
    assert [weight(whole, done=done) for done in (0, 10, 15, 20)] == [0, 10, 20, 30]
    assert weight(whole, 10, 15) == 10 and weight(whole, 10) == weight(whole) - 10
    longer = masked.model_copy(update={"method": method.model_copy(update={"phase3_steps": 5})})
    assert weight(longer) == weight(whole) + 5
    assert weight(longer, 15, 22) == 12 and weight(longer, 21, 25) == 4


def test_a_step_of_the_finish_weighs_as_six_of_phase1(make_run):
    """It weighs nothing before the optimisation ends, and is part of a whole avatar."""
    plain = make_run(steps=10)
    finished = plain.model_copy(update={"prior": plain.prior.model_copy(update={"refine_steps": 4})})
    assert weight(finished) == weight(plain) + 24
    assert weight(finished, done=10) == weight(plain, done=10)
    assert weight(finished, done=12) == weight(plain, done=10) + 12
    unrefined = finished.method.model_copy(update={"refine": False})
    assert weight(finished.model_copy(update={"method": unrefined})) == weight(plain)


def test_avatars_that_resume_count_only_the_rest(tmp_path, make_run, monkeypatch):
    """Of two hundred steps, one per second, another method has done a hundred."""
    run, stream, now = make_run("full", steps=100, phase2_steps=100, segmentation_weight=0.0), io.StringIO(), [0.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr("avatargen.runtime.progress.STEP_LINE_S", -1.0)
    board = Board.create(tmp_path / "board", [weight(run, 100)] * 2, stream)
    for done in (100, 150):
        now[0] = done - 100.0
        board.steps(run, [Running(1, done, 200, 100)])
    now[0] = 105.0
    board.finished(run, [Made("a", "ok", 205)], begun=100)
    lines = stream.getvalue().splitlines()
    assert "left" not in lines[0] and lines[1].endswith("3 min left") and lines[2].endswith("2 min left")


def test_times_and_labels_are_short():
    assert [duration(s) for s in (3.4, 89, 100, 7200)] == ["3 s", "89 s", "2 min", "2.0 h"]
    assert len(shorten("x" * 99)) == len(shorten("x"))
