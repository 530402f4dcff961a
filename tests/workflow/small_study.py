"""A small study for the real workflow: real head, renderer, judge and Ray, an untrained prior; two prompts."""

import os
import subprocess
import sys
import time

import psutil
import yaml

from avatargen.config.places import ROOT
from tests.small_prior import write_pipeline

EXPERIMENT = """
lists: [few]
methods: [full, template]
prior: small
overrides: {phase1_steps: 2, phase2_steps: 2, mask_views: 1}
batch_size: 2
cpus_per_worker: 1
evaluation: {views: 2, size: 32, samples: 1, turntable_frames: 4, turntable_size: 64}
"""


def write_study(folder):
    """Write the experiment, its prior and its prompts."""
    config = folder / "workflow/config"
    config.mkdir(parents=True)
    (config / "tiny.yaml").write_text(EXPERIMENT)
    prior = {"path": str(write_pipeline(folder / "prior", "epsilon")), "latent_size": 16, "texture_size": 32}
    (config / "priors.yaml").write_text(yaml.safe_dump({"small": {**prior, "guidance": 5, "samples": 1}}))
    (folder / "prompts").mkdir()
    (folder / "prompts/few.tsv").write_text(
        "id\tprompt\ttags\nold\tan old man with a white beard\t\ngirl\ta young woman <b>& more</b>\t\n"
    )


def start(place, *changes):
    """Start a run. Its results go to ``results/tiny``, also where it shows less than the report that is there."""
    named = [] if any(change.startswith("experiment=") for change in changes) else ["name=tiny"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AVATARGEN_"))}
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "2"]
    return subprocess.Popen(
        [*command, "--config", "experiment=tiny", *named, *changes],
        cwd=place,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(place, *changes):
    process = start(place, *changes)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output[-6000:]
    return output


def stamps(place, name):
    """Return when each file with this name was last written."""
    return {path: path.stat().st_mtime_ns for path in place.glob(f"results/tiny/few/*/avatars/*/{name}")}


def left_behind(place):
    """Return the processes of a run in this folder: it is their working directory, or their environment names it."""
    found = []
    for process in psutil.process_iter():
        try:
            here = process.cwd() == str(place) or process.environ().get("AVATARGEN_BOARD", "").startswith(str(place))
        except psutil.Error:
            continue
        if here and process.pid != os.getpid():
            found.append(process.cmdline())
    return found


def none_left_within(place, seconds):
    end = time.monotonic() + seconds
    while left_behind(place) and time.monotonic() < end:
        time.sleep(0.5)
    return left_behind(place)
