"""Prepare a run of the workflow: validate the study, start Ray and the progress board.

The Snakefile calls these functions when it is parsed and when a run starts and ends, so this module imports no torch.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any

from avatargen.config.command_line import split_fields
from avatargen.config.directions import isolated
from avatargen.config.errors import InputError, Problems
from avatargen.config.experiment import RunConfig
from avatargen.config.loading import load_library, valid_part
from avatargen.config.places import ROOT
from avatargen.io.content_hash import digest
from avatargen.io.manifest import read_rows
from avatargen.method.sources import source_of
from avatargen.preflight.folders import folder_problems, writing_problems
from avatargen.preflight.machine import machine_problems
from avatargen.preflight.plan import read_plan, write_plan
from avatargen.preflight.report_folder import with_own_folder
from avatargen.preflight.validate import Study, check_space, lacking_space, validate_all
from avatargen.preflight.word_checks import word_notes
from avatargen.runtime import ownership, parent_watch, ray_head
from avatargen.runtime.fingerprint import ingredients, of_method
from avatargen.runtime.generate_chunk import PHASE1, tasks_of
from avatargen.runtime.ownership import STATE
from avatargen.runtime.progress import BOARD, Board, weight
from avatargen.runtime.score_table import score_table
from avatargen.runtime.sharing import Donors, taken_line
from avatargen.runtime.task import Task, has_phase1, is_done
from avatargen.runtime.worker_pool import has_cluster

COMMAND = "AVATARGEN_COMMAND"
"""Variable that holds the command that became Snakemake."""
ELSEWHERE = {"--executor", "-e", "--profile"}
"""Options of Snakemake with which jobs may run on other machines."""


def study_of(config: Mapping[str, Any], check_disk: bool, root: Path = ROOT, here: bool = False) -> Study:
    """Return the study that Snakemake's ``--config`` asks for.

    Args:
        config: ``experiment`` names the experiment or its file, ``name`` its results; other keys change its fields.
        check_disk: also check that the disk has room for the results.
        root: folder that holds the packages.
        here: jobs run on this machine (`runs_here`), so also check its GPUs, and models that a hub has.

    Raises:
        InputError: some input is wrong; it reports every problem.
    """
    (name, changes, bad), problems = split_fields(config), Problems()
    problems.add(bad)
    found = problems.of(lambda: validate_all(name, changes, root))
    problems.add(_lacking_here(name, changes, root) if here else ())
    study = with_own_folder(found, changes) if found else None
    problems.add(folder_problems([_results(study)]) if study else ())
    study = problems.checked(study)
    if check_disk:
        check_space(study, _results(study))
    return study


def runs_here(arguments: Sequence[str]) -> bool:
    """Return whether a run's jobs surely run on this machine.

    Args:
        arguments: of Snakemake; an executor or a profile may take jobs elsewhere, also where a dry run hides it.
    """
    options = {argument.partition("=")[0] for argument in arguments}
    return not has_cluster() and not options & ELSEWHERE and not os.environ.get("SNAKEMAKE_PROFILE")


def _lacking_here(name: str, changes: Mapping[str, Any], root: Path) -> list[str]:
    """Return what this machine lacks for the part of an experiment that is valid."""
    experiment, _ = valid_part(name, root, changes)
    try:
        return machine_problems(experiment, load_library(root), root) if experiment else []
    except InputError:  # validation reports the faulty table
        return []


def asked(study: Study, root: Path = ROOT) -> Callable[[str, str, str], str]:
    """Return a function that hashes what a chunk, given by (list, method, chunk), is to hold.

    The hash covers the avatars' fingerprints and what the manifest repeats of each prompt. Code and weights are read
    once per method, since a method may have many chunks, and a prompt is hashed once for all methods.
    """
    facts = cache(lambda method: digest(*of_method(study.runs[method], root)))
    of_item = cache(lambda item: digest(item.facts()))

    def of_chunk(name: str, method: str, chunk: str) -> str:
        run, items = study.runs[method], study.chunks(name, method)[chunk]
        source = source_of(run)
        files = [ingredients(source, run, item, root) for item in items] if source.is_external else []
        return digest(facts(method), list(map(of_item, items)), files)

    return of_chunk


def notes_of(study: Study) -> list[str]:
    """Return what the user should know before a run, one line each; a run that lacks disk space will not start."""
    return [*study.notes, *word_notes(study), *lacking_space(study, _results(study))]


def start_run(study: Study, cores: int, local: bool, plan: str) -> None:
    """Start a run: note its process, write its plan, count the avatars to make, and start Ray if that is needed.

    Args:
        study: the study to run.
        cores: cores that Snakemake was given.
        local: jobs run on this machine, not through a cluster's executor.
        plan: file for the resolved study.

    Raises:
        InputError: a folder cannot be written, or the disk has too little space for the avatars that are not made yet;
            nothing was started.
    """
    if problems := writing_problems([_results(study), STATE]):
        raise InputError(problems)
    check_space(study, _results(study))
    with ownership.guard(STATE):
        ownership.note_owner(experiment=study.experiment.experiment)
    if note := former_report(study, plan):
        print(note, file=sys.stderr)
    write_plan(study, Path(plan), os.environ.get(COMMAND) or command_line("snakemake"))
    _remove_stale_phase1(study)
    left, own = list(waiting(study)), STATE / study.experiment.experiment  # other experiments may run here too
    board = Board.create(own / "board.jsonl", left)
    os.environ[BOARD] = str(board.path.absolute())
    experiment, head = study.experiment, None
    if left and local and experiment.backend == "ray" and not os.environ.get("RAY_ADDRESS"):
        file = (own / "ray.json").absolute()
        os.environ[ray_head.HEAD_FILE] = str(file)
        cpus = max(cores, experiment.cpus_per_worker)
        head = ray_head.spawn(file, cpus, experiment.gpus_per_worker > 0, own / "ray.log").pid
    ownership.end_on_sigterm(head)


def command_line(program: str) -> str:
    """Return the command that started this process, as a user types it."""
    return shlex.join([program, *sys.argv[1:]])


def former_report(study: Study, plan: str) -> str | None:
    """Return a line about the report that this run replaces, if this run lacks some of what that covers."""
    try:
        former = read_plan(plan)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    gone = [*(former.lists.keys() - study.lists.keys()), *(former.runs.keys() - study.runs.keys())]
    for name in former.lists.keys() & study.lists.keys():
        if fewer := len({*former.lists[name]} - {*study.lists[name]}):
            gone.append(f"{fewer} of {len(former.lists[name])} prompts and seeds of '{name}'")
    if not gone:
        return None
    place = f"results/{study.experiment.experiment}"
    return (
        f"{place}: tables, plots and report are replaced, without {', '.join(sorted(gone))}; the avatars stay. "
        "To keep both reports, name this one: --config name=NAME."
    )


def remarks(study: Study) -> list[str]:
    """Return the lines that end a run: avatars that failed or were taken over, and truncated prompts."""
    place = Path("results") / study.experiment.experiment
    chunks = [(name, method) for name in study.lists for method in study.runs]
    files = [
        place / name / method / "generate" / f"{chunk}.jsonl"
        for name, method in chunks
        for chunk in study.chunks(name, method)
    ]
    rows = [row for file in files if file.is_file() for row in read_rows(file)]  # a partial run lacks some files
    failed = sum(row["status"] != "ok" for row in rows)
    lines = [f"{failed} of {len(rows)} avatars failed: {place}/tables/failures.csv"] if failed else []
    if taken := Counter(row["taken_from"] for row in rows if row.get("taken_from")):
        lines.append(f"{taken_line(dict(taken), len(rows))}.")
    truncated = {reader: row["prompt"] for row in rows for reader in row.get("truncated_by", ())}
    protocols = place / "tables/protocols.json"
    for facts in json.loads(protocols.read_text(encoding="utf-8")).values() if protocols.is_file() else ():
        if facts.get("truncated") and facts["name"] in study.judges:
            truncated[f"judge '{facts['name']}'"] = facts["truncated"][0]
    if truncated:
        text = isolated(shorten(next(iter(truncated.values())), 60, placeholder=" ..."))
        lines.append(
            f"Some texts are longer than {', '.join(truncated)} can read, as '{text}'; the report counts them."
        )
    return lines


def closing_lines(study: Study) -> list[str]:
    """Return what the end of a run prints: the table of scores, remarks, and where the report is."""
    place = Path("results") / study.experiment.experiment
    report = place / "report/index.html"
    lines = [score_table(place / "tables", study.experiment.judges[0]), *remarks(study)]
    return [line for line in (*lines, f"Report: {report}" if report.is_file() else "") if line]


def serve_jobs(root: Path = ROOT) -> None:
    """Set the variables that jobs inherit: the process that they end with, and the path of this project's packages."""
    os.environ[parent_watch.PARENT] = parent_watch.stamp()
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(root), *others]))


def _results(study: Study) -> Path:
    return Path("results") / study.experiment.experiment


def _tasks(study: Study) -> Iterator[tuple[RunConfig, list[Task]]]:
    """Yield each method with its avatars, list by list."""
    runs = study.runs.values()
    for run in runs:
        for name in study.lists:
            avatars = Path("results") / study.experiment.experiment / name / run.method_name / "avatars"
            yield run, tasks_of(run, study.items(name, run.method_name), avatars, runs)


def _remove_stale_phase1(study: Study) -> None:
    """Remove shared phases 1 that no method needs any more, since code, settings or prompts changed."""
    if study.experiment.limit is not None:
        return  # the other prompts of the lists need theirs
    needed = {task.phase1 for _, tasks in _tasks(study) for task in tasks}
    for name in study.lists:
        for folder in (Path("results") / study.experiment.experiment / name / PHASE1).absolute().glob("*"):
            if folder not in needed:
                shutil.rmtree(folder, ignore_errors=True)


def waiting(study: Study) -> Iterator[float]:
    """Yield the weight of each avatar to make; a shared phase 1 counts once.

    Avatars that are done are left out, and those to take over from other experiments.
    """
    begun: set[Path | None] = set()
    for run, tasks in _tasks(study):
        taken = _to_take_over(study, run, tasks)
        for task in tasks:
            if not is_done(task) and task.folder not in taken:
                resumes = task.phase1 and (task.phase1 in begun or has_phase1(task))
                yield weight(run, run.method.phase1_steps if resumes else 0)
                begun.add(task.phase1)


def to_take_over(study: Study) -> int:
    """Return the number of avatars that are not done and to take over from other experiments."""
    return sum(len(_to_take_over(study, run, tasks)) for run, tasks in _tasks(study))


def _to_take_over(study: Study, run: RunConfig, tasks: Sequence[Task]) -> set[Path]:
    """Return the folders of a method's avatars in a list that another experiment holds and this one does not."""
    if not study.experiment.share or not tasks:
        return set()
    donors = Donors.find(Path("results"), run.method_name, tasks[0].folder.parent)
    return {task.folder for task in tasks if not is_done(task) and any(donors.of(task))}
