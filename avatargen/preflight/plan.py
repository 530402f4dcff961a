"""The resolved study of a run, written beside its results when it starts: what all its jobs read.

Jobs take their configuration from here rather than from the files a user may edit while a run is under way.
"""

from __future__ import annotations

import json
from pathlib import Path

from avatargen.config.experiment import Experiment, JudgeSettings, RunConfig
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import PriorSettings
from avatargen.io.atomic import write_text
from avatargen.preflight.validate import Study


def write_plan(study: Study, path: Path) -> None:
    """Write a study as JSON, atomically.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    facts = {
        "experiment": study.experiment.model_dump(mode="json"),
        "runs": {name: run.model_dump(mode="json") for name, run in study.runs.items()},
        "reasons": study.reasons,
        "prior": study.prior.model_dump(mode="json"),
        "judges": {name: judge.model_dump(mode="json") for name, judge in study.judges.items()},
        "lists": {name: [item.facts() for item in items] for name, items in study.lists.items()},
        "files": {name: str(file) for name, file in study.files.items()},
        "pool": str(study.pool) if study.pool else None,
    }
    write_text(path, json.dumps(facts, indent=1, ensure_ascii=False))


def read_plan(path: str | Path) -> Study:
    """The study that `write_plan` wrote.

    Raises:
        FileNotFoundError: no run was started here.
    """
    facts = json.loads(Path(path).read_text(encoding="utf-8"))
    return Study(
        experiment=Experiment.model_validate(facts["experiment"]),
        runs={name: RunConfig.model_validate(run) for name, run in facts["runs"].items()},
        reasons=facts["reasons"],
        prior=PriorSettings.model_validate(facts["prior"]),
        judges={name: JudgeSettings.model_validate(judge) for name, judge in facts["judges"].items()},
        lists={name: tuple(map(PromptItem.from_facts, items)) for name, items in facts["lists"].items()},
        files={name: Path(file) for name, file in facts["files"].items()},
        pool=Path(facts["pool"]) if facts["pool"] else None,
    )
