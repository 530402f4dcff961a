"""Pretend a GPU: what code puts on it stays in the CPU's memory, marked, and mixed devices raise an error.

Most machines that run these tests have no GPU, and there torch does not notice a tensor on the wrong device.

Refused, as torch does:

- CPU tensors beside the GPU's, except indices and scalars;
- a CPU generator for random numbers on the GPU;
- NumPy views of the GPU's memory.

Refused, although torch or Warp copies silently or does not notice: values assigned by index from one device to the
other, and kernels with arrays of both.

The mark stays with a tensor's memory, so views and tensors saved for backward passes have it, too. Gradients get it
from the tensors that they are computed from.

Not noticed: mixtures inside torch's own backward passes, other threads, tensors that are loaded, kernels whose arrays
are all on the wrong device, what kernels compute, float16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import warp as wp
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from warp._src import torch as warp_torch

from avatargen.render.visibility import MeshBatch

MARK = "_on_pretended_gpu"
MEMORY = 8 * 2**30
"""Memory of the pretended card, bytes: one that is short of it."""
MOVES = ("to", "cpu", "cuda")
INDEXING = ("__getitem__", "__setitem__", "index_put", "index_put_")
ANYWHERE = ("copy_", "__set__", "backward")
"""Calls whose result is on the first tensor's device, wherever the others are."""
STRICT = ("stack", "cat", "index_select", "gather", "scatter", "scatter_", "embedding")
"""Calls that do not even take a scalar from elsewhere."""
PLAIN = (
    *("_has_compatible_shallow_copy_type", "__hash__", "__len__", "data_ptr", "dim", "element_size", "is_complex"),
    *("is_contiguous", "is_floating_point", "ndimension", "numel", "requires_grad_", "size", "storage_offset"),
    "stride",
)
"""Calls that only describe a tensor; they are frequent."""


class MixedDevicesError(RuntimeError):
    """A call that would fail on a GPU."""


def is_marked(value: Any) -> bool:
    """Return whether a value is a tensor on the pretended GPU."""
    return isinstance(value, Tensor) and _memory(value).__dict__.get(MARK, False)


def mark(value: Any, on: bool) -> Any:
    """Put a tensor's memory on the pretended GPU, or take it off; return the value, whatever it is."""
    if isinstance(value, Tensor):
        _memory(value).__dict__[MARK] = on
    return value


def _memory(tensor: Tensor) -> Any:
    """Return a tensor's storage, or the tensor itself if its layout has none."""
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage() if tensor.layout == torch.strided else tensor


def _is_gpu(device: Any) -> bool:
    return torch.device(device).type == "cuda"


class PretendedGpu(TorchFunctionMode):
    """Track the device of every tensor through every call of torch; see the module's docstring."""

    def __torch_function__(
        self, call: Callable[..., Any], types: Any, arguments: tuple[Any, ...] = (), options: Any = None
    ) -> Any:
        options, name = dict(options or {}), getattr(call, "__name__", str(call))
        if call == Tensor.device.__get__ and is_marked(arguments[0]):
            return torch.device("cuda", 0)
        if call == Tensor.is_cuda.__get__:
            return is_marked(arguments[0])
        if name in PLAIN:
            return call(*arguments, **options)
        if name == "pin_memory":  # which needs a driver
            return arguments[0]
        if name in MOVES or (name == "as_tensor" and isinstance(arguments[0], Tensor)):
            return _moved(name, arguments, options)
        if name == "__deepcopy__":
            return mark(call(*arguments), is_marked(arguments[0]))
        if name == "__iter__":
            return iter([mark(row, is_marked(arguments[0])) for row in Tensor.unbind(arguments[0], 0)])
        made_on = options.get("device")
        if made_on is not None and _is_gpu(made_on):
            options["device"] = "cpu"
        tensors = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Tensor)]
        _check(name, tensors, arguments, options, made_on)
        on = any(map(is_marked, tensors)) if made_on is None else _is_gpu(made_on)
        if name in (*ANYWHERE, *INDEXING) and tensors:
            on = is_marked(tensors[0])
        if name == "tensor" and made_on is None:
            on = is_marked(arguments[0])
        made = call(*arguments, **options)
        if call == Tensor.data.__set__:
            mark(arguments[0], is_marked(arguments[1]))
        if name not in ("item", "tolist"):
            for leaf in tree_leaves(made):
                mark(leaf, on)
        return made


class PassOn(TorchDispatchMode):
    """Mark what operations make from marked tensors, in backward passes and compositions, too."""

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), options: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunction():
            made = operation(*arguments, **(options or {}))
            for tensor in fresh(made, (arguments, options)):
                mark(tensor, True)
        return made


def fresh(made: Any, given: Any) -> list[Tensor]:
    """Return the tensors of a result with memory of their own, if any tensor that it is made from is marked."""
    given = [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
    if not any(map(is_marked, given)):
        return []
    known = {_memory(tensor)._cdata for tensor in given}
    return [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor) and _memory(leaf)._cdata not in known]


def _check(name: str, tensors: list[Tensor], arguments: tuple[Any, ...], options: dict[str, Any], made_on: Any) -> None:
    """Raise MixedDevicesError if torch would refuse a call."""
    marked = [tensor for tensor in tensors if is_marked(tensor)]
    other = [tensor for tensor in tensors if not is_marked(tensor)]
    gpu = bool(marked) if made_on is None else _is_gpu(made_on)
    if gpu and options.get("generator") is not None:
        raise MixedDevicesError(f"{name}: got a CPU generator; expected one on the GPU")
    if name in ("numpy", "__array__") and marked:
        raise MixedDevicesError(f"{name}: got a tensor on the GPU; expected one on the CPU")
    if not (marked and other) or made_on is not None or name in ANYWHERE:
        return
    if name in INDEXING:
        value = arguments[2] if name != "__getitem__" else None
        apart = isinstance(value, Tensor) and value.dim() > 0 and not is_marked(value)
        inside = name == "__getitem__" and all(tensor.dim() == 0 for tensor in marked)
        if apart or not (is_marked(arguments[0]) or inside):
            raise MixedDevicesError(
                f"{name}: got indices or values on another device; expected that of the tensor they index"
            )
        return
    written = [options.get("out"), arguments[0] if name.endswith("_") or name.startswith("__i") else None]
    into_cpu = any(isinstance(target, Tensor) and not is_marked(target) for target in written)
    if name in STRICT or into_cpu or any(tensor.dim() > 0 for tensor in other):
        raise MixedDevicesError(f"{name}: got tensors on CPU and GPU; expected one device")


def _moved(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """Return what `to`, `cpu`, `cuda` and `as_tensor` make of a tensor: a copy if the device differs."""
    tensor, rest = arguments[0], []
    on = {"cpu": False, "cuda": True}.get(name, is_marked(tensor))
    for value in arguments[1:]:
        if isinstance(value, torch.device | str):
            on = _is_gpu(value)
        elif isinstance(value, Tensor):
            on, value = is_marked(value), value.dtype
            rest.append(value)
        elif not isinstance(value, bool):
            rest.append(value)
    device = options.pop("device", None)
    on = on if device is None else _is_gpu(device)
    options.pop("non_blocking", None)
    made = Tensor.to(tensor, *rest, **options) if rest or options else tensor
    if on != is_marked(tensor) and made is tensor:
        made = tensor.clone(memory_format=torch.preserve_format)
    return made if made is tensor else mark(made, on)


@contextmanager
def pretended_gpu(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make torch say that there is a GPU, and track devices, until the block ends."""
    patch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("synchronize", "reset_peak_memory_stats", "max_memory_allocated", "memory_reserved", "empty_cache"):
        patch.setattr(torch.cuda, name, lambda *_: 0)
    patch.setattr(torch.cuda, "get_device_properties", lambda *_: SimpleNamespace(total_memory=MEMORY))
    patch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 6))
    patch.setattr(torch.cuda, "mem_get_info", lambda *_: (MEMORY, MEMORY))
    patch.setattr(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda _: None)
    _pretend_in_warp(patch)
    with PassOn(), PretendedGpu():
        yield


def _pretend_in_warp(patch: pytest.MonkeyPatch) -> None:
    """Keep Warp's arrays in the CPU's memory, as tensors are, and render by rays, as on a GPU."""
    wp.init()
    cpu, from_torch, launch, prepare = wp.get_device("cpu"), wp.from_torch, wp.launch, MeshBatch.__init__

    def marked(tensor: Tensor, *arguments: Any, **options: Any) -> wp.array:
        array = from_torch(tensor, *arguments, **options)
        setattr(array, MARK, is_marked(tensor))
        return array

    def checked(kernel: Any, dim: Any, inputs: Any = (), outputs: Any = (), **options: Any) -> Any:
        found = {getattr(value, MARK) for value in (*inputs, *outputs) if hasattr(value, MARK)}
        if len(found) > 1:
            raise MixedDevicesError(f"{kernel.key}: got arrays on CPU and GPU; expected one device")
        return launch(kernel, dim, inputs, outputs, **options)

    def by_rays(batch: MeshBatch, faces: Tensor, layout: Tensor | None = None, by_rays: bool | None = None) -> None:
        prepare(batch, faces, layout, True)

    for module in (wp, warp_torch):
        patch.setattr(module, "device_from_torch", lambda _: cpu)
    patch.setattr(wp, "from_torch", marked)
    patch.setattr(wp, "launch", checked)
    patch.setattr(MeshBatch, "__init__", by_rays)
