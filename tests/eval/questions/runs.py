"""What the tests of questions share: resolved methods, which look at their names alone, and verdicts."""

from __future__ import annotations

from avatargen.config.experiment import RunConfig
from avatargen.config.settings import MethodSettings, PriorSettings
from eval.questions.base import Answer
from eval.questions.verdicts import answers


def runs_of(*methods: str) -> dict[str, RunConfig]:
    """Methods with default settings, by name."""
    shared = {"head": "anny", "renderer": "warp", "batch_size": 6, "threads": 1}
    prior = PriorSettings(path="nowhere")
    return {
        name: RunConfig(method_name=name, method=MethodSettings(), prior_name="own", prior=prior, **shared)
        for name in methods
    }


def verdicts(found: Answer) -> dict[str, str]:
    """The verdict of each statement of an answer."""
    table = answers(found.statements)
    return dict(zip(table["statement"], table["verdict"], strict=True))
