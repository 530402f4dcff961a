"""How many avatars fit into memory together, by measurement, and what to do where it runs out.

An avatar does not depend on its batch mates and has a checkpoint of its own, so a batch that does not fit goes on from
its checkpoints as two halves. Another size of the batch rounds differently, which moves a finished avatar by about half
a millimetre (`avatargen.config.batch_size`); the size of the last batch stands in its provenance.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from avatargen.config.batch_size import AUTO_ON_CPU, AUTO_ON_GPU
from avatargen.config.experiment import RunConfig
from avatargen.method.out_of_memory import is_out_of_memory

SHARE = 0.9
"""Share of the free memory that a predicted batch may take: what is cached in between leaves gaps."""


@dataclass
class BatchSizes:
    """The batch size of each method on one worker: what was stated or measured, halved where memory ran out.

    Attributes:
        device: of the models.
    """

    device: torch.device
    _found: dict[str, int] = field(default_factory=dict)

    def of(self, run: RunConfig, avatars: int, trial: Callable[[int], int]) -> int:
        """Return how many avatars to optimise together.

        Args:
            run: the method.
            avatars: number of avatars at hand.
            trial: takes the largest steps of the method with that many avatars, and returns the peak memory, bytes.
        """
        key = run.model_dump_json()
        if key not in self._found:
            self._found[key] = self._first(run, trial)
        size = self._found[key]
        return min(size, avatars) if self.pads_not(run) else size

    def pads_not(self, run: RunConfig) -> bool:
        """Return True if a batch has as many rows as avatars, False if it is padded to a fixed size.

        Padding makes bits repeat. A size that was measured on a GPU is no promise of bits, so nothing is padded there.
        """
        return run.batch_size == "auto" and self.device.type != "cpu"

    def halve(self, run: RunConfig, size: int) -> None:
        """Note that a batch of `size` avatars does not fit."""
        self._found[run.model_dump_json()] = max(1, size // 2)

    def _first(self, run: RunConfig, trial: Callable[[int], int]) -> int:
        if run.batch_size != "auto":
            return run.batch_size
        if self.device.type == "cpu":
            return AUTO_ON_CPU
        return largest_that_fits(AUTO_ON_GPU, trial, lambda: free_bytes(self.device))


def largest_that_fits(most: int, trial: Callable[[int], int], free: Callable[[], int]) -> int:
    """Return a number of avatars that fit together, found by trials that run out of memory if they do not.

    The peaks of one and of two avatars predict the largest number; it is tried, and halved until it fits.

    Args:
        most: largest number.
        trial: runs that many avatars and returns the peak memory, bytes; raises where memory runs out.
        free: returns the memory that is free besides what the models hold, bytes.

    Returns:
        1 even if one does not fit: then the run itself says so.

    Example:
        >>> def trial(avatars: int) -> int:
        ...     peak = 1000 + 100 * avatars
        ...     if peak > 2000:
        ...         raise torch.OutOfMemoryError
        ...     return peak
        >>> largest_that_fits(32, trial, free=lambda: 2000)
        8
    """
    one = _tried(trial, 1)
    two = _tried(trial, 2) if one is not None and most > 1 else None
    if one is None or two is None:
        return 1
    slope = max(two - one, 1)
    size = min(most, max(2, int((SHARE * free() - one) / slope) + 1))
    while size > 2 and _tried(trial, size) is None:
        size //= 2
    return size


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free on a GPU, with what torch holds for itself, bytes."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)


def reclaim(error: BaseException) -> None:
    """Free the tensors that a failed batch holds: those in the frames of its error, and those torch caches."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _tried(trial: Callable[[int], int], avatars: int) -> int | None:
    """Return the peak memory of a trial; None if memory ran out."""
    try:
        return trial(avatars)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reclaim(error)
        return None
