"""Validate everything that a run needs before its first job; report every problem at once.

Called at every parse of the Snakefile: imports neither torch nor pandas.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from avatargen.config.batch_size import job_size
from avatargen.config.crossing import run_name, split_name
from avatargen.config.directions import isolated
from avatargen.config.errors import InputError, Problems, some_of, unknown
from avatargen.config.experiment import Experiment, JudgeSettings, Library, RunConfig
from avatargen.config.grid import with_grid
from avatargen.config.loading import load_experiment, load_library, resolve, unknown_priors, valid_part
from avatargen.config.packages import pytorch3d_problem
from avatargen.config.phase1 import shared_phase1
from avatargen.config.places import ROOT, list_folders
from avatargen.config.plugins import DIAGNOSTICS, NEEDED, QUESTIONS, RENDERERS
from avatargen.config.prompts import PromptItem, find_list, first_prompts, read_list, with_seeds
from avatargen.config.settings import PriorSettings
from avatargen.exchange.frame_files import view_problems
from avatargen.headworld.phrases import tag_problems
from avatargen.method.sources import WORLD_HEAD, WORLD_HEADS, has_truth, source_of
from avatargen.preflight import disk_estimate
from avatargen.preflight.head_checks import method_head_problems, named_head_problems
from avatargen.preflight.machine import ray_address_problems
from avatargen.preflight.mesh_structure import file_notes, malformed_meshes, place_problems
from avatargen.preflight.plan import Study, reduced
from avatargen.preflight.pool_checks import check_pools
from avatargen.preflight.weight_checks import clip_problems, head_notes, prior_notes, prior_problems


def validate_all(name: str, changes: Mapping[str, Any] | None = None, root: Path = ROOT) -> Study:
    """Load an experiment with everything that it names, and check what can be checked cheaply.

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
    experiment, wrong = (whole, set()) if whole else valid_part(name, root, changes)
    if experiment is None:
        raise InputError(problems.lines)
    if library is not None:
        varied = problems.of(partial(with_grid, experiment, library, append="methods" not in (changes or {})))
        experiment, library = varied or (experiment, library)
    lists, files = _read_lists(experiment, root, problems)
    pool_notes = check_pools(lists, files, problems)
    problems.add(_name_problems(experiment))
    problems.add(ray_address_problems(experiment) if "backend" not in wrong else ())
    if library is None:
        raise InputError(problems.lines)
    runs = _runs(experiment, library, problems)
    judges = _judges(experiment, library, root, problems) if "judges" not in wrong else {}
    problems.add(method_head_problems(experiment.head, runs))
    problems.add(_renderer_problems(experiment, runs) if "renderer" not in wrong else ())
    problems.add(_guide_problems(experiment, runs, library, root) if not wrong & {"judges", "clip_guide"} else ())
    problems.add(_source_problems(experiment, runs, lists, root) if not wrong & {"seeds", "reduced"} else ())
    priors = _priors(experiment, library, root, problems) if not wrong & {"prior", "priors"} else {}
    problems.check()
    reasons = {method: library.methods[method].reason for method in experiment.methods}
    resolved = {method: run for method, run in runs.items() if run is not None}
    study = _without_idle_methods(Study(experiment, resolved, reasons, priors, judges, lists, files))
    notes = [note for name in priors for note in prior_notes(name, library, root)]
    notes += [note for run in study.runs.values() for note in source_of(run).notes(run)]
    notes += [note for method in study.runs for note in file_notes(study, method, root)]
    return replace(study, notes=[*notes, *study.notes, *pool_notes, *_question_notes(experiment)])


def guiding_judges(study: Study) -> dict[str, list[str]]:
    """Return, for each method that a CLIP guided, the judges that are that CLIP: their scores of it do not count."""
    return {
        method: [name for name, judge in study.judges.items() if judge == run.clip]
        for method, run in study.runs.items()
        if run.clip is not None
    }


def needed_bytes(study: Study, results: Path) -> int:
    """Return an estimate of the disk space that a study still takes, in bytes: avatars, shared phases 1, the report.

    Args:
        study: what runs.
        results: folder of the experiment's results.
    """
    settings, judges = study.experiment.evaluation, list(study.judges.values())
    needed, begun = 0, []
    for run in study.runs.values():
        phase1 = shared_phase1(run, study.runs.values())
        for name in study.lists:
            items = study.items(name, run.method_name)
            missing = len(items) - _finished(results / name / run.method_name / "avatars", items)
            needed += missing * disk_estimate.avatar_bytes(run, settings, judges)
            if phase1 and (name, phase1) not in begun:
                begun.append((name, phase1))
                needed += missing * disk_estimate.phase1_bytes(run)
    needed += _diagnostic_bytes(study, results)
    units = sum(map(len, study.lists.values()))
    return needed + disk_estimate.report_bytes(study.runs.values(), units) if needed else 0


def _diagnostic_bytes(study: Study, results: Path) -> int:
    """Return an estimate of what diagnostics still write, in bytes."""
    needed = 0
    for name in study.lists if study.experiment.diagnose else ():
        for method in study.runs:
            avatars, items = results / name / method / "avatars", study.items(name, method)
            for diagnostic in study.experiment.diagnose:
                measured = _finished(avatars, items, f"diagnostics/{diagnostic}.json")
                needed += (len(items) - measured) * disk_estimate.diagnostic_bytes(diagnostic)
    return needed


def running_bytes(study: Study) -> int:
    """Return an estimate of the checkpoints of two running batches, in bytes: an old and a new file for each avatar."""
    most = max((disk_estimate.checkpoint_bytes(run) for run in study.runs.values() if run.method.optimises), default=0)
    batch = job_size(study.experiment.batch_size, study.experiment.gpus_per_worker > 0)
    return 2 * 2 * batch * most


def _finished(folder: Path, items: Sequence[PromptItem], last: str = "done.json") -> int:
    """Return how many avatars have the file that a stage writes last: by default, those that have ended.

    It goes through the folder of avatars rather than through long lists.
    """
    there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    return sum(item.id in there and (folder / item.id / last).is_file() for item in items) if there else 0


def check_space(study: Study, results: Path) -> None:
    """Check that the disk holds the avatars that are still to be made.

    Raises:
        InputError: the disk has too little space.
    """
    if problems := lacking_space(study, results):
        raise InputError(problems)


def lacking_space(study: Study, results: Path) -> list[str]:
    """Return one line if the disk does not hold the avatars that are still to be made; arguments as above."""
    needed = needed_bytes(study, results)
    problem = disk_estimate.space_problem(needed + running_bytes(study), results) if needed else None
    return [problem] if problem else []


def _read_lists(
    experiment: Experiment, root: Path, problems: Problems
) -> tuple[dict[str, tuple[PromptItem, ...]], dict[str, Path]]:
    """Return the prompts and the file of each list that can be read."""
    lists: dict[str, tuple[PromptItem, ...]] = {}
    files: dict[str, Path] = {}
    for name in experiment.lists:
        path = problems.of(partial(find_list, name, list_folders(root), f"{experiment.experiment}: lists"))
        items = problems.of(lambda p=path: read_list(p, tag_problems)) if path else None
        if path and items:
            files[name] = path
            lists[name] = with_seeds(first_prompts(items, experiment.limit), experiment.seeds)
    return lists, files


def _runs(experiment: Experiment, library: Library, problems: Problems) -> dict[str, RunConfig | None]:
    """Return the runs by name: a method that uses a prior runs with each of `priors`, the others run once."""
    runs: dict[str, RunConfig | None] = {}
    for method in experiment.methods:
        one = problems.of(partial(resolve, experiment, method, library))
        if one is None or experiment.priors is None or not source_of(one).uses_prior:
            runs[method] = one
            continue
        for prior in experiment.priors:
            runs[run_name(method, prior)] = problems.of(partial(resolve, experiment, method, library, prior))
    return runs


def _priors(experiment: Experiment, library: Library, root: Path, problems: Problems) -> dict[str, PriorSettings]:
    """Return the priors that are known, whose weights are validated."""
    problems.add(unknown_priors(experiment, experiment.prior_names, library))
    found = {name: library.priors[name] for name in experiment.prior_names if name in library.priors}
    for name in found:
        problems.add(prior_problems(name, library, root))
    return found


def _judges(experiment: Experiment, library: Library, root: Path, problems: Problems) -> dict[str, JudgeSettings]:
    """Return the judges that are known and whose weights are there."""
    found = {}
    for name in experiment.judges:
        if name not in library.judges:
            problems.add([unknown("judge", name, library.judges, f"{experiment.experiment}: judges")])
            continue
        found[name] = library.judges[name]
        problems.add(clip_problems(name, found[name], root))
    return found


def _source_problems(
    experiment: Experiment,
    runs: Mapping[str, RunConfig | None],
    lists: Mapping[str, tuple[PromptItem, ...]],
    root: Path,
) -> list[str]:
    """Return what the methods' sources lack, such as meshes of another system."""
    lines = []
    for method, run in runs.items():
        if run is not None:
            asked = [item for items in lists.values() for item in reduced(experiment, method, items)]
            meshes = run.method.meshes
            if meshes and (wrong := place_problems(method, meshes, root)):
                lines += wrong
                continue
            failures = malformed_meshes(meshes, asked, root) if meshes else {}
            lines += source_of(run).problems(run, [item for item in asked if item not in failures], root)
            if experiment.evaluation.fit == "face" and meshes and not (meshes.eyes or meshes.landmarks):
                lines.append(
                    f"{experiment.experiment}: evaluation: fit: got 'face', but '{method}' has meshes without "
                    "landmarks; expected eyes and chin, or landmarks, in its stanza"
                )
            if run.method.frames:
                shown = experiment.evaluation
                lines += view_problems(method, run.method.frames, asked, shown.views, shown.elevation, root)
    return lines


def _guide_problems(
    experiment: Experiment, runs: Mapping[str, RunConfig | None], library: Library, root: Path
) -> list[str]:
    """Return problems of CLIP guides: their weights, and that another judge is left to judge these methods."""
    lines = []
    for method, run in runs.items():
        if run is None or run.clip is None:
            continue
        lines += clip_problems(str(run.clip_guide), run.clip, root)
        if all(library.judges.get(name) == run.clip for name in experiment.judges):
            lines.append(
                f"{experiment.experiment}: judges: got only '{run.clip_guide}', which guides method "
                f"'{split_name(method)[0]}'; "
                "expected another judge as well: a guide is never its own judge"
            )
    return list(dict.fromkeys(lines))


def _name_problems(experiment: Experiment) -> list[str]:
    """Return names that stand for no code, duplicates, and what is wrong under `reduced`."""
    where = experiment.experiment
    lines = named_head_problems(experiment.head, f"{where}: head")
    named = [name for name in experiment.diagnose if name not in DIAGNOSTICS]
    lines += [unknown("diagnostic", name, DIAGNOSTICS, f"{where}: diagnose") for name in named]
    if experiment.question is not None and experiment.question not in QUESTIONS:
        lines.append(unknown("question", experiment.question, QUESTIONS, f"{where}: question"))
    for kind in ("lists", "methods", "priors", "judges", "seeds", "diagnose"):
        values = getattr(experiment, kind) or ()
        lines += [f"{where}: {kind}: duplicate '{value}'" for value in {v for v in values if values.count(v) > 1}]
    return lines + _reduced_problems(experiment)


def _question_notes(experiment: Experiment) -> list[str]:
    """Return one line if the experiment does not ask for the diagnostics that its question goes by."""
    needed = NEEDED.get(experiment.question or "", ())
    if not (missing := [name for name in needed if name not in experiment.diagnose]):
        return []
    return [
        f"{experiment.experiment}: question: '{experiment.question}' goes by what diagnose finds; without "
        f"'diagnose: [{', '.join([*experiment.diagnose, *missing])}]' its answer says 'not measured'"
    ]


def _reduced_problems(experiment: Experiment) -> list[str]:
    """Return methods and seeds under `reduced` that the experiment lacks, and methods in two groups."""
    where, lines = f"{experiment.experiment}: reduced", []
    for kind in ("methods", "seeds"):
        known = getattr(experiment, kind)
        for value in [value for group in experiment.reduced for value in getattr(group, kind) or ()]:
            if value not in known:
                listed = ", ".join(map(str, known))
                lines.append(f"{where}: {kind}: got '{value}'; expected one of the experiment's: {listed}")
    grouped = Counter(method for group in experiment.reduced for method in group.methods)
    lines += [f"{where}: methods: duplicate '{method}'" for method, times in grouped.items() if times > 1]
    return list(dict.fromkeys(lines))


def _renderer_problems(experiment: Experiment, runs: Mapping[str, RunConfig | None]) -> list[str]:
    """Return renderers that are not known or cannot be imported, of the experiment and of its methods."""
    named = {f"{experiment.experiment}: renderer": experiment.renderer}
    named |= {
        f"methods.yaml: {method}: renderer": run.renderer
        for method, run in runs.items()
        if run is not None and run.renderer != experiment.renderer
    }
    lines = [unknown("renderer", name, RENDERERS, at) for at, name in named.items() if name not in RENDERERS]
    problem = pytorch3d_problem() if "pytorch3d" in named.values() else None
    if problem:
        lines.append(f"{next(at for at, name in named.items() if name == 'pytorch3d')}: {problem}")
    return lines


def _without_idle_methods(study: Study) -> Study:
    """Return the study without methods that can make none of its prompts.

    Raises:
        InputError: no method is left.
    """
    notes = _notes_on_truth(study)
    idle = {name for name in study.runs if not any(study.items(each, name) for each in study.lists)}
    left = {split_name(name)[0] for name in study.runs.keys() - idle}
    methods = tuple(name for name in study.experiment.methods if name in left)
    if not methods:
        raise InputError([*notes, f"{study.experiment.experiment}: methods: none is left; expected another method"])
    experiment = study.experiment.model_copy(update={"methods": methods})
    runs = {name: run for name, run in study.runs.items() if name not in idle}
    return replace(study, experiment=experiment, runs=runs, notes=[*head_notes(experiment.head), *notes])


def _notes_on_truth(study: Study) -> list[str]:
    """Return what methods that make the ground-truth head leave out, one line per method and list."""
    lines = []
    for method, run in [(name, run) for name, run in study.runs.items() if source_of(run).needs_truth]:
        if run.head not in WORLD_HEADS:
            lines.append(f"'{method}' is left out: ground-truth heads are of '{WORLD_HEAD}', not '{run.head}'")
            continue
        for name, items in study.lists.items():
            missing = {item.item: item.prompt for item in items if not has_truth(run.head, item)}
            some = some_of([f"{item} ('{isolated(prompt)}')" for item, prompt in missing.items()])
            if missing:
                lines.append(f"{name}: '{method}' leaves out prompts without a known ground-truth head: {some}")
    return lines
