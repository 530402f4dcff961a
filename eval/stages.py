"""What the rules `render` and `embed` do with each avatar, as workers call it (see :mod:`avatargen.runtime.remote_calls`).

Threads are given, since images and scores depend on them in their last bits.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from avatargen.config.experiment import EvaluationSettings, JudgeSettings
from avatargen.config.places import ROOT
from avatargen.config.settings import PriorSettings
from avatargen.io.avatar_file import load_avatar
from avatargen.io.manifest import Row
from eval.embed import Judge, embed_avatar
from eval.truth import measure_avatar
from eval.turntable import render_avatar
from eval.views import RenderTools


class Renders:
    """Turntable, contact sheet, the judges' views, and distances to the true heads, of avatars.

    Raises:
        InputError: an unknown head, renderer or prior, or weights that are missing.
    """

    def __init__(self, head: str, renderer: str, prior: PriorSettings, settings: EvaluationSettings, threads: int):
        torch.set_num_threads(threads)
        self._settings = settings
        self._tools = RenderTools.load(head, renderer, prior, ROOT)

    def __call__(self, row: Row, folder: Path, comparable: bool, render: str, truth: str) -> None:
        """Write what is not current.

        Args:
            row: of the manifest.
            folder: of the avatar.
            comparable: whether it has the topology of the head world's heads, if the prompt has a true head.
            render, truth: fingerprints.
        """
        render_avatar(load_avatar(folder), self._tools, self._settings, folder, render)
        measure_avatar(row, folder, self._tools.head if comparable else None, truth)


class Judges:
    """What judges see in avatars' views."""

    def __init__(self, judges: dict[str, JudgeSettings], threads: int):
        torch.set_num_threads(threads)
        self._judge = cache(lambda name: Judge.load(name, judges[name], ROOT))  # only those that have work

    def __call__(self, folder: Path, prints: dict[str, str]) -> None:
        """Embed the views in an avatar's folder, by each judge under its fingerprint, unless that is done."""
        for name, fingerprint in prints.items():
            embed_avatar(folder, self._judge(name), fingerprint)
