"""What diagnostics leave in an avatar's folder, and the rows of their manifests.

``diagnostics/{name}.json``         the fingerprint, the measures, the conditions that judges were shown with their
                                    number of views, the pictures, the seconds; or the error; written last
``diagnostics/{name}.npz``          for each judge (N, D) float32: the views of all conditions, in their order
``diagnostics/{name}-{picture}.*``  pictures: RGB as JPEG, others as PNG

Jobs of the workflow read this module, so it imports no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from avatargen.config.errors import NAMED, InputError
from avatargen.io.atomic import read_json, replacing
from eval.artifacts import write_facts

if TYPE_CHECKING:  # pictures are Pillow's, which takes a while to import
    from PIL import Image

FOLDER = "diagnostics"
"""Folder of all diagnostics in an avatar's folder."""
PICTURE = re.compile(r"[a-z0-9_-]+")
"""Names of pictures, which become parts of file names."""
QUALITY = 92
"""Of JPEG files."""


class TooManyErrorsError(RuntimeError):
    """A diagnostic raised errors on more avatars of a chunk than the experiment permits."""


class DiagnoseRow(BaseModel):
    """One avatar in a manifest of the rule `diagnose`.

    Attributes:
        id: of the avatar.
        folder: of its files.
        fingerprints: of each diagnostic, the two of :func:`avatargen.runtime.fingerprint.of_diagnostic`; empty for an
            avatar that failed.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    folder: str
    fingerprints: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Found:
    """What a diagnostic found on one avatar, as its files hold it.

    Attributes:
        measures: (condition, name, value); NaN where a value is not defined.
        shown: conditions that judges were shown, with their number of views.
        pictures: file names, in the folder of diagnostics.
        error: what the diagnostic raised; empty if nothing. It then has found nothing.
    """

    measures: Sequence[tuple[str, str, float]] = ()
    shown: Sequence[tuple[str, int]] = ()
    pictures: Sequence[str] = ()
    error: str = ""


@dataclass(frozen=True)
class Products:
    """What goes into files beside the facts.

    Attributes:
        pictures: by name.
        embeddings: of the shown views, by judge.
    """

    pictures: Mapping[str, Image.Image] = field(default_factory=dict)
    embeddings: Mapping[str, Float[np.ndarray, "N D"]] = field(default_factory=dict)


def write_found(folder: Path, name: str, fingerprint: str, found: Found, products: Products, seconds: float) -> None:
    """Write what a diagnostic found into an avatar's folder, the facts last; files of an earlier run are removed.

    Args:
        folder: of the avatar.
        name: of the diagnostic.
        fingerprint: see :class:`DiagnoseRow`.
        found: what it found; `pictures` follow from `products`.
        products: what goes into files of their own.
        seconds: that it took.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    place = folder / FOLDER
    for old in (*place.glob(f"{name}-*.*"), place / f"{name}.npz"):
        old.unlink(missing_ok=True)
    pictures = [_write_picture(place, name, key, picture) for key, picture in products.pictures.items()]
    files = list(pictures)
    arrays: dict[str, Any] = dict(products.embeddings)
    if arrays:
        with replacing(place / f"{name}.npz") as path:
            np.savez(path, **arrays)
        files.append(f"{name}.npz")
    measures = [(condition, key, value if math.isfinite(value) else None) for condition, key, value in found.measures]
    facts = {"measures": measures, "shown": list(found.shown), "pictures": pictures, "error": found.error}
    write_facts(place, f"{name}.json", fingerprint, files=files, seconds=round(seconds, 3), **facts)


def read_found(folder: Path, name: str) -> Found:
    """Return what a diagnostic found on an avatar.

    Raises:
        InputError: it has not measured the avatar.
    """
    path = folder / FOLDER / f"{name}.json"
    facts = read_json(path)
    try:
        measures = [(str(condition), str(key), _value(value)) for condition, key, value in facts["measures"]]
        shown = [(str(condition), int(views)) for condition, views in facts["shown"]]
        return Found(measures, shown, tuple(facts["pictures"]), str(facts["error"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError([f"{path}: missing or damaged; measure the avatar again"]) from error


def read_embeddings(folder: Path, name: str, judge: str) -> Float[np.ndarray, "N D"]:
    """Return a judge's embeddings of the views that a diagnostic showed it, of all conditions in their order.

    Raises:
        InputError: the file is missing or damaged, or this judge was not shown the views.
    """
    path = folder / FOLDER / f"{name}.npz"
    try:
        with np.load(path) as file:
            return file[judge]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError([f"{path}: not readable for judge '{judge}' ({error}); measure the avatar again"]) from error


def check_errors(rows: Iterable[DiagnoseRow], allowed: float) -> list[str]:
    """Return a line on each diagnostic that raised errors, and check that none did so on too many avatars.

    Args:
        rows: of the manifest; avatars that failed do not count.
        allowed: largest permitted fraction, in [0, 1]; an experiment's `max_failed_fraction`.

    Raises:
        TooManyErrorsError: one did.
    """
    asked: dict[str, list[str]] = {}
    for row in rows:
        for name in row.fingerprints:
            error = read_found(Path(row.folder), name).error
            asked.setdefault(name, []).append(f"{row.id}: {error}" if error else "")
    lines, too_many = [], False
    for name, outcomes in asked.items():
        errors = [text for text in outcomes if text]
        too_many = too_many or len(errors) > allowed * len(outcomes)
        if errors:
            some = "; ".join(errors[:NAMED])
            lines.append(f"diagnostic '{name}': got errors on {len(errors)} of {len(outcomes)} avatars: {some}")
    if too_many:
        limit = f"expected errors on at most a fraction of {allowed:g} (max_failed_fraction)"
        raise TooManyErrorsError("\n".join([*lines, limit]))
    return lines


def _write_picture(place: Path, name: str, key: str, picture: Image.Image) -> str:
    """Write a picture and return its file name."""
    as_jpeg = picture.mode == "RGB"
    file = f"{name}-{key}.{'jpg' if as_jpeg else 'png'}"
    options: dict[str, Any] = {"quality": QUALITY} if as_jpeg else {}
    with replacing(place / file) as path:
        picture.save(path, **options)
    return file


def _value(value: float | None) -> float:
    return math.nan if value is None else float(value)
