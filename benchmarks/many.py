"""What a run of many avatars costs besides the avatars: the dry run, and the drivers of workers; as Markdown tables.

    python benchmarks/many.py [--prompts 10000] [--avatars 1200] [--repeats 3]

The dry run is that of PROMPTS prompts of the closed world with eight methods, in a temporary folder. A driver makes
AVATARS avatars in chunks of 250 and batches of six on two workers of a real Ray, as the rule `generate` does, with a
generator that only writes files (tests/workflow/fake_generator.py). Its overhead is the elapsed time for each avatar.
It holds writing the avatar's files and reading them for the manifest, but not starting Ray and importing torch.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.experiment import RunConfig  # noqa: E402
from avatargen.config.loading import load_experiment, load_library, resolve  # noqa: E402
from avatargen.config.prompts import PromptItem  # noqa: E402
from avatargen.headworld.attributes import sample  # noqa: E402
from avatargen.headworld.phrases import caption  # noqa: E402
from avatargen.runtime import ray_head  # noqa: E402
from avatargen.runtime.generate_chunk import make_chunk  # noqa: E402
from avatargen.runtime.progress import BOARD, Board, weight  # noqa: E402
from avatargen.runtime.worker_pool import ExecutionSettings  # noqa: E402

METHODS = (
    "full",
    "no_shading_cue",
    "no_segmentation",
    "texture_only",
    "geometry_only",
    "no_offsets",
    "template",
    "oracle",
)
CHUNK, WORKERS = 250, 2


def main() -> None:
    """Run the benchmark and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--avatars", type=int, default=1_200, help="0: no Ray")
    parser.add_argument("--repeats", type=int, default=3, help="of the dry run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="many-") as name:
        folder = Path(name)
        prompts = captions(options.prompts)
        write_study(folder, prompts)
        print("| dry run | jobs | seconds | of them CPU | MB |\n|---|---|---|---|---|")
        for number in range(options.repeats):
            jobs, *cost = dry_run(folder)
            label = f"{options.prompts:,} prompts x {len(METHODS)} methods, {'first' if number == 0 else 'again'}"
            print(f"| {label} | {jobs} | " + " | ".join(f"{value:.1f}" for value in cost) + " |", flush=True)
        if options.avatars:
            print("\n| driver | avatars | ms per avatar | of them CPU of the driver | starting Ray, seconds |")
            print("|---|---|---|---|---|")
            cells = drive(folder, prompts[: options.avatars])
            print(f"| {WORKERS} workers, no optimisation | " + " | ".join(cells) + " |")
    print(f"\nload of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def captions(count: int) -> list[str]:
    """Return different captions of random heads of the closed world."""
    rng, found = np.random.default_rng(0), {}
    while len(found) < count:
        found[caption(sample(rng))] = True
    return list(found)


def write_study(folder: Path, prompts: list[str]) -> None:
    """Write an experiment of eight methods and its list."""
    (folder / "prompts").mkdir()
    lines = [f"p{number:06d}\t{prompt}\n" for number, prompt in enumerate(prompts)]
    (folder / "prompts/many.tsv").write_text("id\tprompt\n" + "".join(lines))
    (folder / "workflow/config").mkdir(parents=True)
    facts = {"lists": ["many"], "methods": list(METHODS), "judges": ["mini", "guide"], "chunk_size": CHUNK}
    (folder / "workflow/config/many.yaml").write_text(yaml.safe_dump(facts))


def dry_run(folder: Path) -> tuple[int, float, float, float]:
    """Return the number of jobs of a dry run, its seconds, its seconds of CPU, and its memory, MB."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "-q", "rules", "--cores", "2"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ended = subprocess.run([*command, "--config", "experiment=many"], cwd=folder, capture_output=True, text=True)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        sys.exit(ended.stderr)
    lines = (ended.stdout + ended.stderr).splitlines()
    (total,) = {line.split()[1] for line in lines if line.startswith("total ")}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return int(total), seconds, cpu, after.ru_maxrss / 1024


def drive(folder: Path, prompts: list[str]) -> list[str]:
    """Make avatars of nothing on a real Ray; return their number, ms per avatar, ms of the driver's CPU, start time."""
    os.chdir(folder)
    run = resolve(load_experiment("embedded"), "full", load_library())
    run = run.model_copy(update={"method": run.method.model_copy(update={"phase1_steps": 1, "phase2_steps": 0})})
    items = [PromptItem("many", f"p{number:06d}", prompt) for number, prompt in enumerate(prompts)]
    file = folder / "ray.json"
    began = time.monotonic()
    head = ray_head.spawn(file, WORKERS, False, folder / "ray.log")
    os.environ[BOARD] = str(Board.create(folder / "board.jsonl", [weight(run)] * len(items)).path)
    execution = ExecutionSettings(
        "ray", 1, cores=WORKERS, head_file=file, spec="tests.workflow.fake_generator:FakeGenerator"
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # a line for each avatar
            _make(run, items[: WORKERS * run.batch_size], folder / "warm", execution)
            started, cpu = time.monotonic(), time.process_time()
            for first in range(0, len(items), CHUNK):
                _make(run, items[first : first + CHUNK], folder / "avatars", execution)
            ended, used = time.monotonic(), time.process_time() - cpu
    finally:
        head.terminate()
        head.wait(60)
    each = [1e3 * value / len(items) for value in (ended - started, used)]
    return [f"{len(items):,}", *(f"{value:.1f}" for value in each), f"{started - began:.1f}"]


def _make(run: RunConfig, items: list[PromptItem], avatars: Path, execution: ExecutionSettings) -> None:
    rows = make_chunk(run, items, avatars, execution)
    if any(row.status != "ok" for row in rows):
        sys.exit(f"{rows[0].message}")


if __name__ == "__main__":
    main()
