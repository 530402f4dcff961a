"""Run a training: learning rates, averaged weights, checkpoints, progress. All trainings of this folder use it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from avatargen.config.errors import InputError
from avatargen.io.atomic import replacing, write_text
from avatargen.priors.precision import network_dtype
from avatargen.training.artifact_cache import Facts, differences

LOG_EVERY = 50
"""Steps between two rows of the curve."""
SMOOTHING = 0.98
"""Share of the loss's running mean that each step keeps."""


@dataclass(frozen=True)
class Budget:
    """How long a training lasts, and how fast it learns.

    The rate rises linearly over `warmup` steps, stays at `lr`, and falls linearly to zero over the last `cool` of all
    steps. So a training whose budget grows continues without having cooled down too early.

    Attributes:
        steps: optimiser steps.
        batch: samples per step.
        lr: peak learning rate.
        warmup: steps until the rate reaches its peak.
        decay: of the exponential moving average of the weights, per step.
        cool: share of the steps over which the rate falls.
    """

    steps: int
    batch: int
    lr: float
    warmup: int = 100
    decay: float = 0.998
    cool: float = 0.25

    def rate(self, step: int) -> float:
        """Return the learning rate at a step.

        Example:
            >>> budget = Budget(steps=1000, batch=32, lr=0.5, warmup=100, cool=0.5)
            >>> [budget.rate(step) for step in (49, 100, 750)]
            [0.25, 0.5, 0.25]
        """
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return self.lr * min(1.0, (self.steps - step) / (self.cool * self.steps))


def training_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_math() -> torch.autocast:
    """Return autocast to bfloat16 on a GPU or on a CPU that computes in it, else a disabled one."""
    if torch.cuda.is_available():
        return torch.autocast("cuda", torch.bfloat16)
    fast = network_dtype(torch.device("cpu")) == torch.bfloat16
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)


def batch_indices(seed: int, step: int, batch: int, count: int) -> np.ndarray:
    """Return the indices of a step's samples, keyed by (seed, step), so that nothing has to be restored on resumption.

    Example:
        >>> bool((batch_indices(0, 7, 4, 100) == batch_indices(0, 7, 4, 100)).all())
        True
    """
    return np.random.default_rng((seed, step)).integers(0, count, batch)


def warmed_up_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Return an exponential moving average for `AveragedModel` that follows the weights closely at first.

    Args:
        decay: share of the average that a step keeps, once (n + 1) / (n + 10) has reached it after n steps.

    Example:
        >>> average = torch.zeros(1)
        >>> warmed_up_average(0.998)([average], [torch.ones(1)], 8)
        >>> average
        tensor([0.5000])
    """

    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        kept = min(decay, (int(count) + 1) / (int(count) + 10))
        for average, value in zip(averages, current, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - kept)
            else:
                average.copy_(value)

    return update


@dataclass
class Trainer:
    """Call `loss(step)` until the budget is spent, and write checkpoints on the way.

    The modules are on `device` while they are trained, where a loss must put its input, and on the CPU afterwards.

    Attributes:
        name: of the training; names its checkpoint and its curve.
        folder: where ``{name}.ckpt`` and ``{name}-curve.jsonl`` go.
        modules: trained together, averaged, and checkpointed.
        budget: steps, batch and rates.
        facts: what determines the training beside its budget. A checkpoint is resumed only with equal facts, batch and
            decay; steps and learning rates may change.
        save_every: steps between checkpoints.

    Raises:
        InputError: the checkpoint is of a training with other facts.
    """

    name: str
    folder: Path
    modules: dict[str, nn.Module]
    budget: Budget
    facts: Facts = field(default_factory=dict)
    save_every: int = 200
    curve: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.facts = {**self.facts, "batch": self.budget.batch, "decay": self.budget.decay}
        self.device = training_device()
        self.model = nn.ModuleDict(self.modules).to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=self.budget.lr, betas=(0.9, 0.99), weight_decay=1e-3, fused=True
        )
        average = warmed_up_average(self.budget.decay)
        self.average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)  # pyright: ignore[reportArgumentType]
        self.start = self._resume()

    @property
    def checkpoint(self) -> Path:
        """Return the checkpoint's path."""
        return self.folder / f"{self.name}.ckpt"

    def _resume(self) -> int:
        """Load the checkpoint if there is one; return the first step to do."""
        if not self.checkpoint.exists():
            return 0
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        changed = differences(state.get("facts", {}), self.facts)
        if changed:
            raise InputError(
                [f"{self.checkpoint}: of another training ({'; '.join(changed)}); remove it to train from the start"]
            )
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.load_state_dict(state["average"])
        self.curve = state["curve"]
        return int(state["step"])

    def save(self, step: int) -> None:
        """Write a checkpoint after `step` steps, atomically, and the curve."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "step": step,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
            "curve": self.curve,
            "facts": self.facts,
        }
        with replacing(self.checkpoint) as partial:
            torch.save(state, partial)
        write_text(self.folder / f"{self.name}-curve.jsonl", "".join(json.dumps(row) + "\n" for row in self.curve))

    def run(self, loss: Callable[[int], Tensor]) -> None:
        """Train until the budget is spent; the modules then hold their averaged weights."""
        running = None
        for step in self._progress():
            value = self._descend(loss, step)
            running = value if running is None else SMOOTHING * running + (1 - SMOOTHING) * value
            if (step + 1) % LOG_EVERY == 0:
                self.curve.append({"step": step + 1, "loss": running, "time": time.time()})
                print(f"{self.name}: step {step + 1}/{self.budget.steps} loss {running:.4f}", flush=True)
            if (step + 1) % self.save_every == 0 or step + 1 == self.budget.steps:
                self.save(step + 1)
        self.model.load_state_dict(self.average.module.state_dict())
        self.model.cpu()

    def _descend(self, loss: Callable[[int], Tensor], step: int) -> float:
        """Do one step of the optimiser and of the average; return the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.budget.rate(step)
        value = loss(step)
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.average.update_parameters(self.model)
        return value.item()

    def _progress(self) -> Iterator[int]:
        """Yield the steps that are left, beside a progress bar."""
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), transient=True) as progress:
            task = progress.add_task(self.name, total=self.budget.steps, completed=self.start)
            for step in range(self.start, self.budget.steps):
                yield step
                progress.advance(task)
