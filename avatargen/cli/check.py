"""``avatargen check``: every problem of an experiment at once, and what a run costs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path

from avatargen.cli.run import add_fields, fields_of
from avatargen.io.atomic import read_json
from avatargen.preflight.disk_estimate import free_bytes, size_text
from avatargen.preflight.plan import Study
from avatargen.preflight.validate import needed_bytes
from avatargen.preflight.word_checks import word_notes
from avatargen.runtime.launch import study_of, to_take_over, waiting
from avatargen.runtime.progress import duration, weight

SECONDS_UNKNOWN = "unknown until an avatar is finished; `{command} --limit 1` tells"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``avatargen check``."""
    parser = subparsers.add_parser(
        "check",
        allow_abbrev=False,
        help="all problems of an experiment, and what a run costs",
        description="Report everything that a run of an experiment lacks, or what the run costs.",
    )
    add_fields(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what a run costs. Return the exit status.

    Raises:
        InputError: the run could not start; all problems.
    """
    study = study_of(fields_of(options), check_disk=True, here=True)
    for note in (*study.notes, *word_notes(study)):
        print(note)
    named = f" --name {options.name}" if options.name else ""
    for name, text in costs(study, f"avatargen run {options.experiment}{named}").items():
        print(f"{name:<10} {text}")
    return 0


def costs(study: Study, command: str) -> dict[str, str]:
    """Return what a run of a study, which `command` starts, makes and what that takes, as texts."""
    experiment = study.experiment
    results = Path("results") / experiment.experiment
    total = sum(len(study.items(name, method)) for name in study.lists for method in study.runs)
    steps = {name: list(waiting(study.part_of(name))) for name in study.priors}
    left = [one for some in steps.values() for one in some]
    shared = to_take_over(study)
    others = f"{shared} to take over from other experiments, " if shared else ""
    prompts = {name: len({item.item for item in items}) for name, items in study.lists.items()}
    lists = ", ".join(f"{count} prompt{'s' * (count != 1)} of '{name}'" for name, count in prompts.items())
    seeds = counted(experiment.seeds, "seed")
    methods = counted(experiment.methods, "method")
    priors = f", {counted(study.priors, 'prior')}" if experiment.priors else ""
    return {
        "prompts": f"{lists}; {seeds}, {methods}{priors}, {counted(study.judges, 'judge')}",
        "avatars": f"{len(left)} to make, {others}{total - len(left) - shared} finished",
        "steps": f"{sum(left):,.0f}, in units of a step of phase 1 (a step of phase 2 with masks counts as 2)",
        "time": _time(study, steps, results, command) if left else "nothing to make",
        "disk": f"{size_text(needed_bytes(study, results))} needed, {size_text(free_bytes(results))} free",
    }


def counted(things: Sized, noun: str) -> str:
    """Return a number of things with its noun.

    Example:
        >>> counted([0, 1], "seed"), counted(["mini"], "judge")
        ('2 seeds', '1 judge')
    """
    return f"{len(things)} {noun}{'s' * (len(things) != 1)}"


def _time(study: Study, steps: Mapping[str, Sequence[float]], results: Path, command: str) -> str:
    """Return the time that steps take, which are given by the prior, as text."""
    experiment = study.experiment
    worker = "one GPU" if experiment.gpus_per_worker else f"a worker of {experiment.cpus_per_worker} cores"
    rates = {name: _seconds_per_step(study.part_of(name), results) for name, some in steps.items() if sum(some)}
    unknown = [name for name, rate in rates.items() if rate is None]
    if len(unknown) == len(rates):
        return SECONDS_UNKNOWN.format(command=command)
    known = sum(sum(steps[name]) * (rate or 0.0) for name, rate in rates.items())
    beside = f", beside that of {', '.join(unknown)}: unknown until an avatar is finished" if unknown else ""
    return f"about {duration(known)} of {worker}{beside}"


def _seconds_per_step(study: Study, results: Path) -> float | None:
    """Return the mean seconds per step of the study's finished avatars; None where there are none."""
    seconds = steps = 0.0
    for name in study.lists:
        for method, run in study.runs.items():
            for item in study.items(name, method) if run.method.optimises else ():
                facts = read_json(results / name / method / "avatars" / item.id / "done.json")
                if facts.get("status") == "ok" and facts.get("seconds"):
                    seconds, steps = seconds + facts["seconds"], steps + weight(run)
    return seconds / steps if steps else None
