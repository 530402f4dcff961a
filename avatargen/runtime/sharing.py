"""Take finished avatars over from other experiments, so that each avatar is made once.

An avatar is the same in every list and experiment in which its method has the same name and it has the same fingerprint
(:mod:`avatargen.runtime.fingerprint`). Its folder is named for prompt and seed. So the other folders of the method are
listed once, and only avatars of that name are looked into: first those of the experiments that come first in the
alphabet, and of an experiment's lists likewise.

What is taken over is what the folder holds: the avatar, and its renders, embeddings and measures, which later stages
find current or make again. Files are hard links, or copies where the file system has none. Every writer replaces files
(:func:`avatargen.io.atomic.replacing`), so a link never changes under the other experiment, and deleting either leaves
the other whole. ``done.json`` comes last: an interrupted transfer is no finished avatar.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from avatargen.io.atomic import read_json, replacing, write_text
from avatargen.io.whole_files import is_whole
from avatargen.runtime.task import DONE_FILE, ERROR_FILE, WORK_FILE, Task, is_sound, prepare

OWN = (DONE_FILE, WORK_FILE, ERROR_FILE)
"""Files that each experiment writes itself."""


class Donor(NamedTuple):
    """A finished avatar: the experiment that holds it, and its folder."""

    experiment: str
    folder: Path


@dataclass(frozen=True)
class Donors:
    """The finished avatars of one method, in the results of all experiments.

    Attributes:
        places: experiment, folder of avatars, and the names in it; in the order of the search.
    """

    places: Sequence[tuple[str, Path, frozenset[str]]]

    @classmethod
    def find(cls, results: Path, method: str, own: Path) -> Donors:
        """List the folders of a method's avatars.

        Args:
            results: folder of all experiments' results.
            method: name of the run.
            own: folder of avatars that is not searched.
        """
        folders = sorted(results.absolute().glob(f"*/*/{glob.escape(method)}/avatars"))
        others = [folder for folder in folders if folder != own.absolute() and folder.is_dir()]
        return cls([(folder.parents[2].name, folder, frozenset(os.listdir(folder))) for folder in others])

    def of(self, task: Task) -> Iterator[Donor]:
        """Yield the places of an avatar that was made with the present code and settings, and did not fail."""
        for experiment, folder, names in self.places:
            if task.folder.name in names:
                facts = read_json(folder / task.folder.name / DONE_FILE)
                if facts.get("fingerprint") == task.fingerprint and facts.get("status") == "ok":
                    yield Donor(facts.get("taken_from") or experiment, folder / task.folder.name)


def take_over(tasks: Iterable[Task], donors: Donors) -> dict[str, int]:
    """Take over the avatars that other experiments hold whole.

    Args:
        tasks: avatars that are not done.
        donors: where to look.

    Returns:
        The number of avatars from each experiment.

    Raises:
        OSError: the disk is full or a folder cannot be written.
    """
    taken = (next((donor.experiment for donor in donors.of(task) if _take(task, donor)), None) for task in tasks)
    return dict(Counter(name for name in taken if name is not None))


def taken_line(taken: dict[str, int], total: int) -> str:
    """Return a line on avatars that were taken over.

    Example:
        >>> taken_line({"embedded": 12, "study": 1}, 36)
        "13 of 36 avatars taken over from 'embedded' (12), 'study' (1)"
    """
    parts = [f"'{name}' ({count})" for name, count in taken.items()]
    where = ", ".join(parts) if len(parts) > 1 else f"'{next(iter(taken))}'"
    return f"{sum(taken.values())} of {total} avatars taken over from {where}"


def _take(task: Task, donor: Donor) -> bool:
    """Take one avatar over; return False if it is damaged or disappears meanwhile."""
    if not is_sound(donor.folder, task.fingerprint):
        return False
    if (task.folder / WORK_FILE).is_file():
        shutil.rmtree(task.folder)  # checkpoints of an interrupted run
    prepare(task)
    try:
        files = [path for path in donor.folder.rglob("*") if path.is_file()]
        for source in sorted(files, key=lambda path: (path.suffix == ".json", path)):  # facts after what they state
            name = source.relative_to(donor.folder)
            if name.name not in OWN and not name.name.startswith(".") and is_whole(source):
                _link(source, task.folder / name)
        facts = read_json(donor.folder / DONE_FILE)
    except FileNotFoundError:
        return False
    if facts.get("fingerprint") != task.fingerprint or not is_sound(task.folder, task.fingerprint):
        return False
    facts["taken_from"] = donor.experiment
    write_text(task.folder / DONE_FILE, json.dumps(facts, indent=1, sort_keys=True))
    return True


def _link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where that is impossible."""
    with replacing(target) as partial:
        try:
            os.link(source, partial)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, partial)
