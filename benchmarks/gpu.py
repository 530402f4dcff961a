"""What the paper's stack costs on this machine's GPU, in one command of at most 8 minutes.

    python benchmarks/gpu.py [--small] [--out FOLDER] [--minutes 8] [--batches 1 2 4 8 16 32] [--only PART …]

Stable Diffusion 1.5's networks have their full size and random weights, which cost what trained ones do; nothing is
downloaded. The head is Anny: FLAME, of about as many vertices, needs a licence. Parts, in this order:

steps      time of a step at each batch size, the bare UNet at the same batch, the share of a step that is not the UNet
           (without refreshes of the masks), peak memory, and avatars an hour at the paper experiment's 5,000 steps
breakdown  the parts of a step, each awaited, at the best of these batches
embedded   a step of the shipped stack
renderers  each renderer that is there, on the same views
workflow   ten avatars through the real workflow, a few steps each, with `batch_size: auto`
tests      the tests that need a GPU

A part that does not fit into the time that is left is named and left out. Results go to the terminal and to
``FOLDER/gpu.md`` and ``gpu.json``. With --small everything runs at a reduced size, as on a CPU in the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.errors import InputError  # noqa: E402
from avatargen.config.loading import load_experiment, load_library, resolve  # noqa: E402
from avatargen.config.plugins import RENDERERS, load_class  # noqa: E402
from avatargen.config.prompts import PromptItem, read_list  # noqa: E402
from avatargen.config.settings import MethodSettings, PriorSettings  # noqa: E402
from avatargen.geometry.cameras import evaluation_cameras  # noqa: E402
from avatargen.method.context import Batch, embed_prompts  # noqa: E402
from avatargen.method.cost import now, peak_memory_mb, reset_peak_memory  # noqa: E402
from avatargen.method.generator import Generator  # noqa: E402
from avatargen.method.memory import reclaim  # noqa: E402
from avatargen.method.optimise import take_step  # noqa: E402
from avatargen.method.out_of_memory import is_out_of_memory  # noqa: E402
from avatargen.method.state import State, initial_state  # noqa: E402
from benchmarks.random_weights import FULL, SMALL, Size, write_stable_diffusion  # noqa: E402
from benchmarks.step import PARTS, Clock, watched  # noqa: E402

PARTS_OF_REPORT = ("steps", "breakdown", "embedded", "renderers", "workflow", "tests")
GUARD_S = {"steps": 60, "breakdown": 20, "embedded": 30, "renderers": 20, "workflow": 90, "tests": 60}
"""Least time that must be left for a part to begin, seconds."""
TFLOP = 0.80
"""Work of one pass of Stable Diffusion 1.5's UNet on one 64 x 64 latent image."""


@dataclass
class Report:
    """Tables for people, and the same numbers for programs.

    Attributes:
        deadline: when to stop, on the monotonic clock.
        lines: of Markdown.
        facts: by part.
    """

    deadline: float
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def say(self, *lines: str) -> None:
        """Print lines, and keep them."""
        print(*lines, sep="\n", flush=True)
        self.lines += lines

    def table(self, title: str, header: list[str], rows: list[list[Any]]) -> None:
        """Print and keep a table."""
        shown = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
        self.say("", f"**{title}**", "", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}")
        self.say(*(f"| {' | '.join(row)} |" for row in shown))

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.deadline - time.monotonic()


def begin(generator: Generator, method: MethodSettings, avatars: int) -> tuple[Batch, State]:
    """Return a batch of the embedded list's prompts, and its state before the first step."""
    items = (read_list(ROOT / "prompts/embedded.tsv") * avatars)[:avatars]
    texts, words = [item.prompt for item in items], generator.settings.view_words
    prompts = embed_prompts(generator.prior, texts, method.view_prompts, words)
    keys, size = torch.tensor([item.key for item in items]), 2 * generator.settings.latent_size
    state = initial_state(generator.head, method, generator.settings, generator.context.start, keys.tolist(), size)
    return Batch(generator.context, method, prompts, keys), state


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the mean time of a call, after one to warm up; the GPU is awaited once, at the end."""
    call()
    start = now()
    for _ in range(repeats):
        call()
    return (now() - start) / repeats


def step_times(generator: Generator, method: MethodSettings, avatars: int, steps: int) -> dict[str, float]:
    """Return the seconds of each kind of step, and of the bare UNet at the same batch; and the peak memory, GiB."""
    batch, state = begin(generator, method, avatars)
    settings, views, channels = generator.settings, avatars * method.views, generator.prior.latent_channels

    def step(number: int) -> Callable[[], object]:
        def take() -> None:
            state.step = number
            take_step(batch, state)

        return take

    reset_peak_memory()
    shape = (2 * views, channels, settings.latent_size, settings.latent_size)
    noisy = torch.randn(shape, device=batch.device)
    times, condition = torch.full((len(noisy),), 500, device=batch.device), batch.prompts.by_view[0, 0]
    condition = condition.expand(len(noisy), *condition.shape).contiguous()
    last = method.phase1_steps - 1
    found = {
        "unet": seconds(lambda: generator.prior.predict(noisy, times, condition), steps),
        "phase1_with_cue": seconds(step(0), steps),
        "phase1": seconds(step(last), steps),
        "masks": seconds(step(method.phase1_steps), 1),
        "phase2": seconds(step(method.phase1_steps + 1), steps),
    }
    found["masks"] -= found["phase2"]
    return {**found, "peak_gib": peak_memory_mb() / 2**10}


def seconds_of_run(found: dict[str, float], method: MethodSettings) -> float:
    """Return the seconds of a batch over all steps of a method, without loading and baking."""
    cued = method.shading_until * method.phase1_steps
    refreshes = -(-method.phase2_steps // method.mask_period)
    plain = (method.phase1_steps - cued + method.phase3_steps) * found["phase1"]
    plain += method.phase2_steps * found["phase2"]
    return cued * found["phase1_with_cue"] + plain + refreshes * found["masks"]


def steps_part(report: Report, generator: Generator, method: MethodSettings, size: Size, batches: list[int]) -> int:
    """Measure steps at each batch size that fits; return the best one."""
    rows, best = [], (0.0, batches[0])
    for avatars in batches:
        if report.left() < GUARD_S["steps"] and rows:
            report.say(f"steps: batch {avatars} and above left out: {report.left():.0f} s are left")
            break
        try:
            found = step_times(generator, method, avatars, size.steps)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reclaim(error)
            report.say(f"steps: a batch of {avatars} runs out of memory")
            break
        hourly = 3600 * avatars / seconds_of_run(found, method)
        mean = seconds_of_run({**found, "masks": 0.0}, method) / method.steps
        other = 100 * (1 - found["unet"] / mean)
        speed = 2 * avatars * method.views * TFLOP / found["unet"]
        best = max(best, (hourly, avatars))
        report.facts.setdefault("steps", []).append({"batch": avatars, **found, "avatars_an_hour": hourly})
        kinds = [1e3 * found[kind] for kind in ("unet", "phase1_with_cue", "phase1", "phase2", "masks")]
        rows.append([avatars, *kinds, other, *([speed] if not size.small else []), found["peak_gib"], hourly])
    kinds = ["UNet, ms", "phase 1 with cue, ms", "phase 1, ms", "phase 2, ms", "masks, ms"]
    work = ["UNet, TFLOP/s"] if not size.small else []
    header = ["batch", *kinds, "not the UNet, %", *work, "peak, GiB", f"avatars/h at {method.steps:,} steps"]
    report.table(f"Stable Diffusion 1.5, {method.views} views", header, rows)
    return best[1]


def breakdown_part(report: Report, generator: Generator, method: MethodSettings, size: Size, avatars: int) -> None:
    """Measure the parts of steps, each awaited."""
    rows = []
    for name, number in (("phase 1", method.phase1_steps - 1), ("phase 2", method.phase1_steps + 1)):
        batch, state = begin(generator, method, avatars)
        clock = Clock()
        for step in (0, method.phase1_steps):  # what is computed once
            state.step = step
            take_step(batch, state)
        with watched(generator, clock):
            start = now()
            for _ in range(size.steps):
                state.step = number
                take_step(batch, state)
            total = (now() - start) / size.steps
        spent = {part: clock.spent.get(part, 0.0) / size.steps for part in PARTS}
        spent["rest"] = total - sum(spent.values())
        report.facts.setdefault("breakdown", {})[name] = spent
        rows.append([name, *(1e3 * spent[part] for part in PARTS)])
    report.table(f"Parts of a step, batch {avatars}, each awaited", ["", *(f"{part}, ms" for part in PARTS)], rows)


def embedded_part(report: Report, size: Size) -> None:
    """Measure steps of the shipped stack."""
    run = resolve(load_experiment("embedded"), "full", load_library())
    generator = Generator.load(run.head, run.renderer, run.prior, torch.get_num_threads())
    rows = []
    for avatars in (6, 32) if not size.small else (1,):
        found = step_times(generator, run.method, avatars, size.steps)
        hourly = 3600 * avatars / seconds_of_run(found, run.method)
        report.facts.setdefault("embedded", []).append({"batch": avatars, **found, "avatars_an_hour": hourly})
        rows.append([avatars, *(1e3 * found[kind] for kind in ("unet", "phase1", "phase2", "masks")), hourly])
    header = ["batch", "UNet, ms", "phase 1, ms", "phase 2, ms", "masks, ms", f"avatars/h at {run.method.steps} steps"]
    report.table("The shipped stack (mini prior)", header, rows)


def renderers_part(report: Report, generator: Generator, size: Size) -> None:
    """Measure each renderer on two views of each avatar of a batch."""
    avatars, latent = (8, generator.settings.latent_size) if not size.small else (1, 16)
    head, rows = generator.proxy, []
    vertices = head.vertices(head.template(avatars))
    cameras = evaluation_cameras(avatars, 2, device=vertices.device)
    texture = torch.rand(avatars, 4, 64, 64, device=vertices.device)
    for name in dict.fromkeys(["warp", "pytorch3d", *RENDERERS]):
        try:
            renderer = load_class("renderer", name, RENDERERS)(head.topology)
        except (InputError, ImportError, OSError) as error:
            report.say("", f"renderers: '{name}' is left out: {' '.join(str(error).split())}")
            continue

        def step(renderer=renderer, gradients: bool = True) -> None:
            corners = vertices.detach().requires_grad_(gradients)
            with torch.set_grad_enabled(gradients):
                seen = renderer.render(corners, cameras, latent, texture=texture, samples=2, normals=False)
                if gradients:
                    (seen.coverage.square().sum() + seen.features.square().sum()).backward()

        forward, both = seconds(lambda step=step: step(gradients=False), size.steps), seconds(step, size.steps)
        report.facts.setdefault("renderers", {})[name] = {"forward": forward, "both": both, "batch": avatars}
        rows.append([name, 1e3 * forward, 1e3 * both])
    views = f"{avatars} x 2 views, {latent} x {latent}, 2 x 2 samples, {len(head.topology.faces):,} faces"
    report.table(f"Renderers: {views}", ["", "forward, ms", "forward and backward, ms"], rows)


def workflow_part(report: Report, folder: Path, prior: PriorSettings, size: Size, on_gpu: bool) -> None:
    """Run the real workflow in a folder of its own, with `batch_size: auto`."""
    config = folder / "workflow/config"
    config.mkdir(parents=True)
    stated = {"path": prior.path, "latent_size": prior.latent_size, "texture_size": prior.texture_size}
    (config / "priors.yaml").write_text(yaml.safe_dump({"random": stated}))
    experiment = {
        "lists": ["few"],
        "methods": ["full"],
        "prior": "random",
        "batch_size": "auto",
        "gpus_per_worker": 1 if on_gpu else 0,
        "cpus_per_worker": torch.get_num_threads(),
        "overrides": {"phase1_steps": 4, "phase2_steps": 4, "mask_views": 8 if not size.small else 1},
        "evaluation": {"turntable_frames": 8, **({} if not size.small else {"views": 2, "size": 32})},
    }
    (config / "bench.yaml").write_text(yaml.safe_dump(experiment))
    (folder / "prompts").mkdir()
    items: list[PromptItem] = read_list(ROOT / "prompts/embedded.tsv")[: size.avatars]
    (folder / "prompts/few.txt").write_text("".join(f"{item.prompt}\n" for item in items))
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "all"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AVATARGEN_BOARD"))}
    start = time.monotonic()
    done = subprocess.run(
        [*command, "--config", "experiment=bench"],
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
        timeout=max(report.left(), 1),
        check=False,
    )
    took = time.monotonic() - start
    made = [json.loads(file.read_text()) for file in folder.glob("results/**/avatar.json")]
    sizes = sorted({avatar["provenance"]["batch_size"] for avatar in made})
    statuses = [avatar["status"] for avatar in made]
    report.facts["workflow"] = {"seconds": took, "returncode": done.returncode, "statuses": statuses, "batches": sizes}
    if done.returncode:
        report.say("", "workflow: failed", *(done.stdout + done.stderr).splitlines()[-20:])
    header = ["avatars", "statuses", "batch found", "s in all"]
    ended = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    rows = [[len(made), ended, ", ".join(map(str, sizes)), took]]
    report.table("The real workflow, 8 steps an avatar, from start to report", header, rows)


def tests_part(report: Report, on_gpu: bool) -> None:
    """Run the tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-rs", "tests"]
    if not on_gpu:
        report.say("", "tests: left out: torch finds no GPU")
        return
    environment, limit = {**os.environ, "AVATARGEN_TEST_GPU": "1"}, max(report.left(), 1)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit, check=False
    )
    lines = done.stdout.strip().splitlines()
    report.facts["tests"] = {"returncode": done.returncode, "summary": lines[-1] if lines else ""}
    report.say("", f"GPU tests: {lines[-1] if lines else done.stderr[-500:]}")
    if done.returncode:
        report.say(*lines[-30:])


def attempt(report: Report, name: str, chosen: list[str], part: Callable[[], Any]) -> Any:
    """Run a part if it is chosen and its time is left; one that runs out of time or memory ends with a line on that."""
    if name not in chosen:
        return None
    if report.left() < GUARD_S[name]:
        report.say("", f"{name}: left out: {report.left():.0f} s are left, and it may take {GUARD_S[name]}")
        return None
    try:
        return part()
    except subprocess.TimeoutExpired:
        report.say("", f"{name}: stopped: the time is up")
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reclaim(error)
        report.say("", f"{name}: runs out of memory: {str(error).splitlines()[0]}")
    return None


def main() -> None:
    """Measure all parts and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="reduced networks, two avatars: to test this script")
    parser.add_argument("--out", type=Path, default=Path("gpu-benchmark"), help="folder of gpu.md and gpu.json")
    parser.add_argument("--minutes", type=float, default=8.0, help="time that all parts may take together")
    parser.add_argument("--batches", type=int, nargs="+", help="batch sizes (1 2 4 8 16 32; small: 1 2)")
    parser.add_argument("--steps", type=int, help="measured steps of each kind")
    parser.add_argument("--only", nargs="+", choices=PARTS_OF_REPORT, default=list(PARTS_OF_REPORT))
    options = parser.parse_args()
    report, size = Report(time.monotonic() + 60 * options.minutes), SMALL if options.small else FULL
    size = replace(size, steps=options.steps or size.steps)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    versions = {"torch": torch.__version__, "threads": torch.get_num_threads(), "small": options.small}
    report.facts |= {"card": card, **versions}
    reduced = ", reduced size: no measurement of anything" if options.small else ""
    report.say(f"{card}, torch {torch.__version__}, {torch.get_num_threads()} CPU threads{reduced}")
    work = Path(tempfile.mkdtemp(prefix="gpu-benchmark-"))
    try:
        measure(report, work, size, device, options)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "gpu.md").write_text("\n".join(report.lines) + "\n", encoding="utf-8")
        (options.out / "gpu.json").write_text(json.dumps(report.facts, indent=1), encoding="utf-8")
    report.say("", f"{60 * options.minutes - report.left():.0f} s in all; written to {options.out}")


def measure(report: Report, work: Path, size: Size, device: torch.device, options: argparse.Namespace) -> None:
    """Measure the chosen parts."""
    method, on_gpu, chosen = MethodSettings(**size.method), device.type == "cuda", options.only
    settings = PriorSettings(path=str(work / "prior"), **size.settings)
    batches = options.batches or ([1, 2] if size.small else [1, 2, 4, 8, 16, 32])
    write_stable_diffusion(work / "prior", size, device)
    generator = Generator.load("anny", "warp", settings, torch.get_num_threads())
    best = attempt(report, "steps", chosen, lambda: steps_part(report, generator, method, size, batches)) or 1
    attempt(report, "breakdown", chosen, lambda: breakdown_part(report, generator, method, size, best))
    attempt(report, "renderers", chosen, lambda: renderers_part(report, generator, size))
    del generator  # its memory is the next parts'
    for name, part in (
        ("embedded", lambda: embedded_part(report, size)),
        ("workflow", lambda: workflow_part(report, work / "study", settings, size, on_gpu)),
        ("tests", lambda: tests_part(report, on_gpu)),
    ):
        if on_gpu:
            torch.cuda.empty_cache()
        attempt(report, name, chosen, part)


if __name__ == "__main__":
    main()
