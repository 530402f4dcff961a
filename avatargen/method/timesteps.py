"""Timesteps of score distillation, and which views lie below the guidance interval.

``random`` timesteps are stratified: an avatar's views, counted over steps, take turns in STRATA equal parts of the
range; within its part a timestep is random. So each timestep is as likely as any other over a run, and any STRATA views
in a row cover the whole range. The part is a function of step and view alone. So the host knows, without waiting for a
GPU, which views need no unconditional prediction, and these are the same for all avatars of a batch: an avatar does not
depend on its batch mates. The other schedules give all views of a step the same timestep.

schedule    timestep at progress p of the run, range [low, high]
random      anywhere in the range
annealed    the same, while `high` falls to the middle of the range
linear      high - p (high - low)
sqrt        high - sqrt(p) (high - low) (HiFA, arXiv 2305.18766)
dreamtime   the timestep above which the share p of W lies (DreamTime, arXiv 2306.12422): W = sqrt((1-a) / a)
            exp(-(t - m)^2 / (2 s^2)), m = 0.5, s = 0.125. W is the density of timesteps, which takes the place of
            w(t): combine it with `weighting: uniform`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.settings import PriorSettings

STRATA, STRIDE = 13, 5
"""Number of parts, and how many lie between those of two views in a row. Steps of 5 / 13, a convergent of the golden
ratio's, spread any few views in a row over the range, and the first two lie in its upper part: the first step is
among those that need most memory."""
MARGIN = 1e-6
"""Rounding of the ends of a part, as a fraction of the schedule; a timestep is 1 / 1000."""
MIDDLE, WIDTH = 0.5, 0.125
"""DreamTime's m and s, as fractions of the schedule."""


def stratum(step: int, view: int, views: int) -> int:
    """Return the part of the range of timesteps that a view's timestep lies in.

    Args:
        step: steps done.
        view: of the step.
        views: of each step.

    Example:
        >>> [stratum(step, view, views=2) for step in range(3) for view in range(2)]
        [5, 10, 2, 7, 12, 4]
    """
    return STRIDE * (step * views + view + 1) % STRATA


def stratified(uniform: Float[Tensor, "B V"], step: int) -> Float[Tensor, "B V"]:
    """Move uniform random numbers into the strata of their views.

    Args:
        uniform: in [0, 1), for each avatar and view.
        step: steps done.

    Example:
        >>> stratified(torch.tensor([[0.0, 0.5]]), step=0).mul(13).tolist()
        [[5.0, 10.5]]
    """
    views = uniform.shape[1]
    parts = torch.tensor([stratum(step, view, views) for view in range(views)])
    return (parts + uniform) / STRATA


@dataclass(frozen=True)
class Schedule:
    """Timesteps of a run.

    Attributes:
        settings: schedule, range of timesteps and guidance interval.
        signal: alpha-bar of each timestep of the prior, on the host.
    """

    settings: PriorSettings
    signal: Sequence[float]

    def timesteps(self, position: Float[Tensor, " N"], progress: float) -> Int[Tensor, " N"]:
        """Return the timesteps of some views.

        Args:
            position: in [0, 1), see `stratified`; where a random timestep lies in the range.
            progress: fraction of the optimisation that is done, in [0, 1).

        Example:
            >>> some = PriorSettings(path="", t_range=(0.25, 0.75), t_schedule="annealed")
            >>> schedule = Schedule(some, [0.5] * 1000)
            >>> [schedule.timesteps(torch.tensor([0.0, 0.5]), progress).tolist() for progress in (0.0, 1.0)]
            [[250, 500], [250, 375]]
        """
        low, high = self._range(progress)
        total = len(self.signal)
        return ((low + position * (high - low)) * total).long().clamp(0, total - 1)

    def guided(self, step: int, views: int, progress: float) -> list[int]:
        """Return the views of a step whose timesteps may lie in the guidance interval; the others need no guidance.

        Args:
            step: steps done.
            views: of each step.
            progress: see `timesteps`.

        Example:
            >>> some = PriorSettings(path="", t_range=(0.05, 0.7), guidance_from=0.2)  # the three lowest parts of 13
            >>> [Schedule(some, [0.5] * 1000).guided(step, views=2, progress=0.0) for step in range(3)]
            [[0, 1], [1], [0, 1]]
        """
        low, high = self._range(progress)
        ends = [low + (1 + stratum(step, view, views)) / STRATA * (high - low) for view in range(views)]
        lowest = self.settings.guidance_from
        return [view for view, end in enumerate(ends) if end > lowest + MARGIN]

    def _range(self, progress: float) -> tuple[float, float]:
        """Return the lowest and highest timestep at this point of the run, as fractions of the schedule."""
        low, high = self.settings.t_range
        match self.settings.t_schedule:
            case "random":
                return low, high
            case "annealed":
                return low, high - progress * (high - low) / 2
            case kind:
                at = _FALLING[kind](self, progress)
                return at, at

    def _linear(self, progress: float) -> float:
        low, high = self.settings.t_range
        return high - progress * (high - low)

    def _sqrt(self, progress: float) -> float:
        return self._linear(math.sqrt(progress))

    def _dreamtime(self, progress: float) -> float:
        """Return the first timestep, from above, at which the sum of W exceeds the progress."""
        total = len(self.signal)
        low, high = (round(end * total) for end in self.settings.t_range)
        falling = range(min(high, total - 1), low - 1, -1)
        sums = list(accumulate(_priority(t / total, self.signal[t]) for t in falling))
        first = next(t for t, done in zip(falling, sums, strict=True) if done > progress * sums[-1])
        return (first + 0.5) / total  # the middle of the timestep, which no rounding leaves


def _priority(t: float, a: float) -> float:
    """Return DreamTime's W of a timestep, as a fraction of the schedule, with alpha-bar `a`; not normalised."""
    return math.sqrt((1 - a) / a) * math.exp(-((t - MIDDLE) ** 2) / (2 * WIDTH**2))


_FALLING: dict[str, Callable[[Schedule, float], float]] = {
    "linear": Schedule._linear,
    "sqrt": Schedule._sqrt,
    "dreamtime": Schedule._dreamtime,
}
