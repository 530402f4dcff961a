"""``avatargen make``: its messages, and that it makes and resumes what the workflow would."""

import json

import pytest

from avatargen.cli import make
from avatargen.cli.main import main
from avatargen.runtime.worker import Worker


@pytest.fixture
def made(monkeypatch, workplace):
    """The tiny generator in place of the real one, and no weights to check; returns what was made."""
    found = []

    class Recorder(Worker):
        def make(self, run, tasks):
            found.append((run, tasks[0]))
            return Worker(1, spec="tests.workflow.fake_generator:FakeGenerator", steps=self.steps).make(run, tasks)

    monkeypatch.setattr(make, "Worker", Recorder)
    monkeypatch.setattr(make, "prior_problems", lambda name, library: [])
    return found


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
        (
            ["a man", "--experiment", "paper", "--method", "oracle"],
            "ground-truth heads, which are of 'anny'; got 'flame'",
        ),
        (["a pirate", "--method", "oracle"], "known of captions like those in prompts/embedded.tsv; got 'a pirate'"),
    ],
)
def test_wrong_input_is_reported_and_nothing_is_made(made, capsys, arguments, message):
    assert main(["make", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split()) and not made


def test_avatar_is_made_once(made, capsys, workplace):
    asked = ["make", "a man", "--steps-scale", "0.01", "--no-show", "--out", "mine"]
    assert main(asked) == 0 and main(asked) == 0
    ((run, task),) = made
    assert run.batch_size == 1 and run.method.steps < 10
    lines = capsys.readouterr().out.split()
    assert lines[0] == str(task.folder / "avatar.safetensors") and task.folder.parent == workplace / "mine"
    assert (task.folder / "avatar.json").exists()
    assert main([*asked, "--seed", "1"]) == 0 and len(made) == 2


def test_other_settings_leave_a_finished_avatar_alone(made, workplace):
    asked = ["make", "a man", "--no-show", "--out", "mine"]
    others = (["--steps-scale", "0.02"], ["--method", "no_offsets"], ["--seed", "1"])
    for change in ([], *others):
        assert main([*asked, "--steps-scale", "0.01", *change]) == 0
    assert len(made) == len(list((workplace / "mine").glob("*/done.json"))) == 1 + len(others)
    assert main([*asked, "--steps-scale", "0.01"]) == 0 and len(made) == 1 + len(others)


def test_failed_rendering_is_reported_and_the_avatar_stands(made, capsys, monkeypatch, workplace):
    script = workplace / "show.py"
    script.write_text("raise RuntimeError('no encoder')")
    monkeypatch.setattr(make, "SHOW", script)
    assert main(["make", "a man", "--steps-scale", "0.01"]) == 1
    said = capsys.readouterr()
    assert "rendering it failed: RuntimeError: no encoder" in said.err and "Traceback" not in said.err
    ((_, task),) = made
    assert said.out.split() == [
        str(task.folder / name) for name in ("avatar.safetensors", "texture.png", "avatar.json")
    ]
    assert "Traceback" in (task.folder / "show.log").read_text()


def test_failed_avatar_is_reported(made, capsys):
    assert main(["make", "explode", "--no-show"]) == 1
    assert "ValueError: it exploded" in capsys.readouterr().err


def test_truncated_prompt_is_reported(monkeypatch, workplace, capsys):
    def pretend(task, run, gpus, console):
        task.folder.mkdir(parents=True)
        facts = {"fingerprint": task.fingerprint, "status": "ok", "message": "", "truncated_by": ["prior 'mini'"]}
        (task.folder / "done.json").write_text(json.dumps(facts))

    monkeypatch.setattr(make, "make", pretend)
    assert main(["make", "a man", "--no-show"]) == 0
    assert "prior 'mini' truncates this prompt" in capsys.readouterr().err


def test_words_that_the_prior_never_read_are_named(made, capsys):
    assert main(["make", "a cheerful lad", "--no-show"]) == 0
    assert "prior 'mini' never read: cheerful, lad;" in capsys.readouterr().err
    assert main(["make", "a smiling boy", "--no-show"]) == 0
    assert "never read" not in capsys.readouterr().err
