"""The plan of a run: an experiment with everything that it names resolved.

It is written beside the results when a run starts. Jobs read it rather than the files that a user may edit meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from avatargen.config.crossing import split_name
from avatargen.config.experiment import Experiment, JudgeSettings, RunConfig
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import PriorSettings
from avatargen.io.atomic import write_text
from avatargen.method.sources import has_truth, source_of


@dataclass(frozen=True)
class Study:
    """A resolved experiment.

    Attributes:
        experiment: as the user wrote it.
        runs: resolved configuration of each run, by its name and in order: one for each method, or one for each prior
            that a method is crossed with.
        reasons: one line per method.
        priors: settings of each prior, as priors.yaml has them.
        judges: settings of each judge.
        lists: prompts × seeds of each list, in order.
        files: where each list lies.
        notes: what the user should know, one line each.
    """

    experiment: Experiment
    runs: dict[str, RunConfig]
    reasons: dict[str, str]
    priors: dict[str, PriorSettings]
    judges: dict[str, JudgeSettings]
    lists: dict[str, tuple[PromptItem, ...]]
    files: dict[str, Path]
    notes: Sequence[str] = ()
    _items: dict[tuple[str, str], tuple[PromptItem, ...]] = field(default_factory=dict, init=False, repr=False)

    def prior_of(self, method: str) -> PriorSettings:
        """Return the prior of a run without what its method changes: the one that all avatars are shown with."""
        return self.priors[self.runs[method].prior_name]

    def part_of(self, prior: str) -> Study:
        """Return the study with the runs of one prior alone."""
        return replace(self, runs={name: run for name, run in self.runs.items() if run.prior_name == prior})

    def has_truth(self, item: PromptItem) -> bool:
        """Return whether the ground-truth head of a prompt is known, for this experiment's head model."""
        return has_truth(self.experiment.head, item)

    def items(self, name: str, method: str) -> tuple[PromptItem, ...]:
        """Return what a method makes of a list: all that it can, or the part that the experiment reduces it to."""
        key = (name, method)
        if key not in self._items:  # the Snakefile asks once per chunk
            items = self.lists[name]
            run = self.runs[method]
            if source_of(run).needs_truth:
                items = tuple(item for item in items if has_truth(run.head, item))
            self._items[key] = reduced(self.experiment, method, items)
        return self._items[key]

    def chunks(self, name: str, method: str) -> dict[str, tuple[PromptItem, ...]]:
        """Return what a method makes of a list in pieces of `chunk_size`, by the name of each piece."""
        items, size = self.items(name, method), self.experiment.chunk_size
        return {f"{start // size:04d}": items[start : start + size] for start in range(0, len(items), size)}


def reduced(experiment: Experiment, method: str, items: tuple[PromptItem, ...]) -> tuple[PromptItem, ...]:
    """Return the items, or the part of them that the experiment reduces a method, or a run of it, to."""
    part = next((group for group in experiment.reduced if split_name(method)[0] in group.methods), None)
    if part is None:
        return items
    first = set(list(dict.fromkeys(item.item for item in items))[: part.prompts])
    return tuple(item for item in items if item.item in first and item.seed in (part.seeds or experiment.seeds))


def write_plan(study: Study, path: Path, command: str | None = None) -> None:
    """Write a study as JSON, atomically.

    Args:
        study: to write.
        path: of the file.
        command: that started the run, for the records.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    facts = {
        "experiment": study.experiment.model_dump(mode="json"),
        "runs": {name: run.model_dump(mode="json") for name, run in study.runs.items()},
        "reasons": study.reasons,
        "priors": {name: prior.model_dump(mode="json") for name, prior in study.priors.items()},
        "judges": {name: judge.model_dump(mode="json") for name, judge in study.judges.items()},
        "lists": {name: [item.facts() for item in items] for name, items in study.lists.items()},
        "files": {name: str(file) for name, file in study.files.items()},
        "command": command,
    }
    write_text(path, json.dumps(facts, indent=1, ensure_ascii=False))


def read_plan(path: str | Path) -> Study:
    """Return the study that `write_plan` wrote.

    Raises:
        FileNotFoundError: no run was started here.
    """
    facts = json.loads(Path(path).read_text(encoding="utf-8"))
    return Study(
        experiment=Experiment.model_validate(facts["experiment"]),
        runs={name: RunConfig.model_validate(run) for name, run in facts["runs"].items()},
        reasons=facts["reasons"],
        priors={name: PriorSettings.model_validate(prior) for name, prior in facts["priors"].items()},
        judges={name: JudgeSettings.model_validate(judge) for name, judge in facts["judges"].items()},
        lists={name: tuple(map(PromptItem.from_facts, items)) for name, items in facts["lists"].items()},
        files={name: Path(file) for name, file in facts["files"].items()},
    )
