"""The work of the rules `render` and `embed` on one avatar, as workers call it.

Workers load a class once and call it for each avatar, see :mod:`avatargen.runtime.remote_calls`. The number of threads
is an argument because images and scores depend on it in their last bits.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from avatargen.config.experiment import EvaluationSettings, JudgeSettings
from avatargen.config.places import ROOT
from avatargen.config.settings import PriorSettings
from avatargen.io.avatar_file import load_avatar
from avatargen.io.manifest import Row
from eval.artifacts import RENDER_FACTS, TRUTH_FACTS, VIEW_FILES
from eval.embed import Judge, embed_avatar
from eval.on_disk import lacking_facts
from eval.truth import measure_avatar
from eval.turntable import render_avatar
from eval.views import RenderTools


class Renders:
    """Renders turntables, contact sheets and the judges' views, and measures distances to ground-truth heads.

    Args:
        head, renderer, prior: that make the images.
        settings: of the protocol.
        protocol_head: head that protocols name, the experiment's. A method with another head model is shown under the
            same protocol, like a mesh of another system.
        threads: of torch.

    Raises:
        InputError: a head, renderer or prior is unknown, or weights are missing.
    """

    def __init__(
        self,
        head: str,
        renderer: str,
        prior: PriorSettings,
        settings: EvaluationSettings,
        protocol_head: str,
        threads: int,
    ):
        torch.set_num_threads(threads)
        self._settings = settings
        self._tools = replace(RenderTools.load(head, renderer, prior, ROOT), head_name=protocol_head)

    def __call__(self, row: Row, folder: Path, comparable: bool, render: str, truth: str) -> None:
        """Render and measure one avatar, as far as its results are not current.

        Args:
            row: of the manifest.
            folder: of the avatar.
            comparable: whether it has the topology of the ground-truth heads.
            render: fingerprint of the renders.
            truth: fingerprint of the distance.
        """
        for facts, lacking in (
            (RENDER_FACTS, lacking_facts(folder, RENDER_FACTS, render, VIEW_FILES)),
            (TRUTH_FACTS, lacking_facts(folder, TRUTH_FACTS, truth)),
        ):
            if lacking:  # damaged files under facts that are current
                (folder / facts).unlink(missing_ok=True)
        render_avatar(load_avatar(folder), self._tools, self._settings, folder, render)
        measure_avatar(row, folder, self._tools.head if comparable else None, truth)


class Judges:
    """Embeds avatars' views with judges; loads a judge at its first use."""

    def __init__(self, judges: dict[str, JudgeSettings], noise_draws: int, threads: int):
        torch.set_num_threads(threads)
        self._noise_draws = noise_draws
        self._judge = cache(lambda name: Judge.load(name, judges[name], ROOT))

    def __call__(self, folder: Path, fingerprints: dict[str, str]) -> None:
        """Embed the views in an avatar's folder with each judge, as far as its embeddings are not current.

        Args:
            folder: of the avatar.
            fingerprints: of the embeddings, by judge.
        """
        for name, fingerprint in fingerprints.items():
            embed_avatar(folder, self._judge(name), fingerprint, self._noise_draws)
