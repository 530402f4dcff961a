"""Read what earlier stages left of one avatar: embeddings, history, diagnosis and distance to the ground truth.

Each file is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatargen.config.errors import Problems
from avatargen.io.atomic import read_json
from avatargen.io.history import History
from avatargen.io.manifest import Row
from eval.artifacts import RENDER_FACTS, TRUTH_FACTS
from eval.embeddings import Embeddings, load_embeddings
from eval.findings import Diagnosis


@dataclass(frozen=True)
class AvatarFiles:
    """What the files of one avatar hold.

    Attributes:
        row: of the manifest, but `not_finite` where a judge's embeddings are; folder: where the files lie.
        embeddings: of its views, by judge; None for an avatar that failed.
        history: losses and snapshots of its generation; empty for an avatar that failed.
        diagnosis: its failure signatures, if they were measured.
        truth: content of ``truth.json``; empty where the distance was not measured.
    """

    row: Row
    folder: Path
    embeddings: Mapping[str, Embeddings | None]
    history: History
    diagnosis: Diagnosis | None
    truth: Mapping[str, Any]


def load_avatar_files(row: Row, root: Path, judges: Iterable[str]) -> AvatarFiles:
    """Read the files of one avatar.

    Args:
        row: of the manifest.
        root: what the row's folder is relative to.
        judges: names of the judges that score it.

    Raises:
        InputError: embeddings of an avatar whose status is ok are missing or damaged; all problems.
    """
    folder, truth = root / row.folder, read_json(root / row.folder / TRUTH_FACTS)
    if row.status != "ok":
        return AvatarFiles(row, folder, dict.fromkeys(judges), History(), None, truth)
    problems = Problems()
    embeddings = {name: problems.of(lambda name=name: load_embeddings(folder, name)) for name in judges}
    problems.check()
    if broken := [name for name, found in embeddings.items() if found and not _finite(found)]:
        message = f"embeddings by {', '.join(broken)} are not finite"
        row = row.model_copy(update={"status": "not_finite", "message": message})
        return AvatarFiles(row, folder, dict.fromkeys(judges), History(), None, truth)
    return AvatarFiles(row, folder, embeddings, History.load(folder), _diagnosis(folder), truth)


def judges_of(row: Row, judges: Iterable[str], guides: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the judges that score an avatar: all but those that guided its method."""
    return [name for name in judges if name not in guides.get(row.method, ())]


def _finite(embeddings: Embeddings) -> bool:
    arrays = (*embeddings.kinds.values(), *embeddings.noisy.values())
    return all(np.isfinite(array).all() for array in arrays)


def _diagnosis(folder: Path) -> Diagnosis | None:
    found = read_json(folder / RENDER_FACTS).get("diagnosis")
    return Diagnosis(**{name: np.nan if value is None else value for name, value in found.items()}) if found else None
