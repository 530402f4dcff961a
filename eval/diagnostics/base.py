"""The interface of diagnostics: costly measures of finished avatars that an experiment asks for by name.

``diagnose: [detail, articulation]`` in an experiment, or ``--config diagnose=[detail,articulation]``, measures every
avatar of the run; names stand in ``DIAGNOSTICS`` (:mod:`avatargen.config.plugins`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from PIL import Image

from avatargen.config.experiment import EvaluationSettings
from avatargen.io.avatar_file import Avatar
from avatargen.io.manifest import Row
from eval.images import Images
from eval.views import RenderTools


class Measure(NamedTuple):
    """A number that a diagnostic finds.

    Attributes:
        condition: what the avatar was measured under, such as ``jawOpen`` or ``elevation 60``; empty where a diagnostic
            has only one.
        name: of the measure, with its unit as suffix, such as ``normal_error_deg``.
        value: NaN where it is not defined.
    """

    condition: str
    name: str
    value: float


@dataclass(frozen=True)
class Measured:
    """What a diagnostic finds on one avatar.

    Attributes:
        measures: numbers.
        shown: colour renders by condition, (V, H, W, 3), which judges rank against the texture pool of the prompt.
        pictures: by name, without suffix; they are saved beside the avatar for people.
    """

    measures: tuple[Measure, ...] = ()
    shown: Mapping[str, Images] = field(default_factory=dict)
    pictures: Mapping[str, Image.Image] = field(default_factory=dict)


class Diagnostic(ABC):
    """One diagnostic. Workers load it once and ask it about each avatar, so it may keep what it computes once."""

    @abstractmethod
    def measure(self, avatar: Avatar, row: Row, tools: RenderTools, settings: EvaluationSettings) -> Measured:
        """Measure one avatar.

        Args:
            avatar: to measure, finished; failed avatars are not asked about.
            row: of the manifest, with the tags that name the ground-truth head.
            tools: head, renderer and prior, fitted to the avatar.
            settings: the protocol of the experiment.
        """
