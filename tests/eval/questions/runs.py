"""Resolved methods for the tests of questions, which look at their names alone."""

from __future__ import annotations

from avatargen.config.experiment import RunConfig
from avatargen.config.settings import MethodSettings, PriorSettings


def runs_of(*methods: str) -> dict[str, RunConfig]:
    """Methods with default settings, by name."""
    shared = {"head": "anny", "renderer": "warp", "batch_size": 6, "threads": 1}
    prior = PriorSettings(path="nowhere")
    return {
        name: RunConfig(method_name=name, method=MethodSettings(), prior_name="own", prior=prior, **shared)
        for name in methods
    }
