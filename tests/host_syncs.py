"""Find calls that make the host wait for a GPU, on a machine without one.

    with pretended_gpu(monkeypatch), host_syncs() as found:
        step()
    assert found.syncs == []

Tensors on the pretended GPU of `tests.pretend_gpu` count, and so do those of a real one. A call that waits is named
with the line of this repository that made it. Calls that do not wait, such as copies with `non_blocking=True`, pass.
`torch.cuda.set_sync_debug_mode("error")` refuses the same calls on a GPU.

Found: numbers, lists, arrays and Python's `if` of a device's tensor; sizes that depend on values (`nonzero`, boolean
masks, `unique`, `repeat_interleave` without `output_size`, `bincount`); comparisons whose result is a Python bool;
checked linear algebra; blocking copies from host to device and back, among them `torch.tensor(..., device=...)`,
`x.new_tensor(...)`, `x[0] = 1.0`, and indices on the CPU; Warp's arrays as NumPy's; calls that only wait. The same in
backward passes and in compositions of torch.

Not found: waits inside a library's own kernels, other threads, `torch.load`.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import warp as wp
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.pretend_gpu import MARK, fresh, is_marked

ROOT = Path(__file__).resolve().parents[1]
TOOLS = tuple(str(ROOT / "tests" / name) for name in ("host_syncs.py", "pretend_gpu.py"))

WAITING = (
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive"),
    *("unique_dim_consecutive", "equal", "allclose", "bincount", "histc", "multinomial", "_coalesce"),
    *("_linalg_check_errors", "_linalg_svd", "_linalg_eigh", "linalg_eig", "linalg_lstsq"),
)
"""Operations whose kernels hand a value or a size to the host."""
TO_HOST = ("tolist", "numpy", "__array__", "__reduce_ex__", "__repr__", "__format__")
"""Calls that read a tensor's memory from the host."""
FROM_HOST = ("tensor", "new_tensor", "as_tensor", "asarray")
"""Calls that copy Python's or NumPy's numbers; to a device they do so while the host waits."""
CHECKED_ON_CPU = ("one_hot", "quantile", "nanquantile")
"""Calls that check their arguments' values on the CPU only."""
SYNCHRONISE = {
    torch.cuda: ("synchronize", "empty_cache"),
    wp: ("synchronize", "synchronize_device", "synchronize_stream", "synchronize_event"),
}


class HostSyncError(RuntimeError):
    """A call that makes the host wait for a GPU."""


@dataclass
class Found:
    """What a block of code asks of the device.

    Attributes:
        syncs: calls that wait, each with its file and line.
        operations: the device's operations by name; views aside, each is at least one kernel.
        kernels: launches of Warp's kernels by name.
        refuse: raise HostSyncError at the first call that waits.
    """

    syncs: list[str] = field(default_factory=list)
    operations: Counter[str] = field(default_factory=Counter)
    kernels: Counter[str] = field(default_factory=Counter)
    refuse: bool = False
    muted: int = 0

    def report(self, name: str) -> None:
        """Note a call that waits, unless it is a part of one that is noted."""
        if self.muted:
            return
        self.syncs.append(f"{name}: {_caller()}")
        if self.refuse:
            raise HostSyncError(self.syncs[-1])

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Note no calls that wait until the block ends."""
        self.muted += 1
        try:
            yield
        finally:
            self.muted -= 1


def _caller() -> str:
    """Return file, line and function of the innermost call from this repository, which may hold an environment."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and "site-packages" not in path.parts and frame.filename not in TOOLS:
            return f"{path.relative_to(ROOT)}:{frame.lineno} in {frame.name}"
    return "outside the repository"


def on_device(value: Any) -> bool:
    """Return whether a value is a tensor on a GPU, pretended or real."""
    if not isinstance(value, Tensor):
        return False
    with torch._C.DisableTorchFunction():
        return is_marked(value) or value.is_cuda


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


class _Calls(TorchFunctionMode):
    """Find Python's calls that wait: those that read memory, or move tensors between host and device."""

    def __init__(self, found: Found):
        super().__init__()
        self.found = found

    def __torch_function__(
        self, call: Callable[..., Any], types: Any, arguments: tuple[Any, ...] = (), options: Any = None
    ) -> Any:
        options, name = dict(options or {}), getattr(call, "__name__", str(call))
        given = [on_device(tensor) for tensor in _tensors(arguments, options)]
        if name in TO_HOST and any(given[:1]):
            self.found.report(name)
            with self.found.quiet():
                return call(*arguments, **options)
        if name in CHECKED_ON_CPU and _is_given_a_size(name, arguments, options):
            with self.found.quiet():
                return call(*arguments, **options)
        if name in ("to", "cpu", "cuda"):
            before, non_blocking = on_device(arguments[0]), _is_non_blocking(name, arguments, options)
            made = call(*arguments, **options)
            if on_device(made) != before and not non_blocking:
                self.found.report(f"{name} from {'device to host' if before else 'host to device'}")
            return made
        made = call(*arguments, **options)
        if name in FROM_HOST:
            data = arguments[1] if name == "new_tensor" else arguments[0] if arguments else options.get("data")
            if any(map(on_device, _tensors(data))) if not on_device(made) else not on_device(data):
                self.found.report(f"{name} from {'host to device' if on_device(made) else 'device to host'}")
        return made


def _is_given_a_size(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Return False if `one_hot` must find the number of classes, which waits on a GPU, too."""
    classes = options.get("num_classes", arguments[1] if len(arguments) > 1 else -1)
    return name != "one_hot" or classes >= 0


def _is_non_blocking(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Return whether a call of `to` or `cuda` lets the host go on. In `to`, the flag follows the dtype."""
    flags = [value for value in arguments[1:] if isinstance(value, bool)]
    return bool(options.get("non_blocking", flags[0] if flags and name != "cpu" else False))


class _Operations(TorchDispatchMode):
    """Find operations that wait, in compositions and backward passes, too."""

    def __init__(self, found: Found):
        super().__init__()
        self.found = found

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), options: Any = None
    ) -> Any:
        options, name = dict(options or {}), operation.overloadpacket.__name__
        used = any(map(on_device, _tensors(arguments, options)))
        if used:
            self._check(name, arguments, options)
        with torch._C.DisableTorchFunction():
            made = operation(*arguments, **options)
        if used and (operation._schema.is_mutable or fresh(made, (arguments, options))):
            self.found.operations.update([] if name.startswith(("empty", "new_empty")) else [name])
        return made

    def _check(self, name: str, arguments: Any, options: dict[str, Any]) -> None:
        """Report an operation with tensors on the device, if it waits."""
        if name in WAITING or (name == "repeat_interleave" and options.get("output_size") is None):
            self.found.report(name)
        elif name in ("copy_", "_copy_from") and not (len(arguments) > 2 and arguments[2]):
            if on_device(arguments[0]) != on_device(arguments[1]):
                self.found.report(f"copy_ from {'device to host' if on_device(arguments[1]) else 'host to device'}")
        elif name == "fill_" and len(arguments) > 1 and on_device(arguments[1]) and not on_device(arguments[0]):
            self.found.report("fill_ from device to host")
        elif name in ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"):
            self._check_index(name, arguments, options)

    def _check_index(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Report boolean masks, except where they are filled with a number; and indices that must be copied."""
        index = [tensor for tensor in arguments[1] if tensor is not None]
        masks = [tensor for tensor in index if tensor.dtype in (torch.bool, torch.uint8)]
        if masks:
            value = arguments[2] if name not in ("index", "_unsafe_index") else None
            accumulate = options.get("accumulate", arguments[3] if len(arguments) > 3 else False)
            number = value is not None and value.numel() == 1 and not on_device(value)
            if not (number and len(index) == 1 and not accumulate):
                self.found.report(f"{name} with a boolean mask")
        elif on_device(arguments[0]) and not all(map(on_device, [*index, *arguments[2:3]])):
            self.found.report(f"{name} with an index or a value on the host")


@contextmanager
def host_syncs(refuse: bool = False) -> Iterator[Found]:
    """Collect the calls of the block that make the host wait for a GPU.

    Args:
        refuse: raise HostSyncError at the first one.

    Yields:
        what is found, while it is found.
    """
    found = Found(refuse=refuse)
    with ExitStack() as stack:
        for module, names in SYNCHRONISE.items():
            for name in names:
                if hasattr(module, name):
                    stack.enter_context(patch.object(module, name, _noting(found, name, getattr(module, name))))
        stack.enter_context(patch.object(wp.array, "numpy", _noting_arrays(found, wp.array.numpy)))
        stack.enter_context(patch.object(wp, "launch", _noting_launches(found, wp.launch)))
        stack.enter_context(_Operations(found))
        stack.enter_context(_Calls(found))
        yield found


def _noting(found: Found, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call that is reported whenever it is made."""

    def noted(*arguments: Any, **options: Any) -> Any:
        found.report(name)
        return call(*arguments, **options)

    return noted


def _noting_arrays(found: Found, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return `numpy` of Warp's arrays, reported unless the array is known to be on the host."""

    def noted(array: Any) -> Any:
        if getattr(array, MARK, True):
            found.report("numpy of a Warp array")
        return call(array)

    return noted


def _noting_launches(found: Found, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return `wp.launch`, which counts its kernels."""

    def noted(kernel: Any, *arguments: Any, **options: Any) -> Any:
        found.kernels[kernel.key.split(".")[-1]] += 1
        return call(kernel, *arguments, **options)

    return noted
