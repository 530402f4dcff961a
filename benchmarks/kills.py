"""Kill a run at random moments, and run the same command again, until it ends: with the same bits as a calm run?

    python benchmarks/kills.py [--kills 100] [--seed 0]

The study is the small one of `tests/workflow`, with more prompts and steps: real head, renderer, judge and Ray, an
untrained prior. It first runs undisturbed. Then rounds of the same command follow in a second folder, each from
nothing: at random moments one of its processes, drawn by its part (Snakemake, a job, a worker, Ray's head), gets
SIGKILL; SIGTERM and Ctrl-C of Snakemake are drawn too. A run whose part was killed may end by itself or go on, and be
disturbed again. Prints a line a kill, and at the end of each round what differs from the calm run: avatars, views,
embeddings, or tables.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.workflow.small_study import none_left_within, start, write_study  # noqa: E402

PROMPTS = ("old\tan old man", "girl\ta girl", "baby\ta baby", "boy\ta boy with horns", "man\ta man", "woman\ta woman")
CHANGES = ("overrides={phase1_steps: 12, phase2_steps: 12, mask_views: 1}",)
PARTS = {
    "snakemake": lambda line: "-m snakemake" in line and "--cores" in line,
    "job": lambda line: ".snakemake/scripts" in line,
    "worker": lambda line: line.startswith("ray::Worker"),
    "head": lambda line: "ray_head" in line or "raylet" in line or "gcs_server" in line,
}
SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Also sent to Snakemake."""
ENDED_S = 90
"""Longest time, in seconds, until all processes of a run have ended: agents of a Ray that was killed take 62."""
TABLES = ("clip_r", "paired", "truth", "confusions", "diagnosis")
"""Without those that hold seconds."""


def content(place: Path) -> dict[str, str]:
    """Return a hash of the bits of each result that must not depend on what happened."""
    found = {}
    results = place / "results/tiny"
    for folder in sorted(results.glob("few/*/avatars/*-*")):
        name = folder.relative_to(results)
        for file in ("avatar.safetensors", "texture.png"):
            found[f"{name}/{file}"] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        for file in ("views.npz", "embeddings-mini.npz"):
            with np.load(folder / file) as arrays:
                parts = [arrays[key].tobytes() for key in sorted(arrays.files)]
            found[f"{name}/{file}"] = hashlib.sha256(b"".join(parts)).hexdigest()
    for table in TABLES:
        found[table] = hashlib.sha256((results / f"tables/{table}.csv").read_bytes()).hexdigest()
    return found


def processes(run: subprocess.Popen[str]) -> dict[str, list[psutil.Process]]:
    """Return the living processes of a run, by part."""
    found: dict[str, list[psutil.Process]] = {part: [] for part in PARTS}
    try:
        everything = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return found
    for process in everything:
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        part = next((name for name, is_part in PARTS.items() if is_part(line)), None)
        if part:
            found[part].append(process)
    return found


def disturb(place: Path, run: subprocess.Popen[str], draw: random.Random) -> str:
    """Send a signal to a random process of a run; return the part and the signal, or an empty text if it had ended."""
    parts = {part: alive for part, alive in processes(run).items() if alive}
    if not parts or run.poll() is not None:
        return ""
    part = draw.choice(sorted(parts))
    sent = draw.choice((signal.SIGKILL, *SIGNALS)) if part == "snakemake" else signal.SIGKILL
    try:
        draw.choice(parts[part]).send_signal(sent)
    except psutil.NoSuchProcess:
        return ""
    return f"{part} {sent.name}"


def until_done(place: Path, draw: random.Random, longest: float, kills: Counter[str], most: int) -> int:
    """Run the command, disturbed, until it ends well; return how often it was started.

    Args:
        place: folder of the study.
        draw: of the moments and the parts.
        longest: seconds from one signal to the next, at most.
        kills: signals sent so far, by part; counts on.
        most: signals to send in all.
    """
    for starts in range(1, 1000):
        run, before = start(place, *CHANGES), kills.total()
        while kills.total() < most and run.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                run.wait(draw.uniform(0.5, longest))
            if what := disturb(place, run, draw):
                kills[what] += 1
                print(f"{kills.total():4d}  start {starts}: {what}", flush=True)
        try:
            output = run.communicate(timeout=600)[0]
        except subprocess.TimeoutExpired:
            run.kill()
            raise SystemExit(f"{place}: a run hangs; its folder is kept") from None
        if left := none_left_within(place, ENDED_S):
            raise SystemExit(f"{place}: processes were left behind: {left}")
        if run.returncode == 0:
            return starts
        if kills.total() == before:
            raise SystemExit(f"{place}: an undisturbed run fails\n{output[-3000:]}")
    raise SystemExit(f"{place}: never ended")


def prepare(place: Path) -> Path:
    """Write the study into a new folder."""
    write_study(place)
    (place / "prompts/few.tsv").write_text("".join(f"{line}\n" for line in ("id\tprompt", *PROMPTS)), encoding="utf-8")
    return place


def main() -> None:
    """Compare a calm run with disturbed ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="signals to send in all")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed, and when")
    options = parser.parse_args()
    draw, kills, base = random.Random(options.seed), Counter[str](), Path(tempfile.mkdtemp(prefix="kills-"))
    calm = prepare(base / "calm")
    place = shutil.copytree(calm, base / "disturbed")
    began = time.monotonic()
    until_done(calm, draw, 1.0, Counter(), 0)
    calm_s, expected = time.monotonic() - began, content(calm)
    print(f"calm run: {calm_s:.0f} s, {len(expected)} results")
    rounds, wrong = 0, 0
    while kills.total() < options.kills:
        rounds += 1
        for name in ("results", ".snakemake"):
            shutil.rmtree(place / name, ignore_errors=True)
        starts = until_done(place, draw, calm_s / 3, kills, options.kills)
        made = content(place)
        differ = sorted(name for name in expected.keys() | made.keys() if expected.get(name) != made.get(name))
        wrong += bool(differ)
        print(f"round {rounds}: {starts} starts, {kills.total()} signals so far, differs: {differ or 'nothing'}")
    print(", ".join(f"{what} {count}" for what, count in sorted(kills.items())))
    print(f"{kills.total()} signals in {rounds} rounds; {wrong} rounds ended with other bits")
    shutil.rmtree(base)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
