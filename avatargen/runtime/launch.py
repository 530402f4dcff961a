"""What the Snakefile does before and at the start of a run, kept in Python so that it can be tested.

`Launch` validates the study at parse, clears the lock that a killed Snakemake left, and starts what a run
needs: a Ray head and the board of progress.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any

from avatargen.config.errors import InputError, unknown
from avatargen.config.experiment import Experiment
from avatargen.config.places import DEFAULT_EXPERIMENT, ROOT
from avatargen.io.atomic import write_text
from avatargen.io.content_hash import digest
from avatargen.preflight.plan import read_plan, write_plan
from avatargen.preflight.validate import Study, check_space, validate_all
from avatargen.runtime import parent_watch, ray_head
from avatargen.runtime.fingerprint import of_avatars, of_method
from avatargen.runtime.generate_chunk import PHASE1, starts_of
from avatargen.runtime.progress import BOARD, Board, weight
from avatargen.runtime.score_table import score_table
from avatargen.runtime.worker import Task, is_done

STATE = Path(".snakemake/avatargen")
LOCKS = Path(".snakemake/locks")


def study_of(config: Mapping[str, Any], check_disk: bool, root: Path = ROOT) -> Study:
    """The study that Snakemake's ``--config`` asks for.

    Args:
        config: ``experiment`` names it (or its file); other keys change fields of the experiment.
        check_disk: estimate the space too.

    Raises:
        InputError: anything is wrong; all of it.
    """
    known = {name for name in Experiment.model_fields if name != "evaluation"} | {"evaluation"}
    bad = [unknown("key", key, known, "--config") for key in config if key not in known]
    name = str(config.get("experiment", DEFAULT_EXPERIMENT))
    changes = {key: _as_tuple(key, config[key]) for key in config if key in known and key != "experiment"}
    try:
        study = validate_all(name, changes, root)
    except InputError as error:
        raise InputError([*bad, *error.problems]) from None
    if bad:
        raise InputError(bad)
    if check_disk:
        check_space(study, Path("results") / study.experiment.experiment)
    return study


def asked(study: Study, root: Path = ROOT) -> Callable[[str, str, str], str]:
    """A function of (list, method, chunk): a hash of what a chunk is to hold.

    That is what its avatars' fingerprints cover, and what the manifest says of each prompt besides. Code and
    weights are read once for each method, since a method may have many chunks.
    """
    facts = cache(lambda method: digest(*of_method(study.runs[method], root)))

    def of_chunk(name: str, method: str, chunk: str) -> str:
        return digest(facts(method), [item.facts() for item in study.chunks(name, method)[chunk]])

    return of_chunk


def clear_after_crash(state: Path = STATE, locks: Path = LOCKS) -> bool:
    """Remove the lock of a Snakemake that was killed. Returns whether there was one.

    A run notes its process (`note_owner`) and takes the note away when it ends. A note of a process that no
    longer runs on this machine therefore means a crash, and only then is the lock touched; and not while another
    experiment runs here, whose lock lies in the same folder.
    """
    if not any(state.glob("owner-*")):
        return False
    with _guard(state):
        notes = list(state.glob("owner-*"))
        if any(map(_runs, notes)):
            return False
        for note in notes:
            note.unlink(missing_ok=True)
        if not notes or not locks.is_dir() or not any(locks.iterdir()):
            return False
        shutil.rmtree(locks, ignore_errors=True)
        locks.mkdir(parents=True, exist_ok=True)
        note_owner(state)
        return True


def note_owner(state: Path = STATE) -> None:
    """Note that this process runs the workflow here."""
    write_text(_note(state), parent_watch.stamp())


def forget_owner(state: Path = STATE) -> None:
    """The run has ended in an orderly way."""
    _note(state).unlink(missing_ok=True)


def start_run(study: Study, cores: int, local: bool, plan: str) -> None:
    """At the start of a run: note owner and plan, count what is to be made, start Ray where it is needed.

    Args:
        study: what runs.
        cores: that Snakemake was given.
        local: whether jobs run on this machine (not through a cluster's executor).
        plan: file for the resolved study.
    """
    with _guard(STATE):
        note_owner()
    if note := former_report(study, plan):
        print(note, file=sys.stderr)
    write_plan(study, Path(plan))
    _forget_starts(study)
    left, own = list(waiting(study)), STATE / study.experiment.experiment  # others may run here beside it
    board = Board.create(own / "board.jsonl", left)
    os.environ[BOARD] = str(board.path.absolute())
    experiment = study.experiment
    own_head = local and experiment.backend == "ray" and not os.environ.get("RAY_ADDRESS")
    if not own_head or not left:
        return
    file = (own / "ray.json").absolute()
    os.environ[ray_head.HEAD_FILE] = str(file)
    cpus = max(cores, experiment.cpus_per_worker)
    ray_head.spawn(file, cpus, experiment.gpus_per_worker > 0, own / "ray.log")


def former_report(study: Study, plan: str) -> str | None:
    """A line about the report that this run replaces, if that is of lists or methods which this one is without."""
    try:
        former = read_plan(plan)
    except (OSError, ValueError, KeyError):
        return None
    gone = [*(former.lists.keys() - study.lists.keys()), *(former.runs.keys() - study.runs.keys())]
    if not gone:
        return None
    place = f"results/{study.experiment.experiment}"
    return (
        f"{place}: tables, plots and report are made anew, without {', '.join(sorted(gone))}; the avatars stay. "
        "An experiment of its own (workflow/config/NAME.yaml) has a report of its own."
    )


def remarks(study: Study) -> list[str]:
    """What the end of a run should say of its results: avatars that failed, texts that were read in part."""
    place = Path("results") / study.experiment.experiment
    chunks = [(name, method) for name in study.lists for method in study.runs]
    files = [
        place / name / method / "generate" / f"{chunk}.jsonl"
        for name, method in chunks
        for chunk in study.chunks(name, method)
    ]
    files = filter(Path.is_file, files)  # not all are there where somebody asked for a part
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    failed = sum(row["status"] != "ok" for row in rows)
    lines = [f"{failed} of {len(rows)} avatars failed: {place}/tables/failures.csv"] if failed else []
    cut = {reader: row["prompt"] for row in rows for reader in row.get("truncated_by", ())}
    protocols = place / "tables/protocols.json"
    for facts in json.loads(protocols.read_text(encoding="utf-8")).values() if protocols.is_file() else ():
        if facts.get("truncated") and facts["name"] in study.judges:
            cut[f"judge '{facts['name']}'"] = facts["truncated"][0]
    if cut:
        text = shorten(next(iter(cut.values())), 60, placeholder=" ...")
        lines.append(f"Some texts are longer than {', '.join(cut)} can read, as '{text}'; the report counts them.")
    return lines


def closing_lines(study: Study) -> list[str]:
    """Return what the end of a run prints: the table of scores, remarks, and where the report is."""
    place = Path("results") / study.experiment.experiment
    report = place / "report/index.html"
    lines = [score_table(place / "tables", study.experiment.judges[0]), *remarks(study)]
    return [line for line in (*lines, f"Report: {report}" if report.is_file() else "") if line]


def serve_jobs(root: Path = ROOT) -> None:
    """Set what jobs inherit: the process they live for, and where this project's packages are."""
    os.environ[parent_watch.PARENT] = parent_watch.stamp()
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(root), *others]))


def _note(state: Path) -> Path:
    return state / f"owner-{os.getpid()}"


def _runs(note: Path) -> bool:
    """Whether the process of a note runs; True where that cannot be told."""
    try:
        return parent_watch.is_alive(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True


def _forget_starts(study: Study) -> None:
    """Remove kept phases 1 that no method goes on from any more, since code, settings or prompts changed."""
    for name in study.lists:
        folder, runs = Path("results") / study.experiment.experiment / name, study.runs.values()
        wanted = {start for run in runs for start in starts_of(run, study.items(name, run.method_name), folder, runs)}
        for start in (folder / PHASE1).absolute().glob("*"):
            if start not in wanted:
                shutil.rmtree(start, ignore_errors=True)


def waiting(study: Study) -> Iterator[float]:
    """How long each avatar takes that is not there yet; phase 1 counts once for the methods that share it."""
    results, runs, begun = Path("results") / study.experiment.experiment, study.runs.values(), set()
    for run in runs:
        for name in study.lists:
            avatars, items = results / name / run.method_name / "avatars", study.items(name, run.method_name)
            starts = starts_of(run, items, results / name, runs)
            for item, fingerprint, start in zip(items, of_avatars(run, items), starts, strict=True):
                if not is_done(Task(item, avatars / item.id, fingerprint)):
                    goes_on = start is not None and (start in begun or start.is_dir())
                    yield weight(run, run.method.phase1_steps if goes_on else 0)
                    begun.add(start)


@contextmanager
def _guard(state: Path) -> Iterator[None]:
    """One process at a time."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "guard").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _as_tuple(key: str, value: Any) -> Any:
    """``methods=full`` on the command line means a list of one, ``methods=full,template`` one of two."""
    if key not in ("lists", "methods", "judges", "seeds") or isinstance(value, list | tuple):
        return value
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]
    return [int(part) if key == "seeds" and str(part).isdigit() else part for part in parts]
