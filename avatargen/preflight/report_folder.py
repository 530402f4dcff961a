"""Keep a one-off run from replacing another run's report: give it a folder of its own, named for what differs.

A run that the command line changes shows less than the experiment does, or something else. If the experiment's folder
holds a report that such a run would not cover, its results go to ``results/{experiment}-{changes}``; finished avatars
are taken over (:mod:`avatargen.runtime.sharing`). ``name=NAME`` on the command line names another folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from avatargen.config.experiment import Experiment
from avatargen.config.prompts import slug
from avatargen.preflight.plan import Study

HOW = ("backend", "gpus_per_worker", "chunk_size", "share", "max_failed_fraction", "reason")
"""Fields that decide how a run goes, not what its report shows."""
COVERED = ("lists", "methods", "priors", "judges", "seeds", "diagnose")
"""Fields of which a run with more covers a run with less."""
LONGEST = 41
"""Characters of an experiment's name."""
RESULTS = Path("results")


def with_own_folder(study: Study, changes: Mapping[str, Any]) -> Study:
    """Return a study whose results go where they replace no report that they do not cover.

    Args:
        study: what runs.
        changes: fields of the experiment that the command line states; ``experiment`` is its name, which then stays.
    """
    stated = {key: value for key, value in changes.items() if key not in HOW}
    former = _former(RESULTS / study.experiment.experiment) if stated and "experiment" not in stated else None
    if former is None or all(_is_covered(key, former, study.experiment) for key in stated):
        return study
    name = folder_name(study.experiment.experiment, stated)
    note = (
        f"results/{study.experiment.experiment} keeps its report, which shows what this run does not; "
        f"this run's results go to results/{name} (name=NAME names another folder)"
    )
    experiment = study.experiment.model_copy(update={"experiment": name})
    return replace(study, experiment=experiment, notes=[*study.notes, note])


def folder_name(experiment: str, changes: Mapping[str, Any]) -> str:
    """Return an experiment's name with what is changed of it; a hash stands for the end of a long one.

    Example:
        >>> folder_name("embedded", {"limit": 2, "methods": ["full", "template"]})
        'embedded-limit_2-methods_full_template'
        >>> folder_name("embedded", {"overrides": {"phase1_steps": 100, "phase2_steps": 200}})
        'embedded-overrides_phase1_steps_10-9e2618'
    """
    told = [f"{key}_{slug(json.dumps(value), 200).replace('-', '_')}" for key, value in changes.items()]
    name = "-".join([experiment, *told])
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 7].rstrip('_-')}-{sha256(name.encode()).hexdigest()[:6]}"


def _former(folder: Path) -> Experiment | None:
    """Return the experiment whose finished report a folder holds; None if it holds none."""
    if not (folder / "report/index.html").is_file():
        return None
    try:
        return Experiment.model_validate(json.loads((folder / "plan.json").read_text(encoding="utf-8"))["experiment"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def _is_covered(key: str, former: Experiment, experiment: Experiment) -> bool:
    """Return whether a run shows all that a former one shows, by one field."""
    old, new = getattr(former, key), getattr(experiment, key)
    if key == "limit":
        return new is None or (old is not None and old <= new)
    return set(old or ()) <= set(new or ()) if key in COVERED else old == new
