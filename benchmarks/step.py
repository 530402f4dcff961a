"""Time of an optimisation step and of its parts on this machine, as Markdown tables.

    python benchmarks/step.py [--threads 1] [--batch 4] [--float32]

Runs the method `full` on the embedded stack. With --float32 networks run in float32, as they always do on CPUs whose
bfloat16 is slow (see `avatargen.priors.precision`). A refresh of the masks counts in the part that does the work, which
is mostly the UNet. Times are means over the steps; the parts of a row add up to its total. The last row is the mean
over all steps of an avatar: both phases at their lengths, with the shading cue as long as it lasts.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.loading import load_experiment, load_library, resolve  # noqa: E402
from avatargen.config.prompts import read_list  # noqa: E402
from avatargen.method.context import Batch, embed_prompts  # noqa: E402
from avatargen.method.cost import now  # noqa: E402
from avatargen.method.generator import Generator  # noqa: E402
from avatargen.method.optimise import take_step  # noqa: E402
from avatargen.method.state import initial_state  # noqa: E402
from avatargen.priors import stable_diffusion  # noqa: E402

PARTS = ("UNet", "decoder", "renderer, forward", "silhouettes, forward", "head, forward", "backward", "rest")

NEVER = 10_000
CASES = (
    ("1, with the shading cue", {"phase1_steps": NEVER}, 0),
    ("1, without it", {"phase1_steps": NEVER, "shading_alpha": 0.0}, 0),
    ("2, a period of masks", {"phase1_steps": 0, "phase2_steps": NEVER}, 0),
)
"""Name, changes of the full method, first step. Each case runs for one period of the masks."""


class Clock:
    """Adds up the time of wrapped calls; a call inside another wrapped call counts as part of that one alone."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._inside = False

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call with its time added to `name`."""

        def timed(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return call(*arguments, **options)
            self._inside, start = True, now()
            try:
                return call(*arguments, **options)
            finally:
                self.spent[name] += now() - start
                self._inside = False

        return timed


@contextmanager
def watched(generator: Generator, clock: Clock) -> Iterator[None]:
    """Time the parts of all steps that are taken in this context."""
    places = [
        (type(generator.prior), "predict", "UNet"),
        (type(generator.prior), "decode", "decoder"),
        (type(generator.renderer), "render", "renderer, forward"),
        (type(generator.renderer), "silhouette", "silhouettes, forward"),
        (type(generator.head), "vertices", "head, forward"),
        (torch.Tensor, "backward", "backward"),
    ]
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for (owner, name, part), (_, _, call) in zip(places, kept, strict=True):
        setattr(owner, name, clock.wrap(part, call))
    try:
        yield
    finally:
        for owner, name, call in kept:
            setattr(owner, name, call)


def main() -> None:
    """Measure both phases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--float32", action="store_true", help="run networks in float32")
    options = parser.parse_args()
    if options.float32:
        stable_diffusion.network_dtype = lambda device: torch.float32
    run = resolve(load_experiment("embedded"), "full", load_library())
    generator = Generator.load(run.head, run.renderer, run.prior, options.threads)
    items = (read_list(ROOT / "prompts" / "embedded.tsv") * options.batch)[: options.batch]
    texts, words = [item.prompt for item in items], generator.settings.view_words
    prompts = embed_prompts(generator.prior, texts, run.method.view_prompts, words)
    keys = torch.tensor([item.key for item in items])
    print("| phase | ms a step | " + " | ".join(f"{part}, %" for part in PARTS) + " |")
    print("|---" * (len(PARTS) + 2) + "|")
    rows = []
    for name, changes, first in CASES:
        method = run.method.model_copy(update=changes)
        batch = Batch(generator.context, method, prompts, keys)
        rows.append(measure(generator, batch, first, first + run.method.mask_period))
        show(name, rows[-1])
    cued = run.method.shading_until * run.method.phase1_steps
    steps = (cued, run.method.phase1_steps - cued + run.method.phase3_steps, run.method.phase2_steps)
    mean = {part: sum(n * row[part] for n, row in zip(steps, rows, strict=True)) / sum(steps) for part in PARTS}
    show("all steps of an avatar", mean)


def show(name: str, spent: dict[str, float]) -> None:
    """Print a row of the table from the seconds of each part of a step."""
    total = sum(spent.values())
    shares = " | ".join(f"{100 * spent[part] / total:.1f}" for part in PARTS)
    print(f"| {name} | {1e3 * total:.0f} | {shares} |", flush=True)


def measure(generator: Generator, batch: Batch, first: int, last: int) -> dict[str, float]:
    """Return the seconds of each part of a step, mean of steps `first` to `last`, after two steps to warm up."""
    settings = generator.settings
    state = initial_state(
        generator.head, batch.method, settings, batch.context.start, batch.keys.tolist(), 2 * settings.latent_size
    )
    for step in range(2):
        state.step = step
        take_step(batch, state)
    clock = Clock()
    with watched(generator, clock):
        start = now()
        for step in range(first, last):
            state.step = step
            take_step(batch, state)
        total = now() - start
    spent = {**clock.spent, "rest": total - sum(clock.spent.values())}
    return {part: spent.get(part, 0.0) / (last - first) for part in PARTS}


if __name__ == "__main__":
    main()
