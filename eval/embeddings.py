"""Embeddings of an avatar's views on disk, beside the views.

``embeddings-{judge}.npz`` holds ``texture``, ``baked`` and ``geometry``, each (V, D) float32; ``texture_noisy``,
``baked_noisy`` and ``geometry_noisy``, each (K, D) float32; ``progress`` (S, D), of the snapshots of generation; and
the strings ``fingerprint`` and ``protocol`` (the JSON that came with the views). They are read without torch, which
takes seconds to import.
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

NOISY = "_noisy"
"""End of a kind's name for the embeddings under noise."""


@dataclass(frozen=True)
class Embeddings:
    """An avatar's views under one judge; embeddings have unit norm.

    Attributes:
        kinds: of the views, one array for each of :data:`eval.images.KINDS`.
        progress: of the snapshots of generation; S may be 0.
        protocol: how the views were made.
        fingerprint: of these embeddings.
        noisy: mean over the views under each draw of noise, see :func:`eval.embed.add_noise`; K may be 0. Means of
            unit-norm embeddings are shorter than 1.
    """

    kinds: dict[str, Float[np.ndarray, "V D"]]
    progress: Float[np.ndarray, "S D"]
    protocol: dict[str, Any]
    fingerprint: str
    noisy: dict[str, Float[np.ndarray, "K D"]]


def embeddings_path(folder: Path, judge: str) -> Path:
    """Return the path of an avatar's embeddings under a judge."""
    return folder / f"embeddings-{judge}.npz"


def is_embedded(folder: Path, judge: str, fingerprint: str) -> bool:
    """Return whether `folder` holds readable embeddings of this judge with this fingerprint."""
    try:
        return load_embeddings(folder, judge).fingerprint == fingerprint
    except InputError:
        return False


def load_embeddings(folder: Path, judge: str) -> Embeddings:
    """Read the embeddings that :func:`eval.embed.embed_avatar` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = embeddings_path(folder, judge)
    try:
        with np.load(path) as file:
            kinds, noisy = ({kind: file[f"{kind}{end}"] for kind in KINDS} for end in ("", NOISY))
            protocol, fingerprint = json.loads(str(file["protocol"])), str(file["fingerprint"])
            return Embeddings(kinds, file["progress"], protocol, fingerprint, noisy)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError([f"{path}: not readable ({error}); embed the avatar's views first"]) from error
