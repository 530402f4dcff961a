"""The command line of one avatar: its messages, and that it makes and resumes what the workflow would."""

import subprocess
import sys

import pytest

from avatargen import __main__ as cli
from avatargen.config.places import ROOT
from avatargen.runtime.worker import GENERATOR, Worker


@pytest.fixture
def fake(monkeypatch, workplace):
    """The tiny generator in place of the real one, and no weights to check."""
    made = []

    def make(self, run, tasks):
        made.append((run, tasks[0]))
        return Worker(1, spec="tests.workflow.fake_generator:FakeGenerator", steps=self.steps).make(run, tasks)

    class Recorder(Worker):
        pass

    Recorder.make = make
    monkeypatch.setattr(cli, "Worker", Recorder)
    monkeypatch.setattr(cli, "prior_problems", lambda name, library: [])
    return made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a man", "--method", "ful"], "did you mean 'full'?"),
        (["a man", "--experiment", "embeded"], "did you mean 'embedded'?"),
        (["  "], "the prompt is empty"),
        (["x" * 301], "301 characters; expected at most 300"),
        (["a man", "--steps-scale", "0"], "--steps-scale: got 0"),
        (["a man", "--steps-scale", "inf"], "--steps-scale: got inf"),
        (["  ", "--method", "ful", "--steps-scale", "0"], "3 problems"),
        (["a man", "--experiment", "paper", "--method", "oracle"], "true heads, which are of 'anny'; got 'flame'"),
        (["a pirate", "--method", "oracle"], "known of captions like those in prompts/embedded.tsv; got 'a pirate'"),
    ],
)
def test_wrong_input_is_said_and_nothing_is_made(fake, capsys, arguments, message):
    assert cli.main(arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split()) and not fake


def test_an_avatar_is_made_once(fake, capsys, workplace):
    asked = ["a man", "--steps-scale", "0.01", "--no-show", "--out", "mine"]
    assert cli.main(asked) == 0 and cli.main(asked) == 0
    ((run, task),) = fake
    assert run.batch_size == 1 and run.method.steps < 10
    lines = capsys.readouterr().out.split()
    assert lines[0] == str(task.folder / "avatar.safetensors") and task.folder.parent == workplace / "mine"
    assert (task.folder / "avatar.json").exists()
    assert cli.main([*asked, "--seed", "1"]) == 0 and len(fake) == 2


def test_other_settings_leave_a_finished_avatar_alone(fake, workplace):
    asked = ["a man", "--no-show", "--out", "mine"]
    others = (["--steps-scale", "0.02"], ["--method", "no_offsets"], ["--seed", "1"])
    for change in ([], *others):
        assert cli.main([*asked, "--steps-scale", "0.01", *change]) == 0
    assert len(fake) == len(list((workplace / "mine").glob("*/done.json"))) == 1 + len(others)
    assert cli.main([*asked, "--steps-scale", "0.01"]) == 0 and len(fake) == 1 + len(others)


def test_a_rendering_that_fails_is_said_and_the_avatar_stands(fake, capsys, monkeypatch, workplace):
    script = workplace / "show.py"
    script.write_text("raise RuntimeError('no encoder')")
    monkeypatch.setattr(cli, "SHOW", script)
    assert cli.main(["a man", "--steps-scale", "0.01"]) == 1
    said = capsys.readouterr()
    assert "rendering it failed: RuntimeError: no encoder" in said.err and "Traceback" not in said.err
    ((_, task),) = fake
    assert said.out.split() == [str(task.folder / name) for name in ("avatar.safetensors", "avatar.json")]
    assert "Traceback" in (task.folder / "show.log").read_text()


def test_a_failure_is_said(fake, capsys):
    assert cli.main(["explode", "--no-show"]) == 1
    assert "ValueError: it exploded" in capsys.readouterr().err


def test_help_and_the_default_generator():
    command = [sys.executable, "-m", "avatargen", "--help"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for word in ("--method", "--seed", "--out", "--experiment", "--steps-scale", "examples:"):
        assert word in found.stdout
    assert GENERATOR == "avatargen.method.generator:Generator" and cli.SHOW.is_file()
