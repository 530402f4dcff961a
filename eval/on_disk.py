"""Say what an avatar's folder lacks of the results that a stage's manifest states.

The Snakefile and jobs read this module, so it imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from avatargen.io.atomic import read_json
from avatargen.io.whole_files import is_whole
from eval.artifacts import RENDER_FACTS, TRUTH_FACTS, VIEW_FILES
from eval.diagnostics.files import FOLDER
from eval.embeddings import embeddings_path


def lacking_render(folder: Path, render: str, truth: str) -> str:
    """Return what is missing, damaged or out of date of an avatar's renders and distances; empty if nothing is.

    Args:
        folder: of the avatar.
        render, truth: fingerprints that the facts must carry.
    """
    return lacking_facts(folder, RENDER_FACTS, render, VIEW_FILES) or lacking_facts(folder, TRUTH_FACTS, truth)


def lacking_facts(folder: Path, name: str, fingerprint: str, products: Iterable[str] = ()) -> str:
    """Return what is missing, damaged or out of date of one result; empty if nothing is.

    Args:
        folder: of the result.
        name: file name of its facts.
        fingerprint: what the facts must carry.
        products: files that must be whole, beside the `files` that the facts list.
    """
    facts = read_json(folder / name)
    if facts.get("fingerprint") != fingerprint:
        return f"{name} is missing or out of date"
    files = (*products, *facts.get("files", []))
    return next((f"{file} is missing or damaged" for file in files if not is_whole(folder / file)), "")


def lacking_embeddings(folder: Path, fingerprints: Mapping[str, str]) -> str:
    """Return which judge's embeddings of an avatar are missing, damaged or out of date; empty if none are.

    Args:
        folder: of the avatar.
        fingerprints: by judge.
    """
    for judge, fingerprint in fingerprints.items():
        path = embeddings_path(folder, judge)
        try:
            with np.load(path) as file:
                stated = str(file["fingerprint"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return f"{path.name} is missing or damaged"
        if stated != fingerprint:
            return f"{path.name} is out of date"
    return ""


def lacking_measures(folder: Path, fingerprints: Mapping[str, Iterable[str]]) -> str:
    """Return which diagnostic has not measured an avatar, or lost what it found; empty if none.

    A diagnostic that raised an error has measured the avatar as far as it can.

    Args:
        folder: of the avatar.
        fingerprints: the two of each diagnostic, by its name.
    """
    for name, both in fingerprints.items():
        lacking = [lacking_facts(folder / FOLDER, f"{name}.json", one) for one in both]
        if all(lacking):
            return f"{FOLDER}/{min(lacking, key=len)}"
    return ""


def to_measure(folder: Path, fingerprints: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Return the diagnostics to ask, by name: those that lack something, and those that raised an error before.

    Args:
        folder: of the avatar.
        fingerprints: the two of each diagnostic.
    """
    return {
        name: both
        for name, both in fingerprints.items()
        if lacking_measures(folder, {name: both}) or read_json(folder / FOLDER / f"{name}.json").get("error")
    }
