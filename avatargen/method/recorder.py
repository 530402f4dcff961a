"""Collect the losses of a batch, step by step, into its avatars' histories."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from avatargen.io.history import EVERY, History


class Recorder:
    """Average the losses of a batch over EVERY steps, for each avatar's history.

    The means stay on the losses' device until `flush`, since reading them would wait for the GPU.
    """

    def __init__(self, histories: list[History]):
        self.histories = histories
        self._recent: list[Mapping[str, Tensor]] = []
        self._means: list[tuple[int, dict[str, tuple[Tensor, int]]]] = []

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Add the losses of a step; every EVERY steps their means become an entry.

        Args:
            step: number of steps done.
            losses: (B,) each; rows beyond the histories are padding.
        """
        self._recent.append(losses)
        if step % EVERY:
            return
        stated: dict[str, list[Tensor]] = {}
        for some in self._recent:
            for name, values in some.items():
                stated.setdefault(name, []).append(values)
        self._means.append((step, {name: (_sum(values), len(values)) for name, values in stated.items()}))
        self._recent.clear()

    def flush(self) -> list[History]:
        """Write the entries that are complete into the histories, and return these."""
        sums = [total for _, means in self._means for total, _ in means.values()]
        rows = iter(torch.stack(sums).tolist() if sums else ())
        for step, means in self._means:
            entries = [(name, next(rows), count) for name, (_, count) in means.items()]
            for row, history in enumerate(self.histories):
                history.entries.append((step, {name: totals[row] / count for name, totals, count in entries}))
        self._means.clear()
        return self.histories


def _sum(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
