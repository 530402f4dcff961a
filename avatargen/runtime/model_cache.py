"""Keep the networks that a worker process has loaded, and free them before others take their memory."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from importlib import import_module
from operator import attrgetter
from typing import Any

from avatargen.config.errors import InputError


@dataclass(frozen=True)
class _Loaded:
    arguments: tuple[Any, ...]
    model: Any
    alone: bool


@dataclass
class ModelCache:
    """The models of one process, one for each ``module:name``.

    Attributes:
        gpus: share of a GPU that the process was given; 0 keeps it on the CPU.
    """

    gpus: float = 0.0
    _loaded: dict[str, _Loaded] = field(default_factory=dict)

    def get(self, spec: str, arguments: tuple[Any, ...], alone: bool = False) -> Any:
        """Return the model that ``module:name`` makes of `arguments`, loaded now unless it is there already.

        Args:
            spec: ``module:name`` of a class or function.
            arguments: its arguments; models made of others with the same `spec` are freed.
            alone: keep no other model beside it, as a generator needs the memory of a whole batch.

        Raises:
            InputError: `alone` on a share of a GPU that torch does not find.
        """
        if spec not in self._loaded or self._loaded[spec].arguments != arguments:
            if not self.gpus:
                os.environ["CUDA_VISIBLE_DEVICES"] = ""
            elif alone:
                _require_gpu(self.gpus)
            for other in [key for key, held in self._loaded.items() if alone or held.alone or key == spec]:
                del self._loaded[other]  # before the next one takes memory
            module, _, name = spec.partition(":")
            model = attrgetter(name)(import_module(module))(*arguments)
            self._loaded[spec] = _Loaded(arguments, model, alone)
        return self._loaded[spec].model

    def release_unused(self) -> None:
        """Return the GPU memory that torch holds but does not use, for processes that render on the same GPU."""
        torch = sys.modules.get("torch")
        if self.gpus and torch and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _require_gpu(gpus: float) -> None:
    """Raise InputError if torch finds no GPU: with too old a driver, everything would run on the CPU unnoticed."""
    import torch  # drivers import this module without torch

    if not torch.cuda.is_available():
        raise InputError(
            [
                f"gpus_per_worker: got {gpus:g}, but torch {torch.__version__} finds no GPU on {os.uname().nodename}; "
                "expected an NVIDIA driver that is new enough for it (see nvidia-smi), or gpus_per_worker: 0"
            ]
        )
