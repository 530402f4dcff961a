"""The work of the rule `diagnose` on one avatar, as workers call it; see :mod:`eval.stages`."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch

from avatargen.config.experiment import EvaluationSettings, JudgeSettings
from avatargen.config.places import ROOT
from avatargen.config.plugins import DIAGNOSTICS, load_class
from avatargen.config.settings import PriorSettings
from avatargen.io.atomic import is_full
from avatargen.io.avatar_file import Avatar, load_avatar
from avatargen.io.manifest import Row
from eval.diagnostics.base import Diagnostic, Measured
from eval.diagnostics.files import PICTURE, Found, Products, write_found
from eval.embed import Judge
from eval.on_disk import to_measure
from eval.views import RenderTools

OF_DEVICE = re.compile(r"cu(da|dnn) error", re.IGNORECASE)
"""Errors after which a GPU may be lost to the process, which the worker handles."""


class Diagnoses:
    """Measures avatars with diagnostics, and embeds what these show with every judge; loads each at its first use.

    Raises:
        InputError: a head, renderer or prior is unknown, or weights are missing.
    """

    def __init__(
        self,
        head: str,
        renderer: str,
        prior: PriorSettings,
        settings: EvaluationSettings,
        judges: Mapping[str, JudgeSettings],
        threads: int,
    ):
        torch.set_num_threads(threads)
        self._settings, self._judges = settings, tuple(judges)
        self._tools = RenderTools.load(head, renderer, prior, ROOT)
        self._judge = cache(lambda name: Judge.load(name, judges[name], ROOT))
        self._diagnostic = cache(lambda name: load_class("diagnostic", name, DIAGNOSTICS)())

    def __call__(self, row: Row, folder: Path, asked: Mapping[str, tuple[str, str]]) -> None:
        """Measure one avatar with each diagnostic whose results are not current.

        A diagnostic that raises an error leaves its message instead, and the others go on.

        Args:
            row: of the manifest.
            folder: of the avatar.
            asked: the two fingerprints of each diagnostic, see :func:`avatargen.runtime.fingerprint.of_diagnostic`.
        """
        avatar = load_avatar(folder)
        tools = self._tools.fitting(avatar, self._settings.fit)
        for name, fingerprints in to_measure(folder, asked).items():
            start = time.perf_counter()
            measured, error = attempt(self._diagnostic(name), avatar, row, tools, self._settings)
            products = Products(measured.pictures, self._embed(measured))
            fingerprint = fingerprints[bool(measured.shown)]
            write_found(folder, name, fingerprint, found_of(measured, error), products, time.perf_counter() - start)

    def _embed(self, measured: Measured) -> dict[str, np.ndarray]:
        """Return every judge's embeddings of the views, of one condition after the other."""
        parts = {name: list(map(self._judge(name).embed_images, measured.shown.values())) for name in self._judges}
        return {name: np.concatenate(some) for name, some in parts.items() if some}


def attempt(
    diagnostic: Diagnostic, avatar: Avatar, row: Row, tools: RenderTools, settings: EvaluationSettings
) -> tuple[Measured, str]:
    """Return what a diagnostic finds and an empty text, or nothing and the error that it raised.

    Arguments are as in :meth:`eval.diagnostics.base.Diagnostic.measure`.

    Raises:
        Exception: the disk is full, or the GPU reports an error.
    """
    try:
        measured = diagnostic.measure(avatar, row, tools, settings)
        check_measured(measured)
        return measured, ""
    except Exception as error:
        if is_full(error) or OF_DEVICE.search(str(error)):
            raise
        return Measured(), f"{type(error).__name__}: {error}"


def check_measured(measured: Measured) -> None:
    """Check what a diagnostic found before it is written.

    Raises:
        ValueError: a condition has a measure twice or shows no view, or a picture's name is no part of a file name.
    """
    counts = Counter((measure.condition, measure.name) for measure in measured.measures)
    faults = {
        "duplicate measures": [key for key, count in counts.items() if count > 1],
        "conditions without views": [condition for condition, views in measured.shown.items() if not len(views)],
        "names of pictures": [name for name in measured.pictures if not PICTURE.fullmatch(name)],
    }
    found = ", ".join(f"{what} {names}" for what, names in faults.items() if names)
    if found:
        raise ValueError(f"got {found}; expected none, and pictures named by a-z, 0-9, _ and - alone")


def found_of(measured: Measured, error: str) -> Found:
    """Return what files hold of what a diagnostic found."""
    shown = [(condition, len(views)) for condition, views in measured.shown.items()]
    measures = [(measure.condition, measure.name, measure.value) for measure in measured.measures]
    return Found(measures, shown, error=error)
