"""Prompts that a text encoder cannot hold: the avatar, its row, the command line and the report say so."""

import json

import torch

from avatargen import __main__ as cli
from avatargen.config.experiment import RunConfig
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.priors.long_prompts import truncate_to_fit
from avatargen.runtime.generate_chunk import make_chunk
from avatargen.runtime.truncated_prompts import notice_cuts
from avatargen.runtime.worker_pool import ExecutionSettings
from tests.small_prior import write_pipeline

LONG = "a man with green skin and " + "a very long white beard and " * 9 + "a hat"


def test_an_avatar_tells_who_did_not_read_its_prompt_whole(workplace):
    torch.manual_seed(0)
    prior = PriorSettings(
        path=str(write_pipeline(workplace, "epsilon")), latent_size=16, texture_size=32, samples=1, adam_eps=1e-8
    )
    method = MethodSettings(phase1_steps=1, phase2_steps=0, views=1)
    run = RunConfig(
        method_name="full", method=method, prior_name="small", prior=prior, head="anny", renderer="warp",
        batch_size=2, threads=1,
    )  # fmt: skip
    asked = [PromptItem("l", "long", LONG), PromptItem("l", "short", "a man"), PromptItem("l", "long", LONG, seed=1)]
    rows = make_chunk(run, asked, workplace / "l/full/avatars", ExecutionSettings("serial", threads=1))
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert [len(row["truncated_by"]) for row in rows] == [1, 0, 1]  # again for the second batch, in the same process
    assert rows[0]["truncated_by"] == ["prior 'small'"]
    made = json.loads((workplace / rows[0]["folder"] / "done.json").read_text())
    assert made["truncated_by"] == rows[0]["truncated_by"]


def test_a_prompt_that_names_a_view_is_recognised():
    with notice_cuts() as noticed:
        truncate_to_fit(f"{LONG}, side view", lambda text: len(text) < 60, "prior x")
        truncate_to_fit(LONG, lambda text: len(text) < 60, "prior y")
    assert noticed.of(f"{LONG}, side view") == noticed.of(LONG) == ["prior x", "prior y"]
    assert noticed.of("a man") == []


def test_the_command_line_says_it(monkeypatch, workplace, capsys):
    def make(task, run, gpus, console):
        task.folder.mkdir(parents=True)
        facts = {"fingerprint": task.fingerprint, "status": "ok", "message": "", "truncated_by": ["prior small"]}
        (task.folder / "done.json").write_text(json.dumps(facts))

    monkeypatch.setattr(cli, "make", make)
    monkeypatch.setattr(cli, "prior_problems", lambda name, library: [])
    assert cli.main(["a man", "--no-show"]) == 0
    assert "prior small does not read this prompt to its end" in capsys.readouterr().err
