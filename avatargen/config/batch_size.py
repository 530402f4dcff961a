"""The number of avatars that are optimised together: a number, or `auto`.

`auto` is the largest batch that fits, found by measurement where it runs (`avatargen.method.memory`). A fingerprint
holds the word, not the number that was found. An avatar does not depend on its batch mates, but it does on the size of
its batch: kernels sum other shapes in another order, and hundreds of steps let rounding grow to 0.4 to 0.6 mm. The
number that was found stands in the avatar's provenance, as that of any batch does.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

LARGEST = 256
AUTO_ON_CPU = 6
"""What `auto` means on a CPU, where larger batches are not faster; batches are padded to it, so bits repeat."""
AUTO_ON_GPU = 32
"""Avatars of a job under `auto` on a GPU, and so the largest batch. With two views, their 128 rows fill the largest
GPU several times over; larger jobs would leave workers idle at the end of a list."""


def _stated(value: Any) -> Any:
    """Refuse what is neither a number in range nor `auto`, in one sentence.

    Raises:
        ValueError: another value.
    """
    number = isinstance(value, int) and not isinstance(value, bool)
    if value != "auto" and not (number and 1 <= value <= LARGEST):
        raise ValueError(f"got {value!r}; expected a whole number from 1 to {LARGEST}, or auto")
    return value


BatchSize = Annotated[
    Annotated[int, Field(ge=1, le=LARGEST)] | Literal["auto"],
    BeforeValidator(_stated),
]


def job_size(batch_size: int | Literal["auto"], on_gpu: bool) -> int:
    """Return the number of avatars that a worker is given at a time, and so the largest batch.

    Args:
        batch_size: as an experiment states it.
        on_gpu: workers have a GPU, or a share of one.

    Example:
        >>> job_size(4, on_gpu=True), job_size("auto", on_gpu=True), job_size("auto", on_gpu=False)
        (4, 32, 6)
    """
    if batch_size == "auto":
        return AUTO_ON_GPU if on_gpu else AUTO_ON_CPU
    return batch_size
