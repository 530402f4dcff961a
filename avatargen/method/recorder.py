"""Collect the losses of a batch, step by step, into its avatars' histories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from avatargen.io.history import EVERY, History


class Recorder:
    """Average the losses of a batch over EVERY steps, for each avatar's history."""

    def __init__(self, histories: list[History]):
        self.histories = histories
        self._recent: list[Mapping[str, Tensor]] = []

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Add the losses of a step; every EVERY steps their means become an entry.

        Args:
            step: number of steps done.
            losses: (B,) each; rows beyond the histories are padding.
        """
        self._recent.append(losses)
        if step % EVERY:
            return
        names = {name for some in self._recent for name in some}
        means: dict[str, Any] = {name: sum(some[name] for some in self._recent if name in some) for name in names}
        counts = {name: sum(name in some for some in self._recent) for name in names}
        for row, history in enumerate(self.histories):
            history.entries.append((step, {name: float(means[name][row]) / counts[name] for name in names}))
        self._recent.clear()
