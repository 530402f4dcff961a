"""What the trainings of the VAE, the prior and the judge share: schedule, averaging, checkpoints, progress."""

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

from avatargen.config.errors import InputError
from avatargen.io.atomic import replacing, write_text
from avatargen.priors.precision import network_dtype
from avatargen.training.artifact_cache import Facts, differences


@dataclass(frozen=True)
class Budget:
    """How long a training lasts.

    Attributes:
        steps: optimiser steps.
        batch: samples a step.
        lr: peak learning rate; rises linearly over `warmup` steps, stays, and falls linearly to zero over the last
            `cool` of the steps, so that a training whose budget grows goes on without having cooled down too early.
        decay: half-life-like factor of the exponential moving average of the weights.
    """

    steps: int
    batch: int
    lr: float
    warmup: int = 100
    decay: float = 0.998
    cool: float = 0.25

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return self.lr * min(1.0, (self.steps - step) / (self.cool * self.steps))


def training_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_math() -> torch.autocast:
    """Autocast to bfloat16 on a GPU, or on a CPU with units for it."""
    if torch.cuda.is_available():
        return torch.autocast("cuda", torch.bfloat16)
    fast = network_dtype(torch.device("cpu")) == torch.bfloat16
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)


def batch_indices(seed: int, step: int, batch: int, count: int) -> np.ndarray:
    """Indices of a step's samples, keyed by (seed, step): nothing to restore on resumption."""
    return np.random.default_rng((seed, step)).integers(0, count, batch)


class Average:
    """Exponential moving average of several modules' weights, warmed up."""

    def __init__(self, modules: dict[str, nn.Module], decay: float):
        self.decay = decay
        self.values = {name: {k: v.detach().clone() for k, v in m.state_dict().items()} for name, m in modules.items()}

    @torch.no_grad()
    def update(self, modules: dict[str, nn.Module], step: int) -> None:
        """Move the average towards the current weights."""
        decay = min(self.decay, (step + 1) / (step + 10))
        for name, module in modules.items():
            for key, value in module.state_dict().items():
                target = self.values[name][key]
                if value.is_floating_point():
                    target.lerp_(value, 1 - decay)
                else:
                    target.copy_(value)

    def load_into(self, modules: dict[str, nn.Module]) -> None:
        """Replace the modules' weights by their averages."""
        for name, module in modules.items():
            module.load_state_dict(self.values[name])


@dataclass
class Trainer:
    """Runs one training: `loss(step)` is called until the budget is spent, with checkpoints in between.

    While it runs the modules are on `device`, and there losses want their input; after it they are on the CPU.

    Attributes:
        name: of the training; names its checkpoint and its curve.
        folder: where the checkpoint and ``{name}-curve.jsonl`` go.
        modules: trained jointly, averaged, and checkpointed.
        budget: steps, batch and rates.
        facts: what decides the training beside its budget. A checkpoint goes on only from the same ones, and the same
            batch and average; its steps and learning rates may change. One without facts is taken as it is.
        save_every: steps between checkpoints.

    Raises:
        InputError: there is a checkpoint of a training that other facts decided.
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
        for module in self.modules.values():
            module.to(self.device)
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        self.optimiser = torch.optim.AdamW(
            parameters, lr=self.budget.lr, betas=(0.9, 0.99), weight_decay=1e-3, fused=True
        )
        self.average = Average(self.modules, self.budget.decay)
        self.start = self._resume()

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.name}.ckpt"

    def _resume(self) -> int:
        if not self.checkpoint.exists():
            return 0
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self._check(state.get("facts"))
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.values = {
            name: {key: value.to(self.device) for key, value in values.items()}
            for name, values in state["average"].items()
        }
        self.curve = state["curve"]
        return int(state["step"])

    def _check(self, facts: Facts | None) -> None:
        """Whether a checkpoint is of this training."""
        if facts is None:
            print(f"{self.checkpoint}: does not say what it was trained with; taken as it is", flush=True)
            return
        changed = differences(facts, self.facts)
        if changed:
            raise InputError(
                [f"{self.checkpoint}: of another training ({'; '.join(changed)}); remove it to train from the start"]
            )

    def save(self, step: int) -> None:
        """Write a checkpoint, atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        modules = {name: module.state_dict() for name, module in self.modules.items()}
        state = {"step": step, "modules": modules, "optimiser": self.optimiser.state_dict()}
        state |= {"average": self.average.values, "curve": self.curve, "facts": self.facts}
        with replacing(self.checkpoint, only_writer=True) as partial:
            torch.save(state, partial)
        write_text(self.folder / f"{self.name}-curve.jsonl", "".join(json.dumps(row) + "\n" for row in self.curve))

    def run(self, loss: Callable[[int], Tensor]) -> None:
        """Train until the budget is spent; the modules then hold their averaged weights."""
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        running = None
        for step in self._progress():
            for group in self.optimiser.param_groups:
                group["lr"] = self.budget.rate(step)
            value = loss(step)
            self.optimiser.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimiser.step()
            self.average.update(self.modules, step)
            running = value.item() if running is None else 0.98 * running + 0.02 * value.item()
            if (step + 1) % 50 == 0:
                self.curve.append({"step": step + 1, "loss": running, "time": time.time()})
                print(f"{self.name}: step {step + 1}/{self.budget.steps} loss {running:.4f}", flush=True)
            if (step + 1) % self.save_every == 0 or step + 1 == self.budget.steps:
                self.save(step + 1)
        self.average.load_into(self.modules)
        for module in self.modules.values():
            module.cpu()

    def _progress(self) -> Iterator[int]:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), transient=True) as progress:
            task = progress.add_task(self.name, total=self.budget.steps, completed=self.start)
            for step in range(self.start, self.budget.steps):
                yield step
                progress.advance(task)
