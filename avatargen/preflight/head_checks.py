"""Find out what is wrong with the head models that an experiment and its methods name."""

from __future__ import annotations

from collections.abc import Mapping

from avatargen.config.crossing import split_name
from avatargen.config.errors import unknown
from avatargen.config.experiment import RunConfig
from avatargen.config.plugins import HEADS
from avatargen.preflight.weight_checks import head_problems


def named_head_problems(name: str, where: str) -> list[str]:
    """Return what is wrong with a head model: no such name, or files that are missing.

    Args:
        name: of the head model.
        where: the place that names it, for messages.
    """
    return head_problems(name) if name in HEADS else [unknown("head", name, HEADS, where)]


def method_head_problems(head: str, runs: Mapping[str, RunConfig | None]) -> list[str]:
    """Return what is wrong with head models that methods name instead of the experiment's, each line once.

    Args:
        head: the experiment's, which is checked by itself.
        runs: by name.
    """
    others = {name: run.head for name, run in runs.items() if run is not None and run.head != head}
    found = [named_head_problems(other, f"methods.yaml: {split_name(name)[0]}: head") for name, other in others.items()]
    return list(dict.fromkeys(line for lines in found for line in lines))
