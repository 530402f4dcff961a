"""Embeddings of an avatar's views, as they lie beside them.

``embeddings-{judge}.npz`` holds ``texture``, ``baked`` and ``geometry``, each (V, D) float32, ``progress`` (S, D) of
the snapshots that generation left, and the strings ``fingerprint`` and ``protocol`` (the JSON that came with the
views). They are read without torch, which takes seconds to import.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from avatargen.config.errors import InputError
from eval.images import KINDS


@dataclass(frozen=True)
class Embeddings:
    """An avatar's views under one judge.

    Attributes:
        kinds: unit-norm (V, D) arrays, one for each of :data:`eval.images.KINDS`.
        progress: of the snapshots of generation; none where there are none.
        protocol: how the views were made.
        fingerprint: of the views and the judge.
    """

    kinds: dict[str, Float[np.ndarray, "V D"]]
    progress: Float[np.ndarray, "S D"]
    protocol: dict[str, Any]
    fingerprint: str


def embeddings_path(folder: Path, judge: str) -> Path:
    """Where an avatar's embeddings under a judge lie."""
    return folder / f"embeddings-{judge}.npz"


def is_embedded(folder: Path, judge: str, fingerprint: str) -> bool:
    """Whether `folder` holds readable embeddings under this judge and fingerprint."""
    try:
        return load_embeddings(folder, judge).fingerprint == fingerprint
    except InputError:
        return False


def load_embeddings(folder: Path, judge: str) -> Embeddings:
    """Read what :func:`embed_avatar` wrote.

    Raises:
        InputError: missing or damaged.
    """
    path = embeddings_path(folder, judge)
    try:
        with np.load(path) as file:
            kinds = {kind: file[kind] for kind in KINDS}
            protocol, fingerprint = json.loads(str(file["protocol"])), str(file["fingerprint"])
            return Embeddings(kinds, file["progress"], protocol, fingerprint)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError([f"{path}: not readable ({error}); embed the avatar's views first"]) from error
