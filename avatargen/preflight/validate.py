"""Everything a run will need, checked before the first job, with all problems in one message.

Called at the Snakefile's parse: imports neither torch nor pandas.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avatargen.config.errors import InputError, Problems, unknown
from avatargen.config.experiment import Experiment, JudgeSettings, Library, RunConfig
from avatargen.config.loading import as_far_as_right, load_experiment, load_library, resolve
from avatargen.config.phase1 import shared_phase1
from avatargen.config.places import ROOT, list_folders
from avatargen.config.plugins import HEADS, RENDERERS
from avatargen.config.prompts import PromptItem, find_list, negatives_of, read_captions, read_list, with_seeds
from avatargen.config.settings import PriorSettings
from avatargen.exchange.mesh_files import mesh_problems
from avatargen.headworld.phrases import described
from avatargen.preflight import disk_estimate
from avatargen.preflight.weight_checks import clip_problems, head_problems, prior_problems

CONNECT_TIMEOUT_S = 3.0
WORLD_HEAD = "anny"
"""The head model of the head world: true heads are of no other."""
NAMED = 3
"""How many items a line names of those that have the same problem."""


@dataclass(frozen=True)
class Study:
    """An experiment with everything that it names resolved.

    Attributes:
        experiment: as the user wrote it.
        runs: resolved configuration of each method, in order.
        reasons: one line for each method.
        prior: settings of the prior.
        judges: settings of each judge.
        lists: prompts × seeds of each list, in order; files: where each list lies.
        pool: captions that pool the geometry track, if the experiment names a list for it.
        notes: what the user should know of, a line each.
    """

    experiment: Experiment
    runs: dict[str, RunConfig]
    reasons: dict[str, str]
    prior: PriorSettings
    judges: dict[str, JudgeSettings]
    lists: dict[str, tuple[PromptItem, ...]]
    files: dict[str, Path]
    pool: Path | None
    notes: Sequence[str] = ()

    @property
    def true_methods(self) -> list[str]:
        """Methods that make the true head: of prompts that have one."""
        return [name for name, run in self.runs.items() if run.method.source == "oracle"]

    def has_truth(self, item: PromptItem) -> bool:
        """Whether the true head of a prompt is known, and one of this experiment's head model."""
        return self.experiment.head == WORLD_HEAD and described(item.prompt, item.tags) is not None

    def items(self, name: str, method: str) -> tuple[PromptItem, ...]:
        """What a method makes of a list: all that it can, or the part that the experiment reduces the method to."""
        items = self.lists[name]
        if method in self.true_methods:
            items = tuple(item for item in items if self.has_truth(item))
        return _reduced(self.experiment, method, items)

    def chunks(self, name: str, method: str) -> dict[str, tuple[PromptItem, ...]]:
        """What a method makes of a list, in pieces of `chunk_size`, by the name of each piece."""
        items, size = self.items(name, method), self.experiment.chunk_size
        return {f"{start // size:04d}": items[start : start + size] for start in range(0, len(items), size)}


def validate_all(name: str, changes: Mapping[str, Any] | None = None, root: Path = ROOT) -> Study:
    """Load an experiment with all that it names, and check all that can be checked cheaply.

    Args:
        name: of the experiment, or the path of its file.
        changes: fields of the experiment that the command line changes.
        root: the repository.

    Raises:
        InputError: unknown keys, methods, lists, priors, judges, heads; bad lists; missing weights; a wrong
            or unreachable RAY_ADDRESS; all of them together.
    """
    problems = Problems()
    whole = problems.of(lambda: load_experiment(name, root, changes))
    library = problems.of(lambda: load_library(root))
    experiment, wrong = (whole, set()) if whole else as_far_as_right(name, root, changes)
    if experiment is None:
        problems.check()
    lists, files = _read_lists(experiment, root, problems)
    pool_file = _geometry_pool(experiment, root, problems)
    problems.add(_names(experiment))
    problems.add(_machine(experiment) if "backend" not in wrong else ())
    if library is None:
        problems.check()
    runs = {method: problems.of(lambda m=method: resolve(experiment, m, library)) for method in experiment.methods}
    judges = _judges(experiment, library, root, problems) if "judges" not in wrong else {}
    problems.add(_guides(experiment, runs, library, root) if not wrong & {"judges", "clip_guide"} else ())
    problems.add(_meshes(experiment, runs, lists, root) if not wrong & {"seeds", "reduced"} else ())
    if experiment.prior in library.priors and "prior" not in wrong:
        problems.add(prior_problems(experiment.prior, library, root))
    problems.check()
    reasons = {method: library.methods[method].reason for method in experiment.methods}
    prior = library.priors[experiment.prior]
    return _with_truth_only(Study(experiment, runs, reasons, prior, judges, lists, files, pool_file))


def _reduced(experiment: Experiment, method: str, items: tuple[PromptItem, ...]) -> tuple[PromptItem, ...]:
    """The items, or the part of them that the experiment reduces a method to."""
    reduced = experiment.reduced
    if reduced is None or method not in reduced.methods:
        return items
    first = set(list(dict.fromkeys(item.item for item in items))[: reduced.prompts])
    return tuple(item for item in items if item.item in first and item.seed in reduced.seeds)


def guiding_judges(study: Study) -> dict[str, list[str]]:
    """For each method that a CLIP guided, the judges that are that CLIP: what they say of it does not count."""
    return {
        method: [name for name, judge in study.judges.items() if judge == run.clip]
        for method, run in study.runs.items()
        if run.clip is not None
    }


def check_space(study: Study, results: Path) -> None:
    """Estimate what the avatars that are not there yet will take.

    Raises:
        InputError: the disk has too little space.
    """
    settings = study.experiment.evaluation
    needed, phases = 0, []
    for run in study.runs.values():
        for name in study.lists:
            folder = results / name / run.method_name / "avatars"
            items = study.items(name, run.method_name)
            missing = sum(not (folder / item.id / "done.json").is_file() for item in items)
            needed += missing * disk_estimate.avatar_bytes(run, settings)
            phase1 = shared_phase1(run, study.runs.values())
            kept = missing if phase1 and (name, phase1) not in phases else min(missing, study.experiment.batch_size)
            phases.append((name, phase1))
            needed += kept * disk_estimate.checkpoint_bytes(run)
    problem = disk_estimate.space_problem(needed, results) if needed else None
    if problem:
        raise InputError([problem])


def _read_lists(experiment: Experiment, root: Path, problems: Problems):
    """The prompts and the file of each list that can be read."""
    lists: dict[str, tuple[PromptItem, ...]] = {}
    files: dict[str, Path] = {}
    for name in experiment.lists:
        path = problems.of(lambda n=name: find_list(n, list_folders(root)))
        items = problems.of(lambda p=path: read_list(p)) if path else None
        if path and items:
            files[name], lists[name] = path, with_seeds(items, experiment.seeds)
            if negatives_of(path).is_file():
                problems.of(lambda p=path: read_captions(negatives_of(p)))
    return lists, files


def _geometry_pool(experiment: Experiment, root: Path, problems: Problems) -> Path | None:
    """The file of the list that pools the geometry track, if the experiment names one, and it can be read."""
    name = experiment.geometry_pool
    path = problems.of(lambda: find_list(str(name), list_folders(root))) if name else None
    if path:
        problems.of(lambda: read_list(path))
    return path


def _judges(experiment: Experiment, library: Library, root: Path, problems: Problems) -> dict[str, JudgeSettings]:
    """The judges that are known and whose weights are there."""
    found = {}
    for name in experiment.judges:
        if name not in library.judges:
            problems.add([unknown("judge", name, library.judges, f"{experiment.experiment}: judges")])
            continue
        found[name] = library.judges[name]
        problems.add(clip_problems(name, found[name], root))
    return found


def _meshes(experiment: Experiment, runs: Mapping[str, RunConfig | None], lists: Mapping, root: Path) -> list[str]:
    """Meshes of another system that are asked for and cannot be read."""
    lines = []
    for method, run in runs.items():
        if run and run.method.meshes:
            asked = [item for items in lists.values() for item in _reduced(experiment, method, items)]
            lines += mesh_problems(method, run.method.meshes, asked, root)
    return lines


def _guides(experiment: Experiment, runs: Mapping[str, RunConfig | None], library: Library, root: Path) -> list[str]:
    """Guides of methods with a CLIP loss: their weights, and that another judge is left to judge these methods."""
    lines = []
    for method, run in runs.items():
        if run is None or run.clip is None:
            continue
        lines += clip_problems(str(run.clip_guide), run.clip, root)
        if all(library.judges.get(name) == run.clip for name in experiment.judges):
            lines.append(
                f"{experiment.experiment}: judges: got only '{run.clip_guide}', which guides method '{method}'; "
                "expected another judge as well: a guide is never its own judge"
            )
    return list(dict.fromkeys(lines))


def _names(experiment: Experiment) -> list[str]:
    """Names that stand for code, and names that are there twice."""
    where = experiment.experiment
    if experiment.head in HEADS:
        lines = head_problems(experiment.head)
    else:
        lines = [unknown("head", experiment.head, HEADS, f"{where}: head")]
    if experiment.renderer not in RENDERERS:
        lines.append(unknown("renderer", experiment.renderer, RENDERERS, f"{where}: renderer"))
    for kind in ("lists", "methods", "judges", "seeds"):
        values = getattr(experiment, kind)
        lines += [f"{where}: {kind}: '{value}' is there twice" for value in {v for v in values if values.count(v) > 1}]
    for kind in ("methods", "seeds") if experiment.reduced else ():
        known = getattr(experiment, kind)
        for value in getattr(experiment.reduced, kind):
            if value not in known:
                listed = ", ".join(map(str, known))
                lines.append(f"{where}: reduced: {kind}: got '{value}'; expected of the experiment's {kind}: {listed}")
    return lines


def _without_truth(study: Study) -> list[str]:
    """What methods that make the true head leave out, a line for each list."""
    lines = []
    head = study.experiment.head
    if head != WORLD_HEAD:
        reason = f"true heads are of '{WORLD_HEAD}', not '{head}'"
        return [f"'{method}' is left out: {reason}" for method in study.true_methods]
    for method in study.true_methods:
        for name, items in study.lists.items():
            unknown_here = {item.item: item.prompt for item in items if not study.has_truth(item)}
            some = ", ".join(f"{item} ('{prompt}')" for item, prompt in list(unknown_here.items())[:NAMED])
            more = f" and {len(unknown_here) - NAMED} more" if len(unknown_here) > NAMED else ""
            if unknown_here:
                lines.append(f"{name}: '{method}' leaves out prompts without a known true head: {some}{more}")
    return lines


def _with_truth_only(study: Study) -> Study:
    """The study without methods that would make nothing. Raises InputError: there are no others."""
    idle = {name for name in study.true_methods if not any(study.items(each, name) for each in study.lists)}
    methods = tuple(name for name in study.experiment.methods if name not in idle)
    notes = _without_truth(study)
    if not methods:
        raise InputError([*notes, f"{study.experiment.experiment}: methods: nothing is left; expected another method"])
    experiment = study.experiment.model_copy(update={"methods": methods})
    runs = {name: run for name, run in study.runs.items() if name not in idle}
    return replace(study, experiment=experiment, runs=runs, notes=notes)


def _machine(experiment: Experiment) -> list[str]:
    """A RAY_ADDRESS that is not one, or that nothing answers at."""
    address = os.environ.get("RAY_ADDRESS", "")
    if experiment.backend != "ray" or address in ("", "local"):
        return []
    match = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", address)
    if not match or not 0 < int(match[2]) < 65536:
        return [f"RAY_ADDRESS: got '{address}'; expected HOST:PORT of a Ray head (by default port 6379) or 'local'"]
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        return [f"RAY_ADDRESS: nothing answers at {address} ({reason}); unset it to use this machine"]
    return []
