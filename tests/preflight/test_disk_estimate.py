"""The estimate of disk space, against the code that it copies constants from and against runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from avatargen.config.places import ROOT
from avatargen.config.plugins import HEADS, load_class
from avatargen.config.settings import PriorSettings
from avatargen.io import history
from avatargen.method import batch_run, texture_baking
from avatargen.preflight import disk_estimate
from avatargen.preflight.validate import needed_bytes, validate_all
from eval import contact_sheet, gallery, images, page_files

SIZED = """
lists: [embedded]
limit: 2
methods: [full, template, oracle]
overrides: {phase1_steps: 60, phase2_steps: 60}
batch_size: 2
cpus_per_worker: 1
backend: serial
"""


def test_constants_are_those_of_the_code():
    assert texture_baking.SIZE == disk_estimate.BAKED
    assert contact_sheet.CELL == disk_estimate.CELL
    assert len(images.KINDS) == disk_estimate.KINDS
    assert gallery.MAX_PROMPTS == disk_estimate.REPORTED
    assert page_files.HEAD_ROOM == disk_estimate.HEAD_ROOM
    assert batch_run.CHECKPOINT_STEPS == disk_estimate.CHECKPOINT_STEPS
    assert (history.SNAPSHOTS, history.SNAPSHOT_SIZE) == (disk_estimate.SNAPSHOTS, disk_estimate.SNAPSHOT_SIZE)
    for name in ("anny", "anny_coarse", "anny_fine"):
        head = load_class("head", name, HEADS).load()
        assert disk_estimate.VERTICES[name] == head.template(1).offsets.shape[1]


def test_avatars_are_estimated_as_measured(workplace):
    """What the table in the documentation says that each kind of file takes."""
    study = validate_all("embedded")
    text = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")
    header = next(line for line in text.splitlines() if line.startswith("| kB for each avatar"))
    methods = re.findall(r"`(\w+)`", header)[:3]
    assert len(methods) == 3
    for number, method in enumerate(methods):
        parts = disk_estimate.avatar_parts(study.runs[method], study.experiment.evaluation, study.judges.values())
        sizes = {}
        for line in text[text.index(header) :].split("\n\n")[0].splitlines()[2:]:
            name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            sizes[name.strip("`").partition("`")[0]] = 1e3 * float(cells[number].replace(",", "").replace("–", "0"))
        assert parts.keys() & sizes.keys(), method
        for name in parts.keys() & sizes.keys():
            assert abs(parts[name] - sizes[name]) <= 0.2 * sizes["all"], (method, name)
        assert 0.8 <= sum(parts.values()) / sizes["all"] <= 1.2, method


@pytest.mark.slow
def test_the_estimate_is_within_a_fifth_of_what_a_run_uses(workplace):
    """From an empty folder to the report, as the file system counts it."""
    Path("workflow/config").mkdir(parents=True)
    Path("workflow/config/sized.yaml").write_text(SIZED)
    estimate = needed_bytes(validate_all("sized"), Path("results/sized"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "2", "--config"]
    ended = subprocess.run(
        [*command, "experiment=sized"], env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-4000:]
    used = sum(512 * path.stat().st_blocks for path in Path("results/sized").rglob("*"))
    assert 0.8 <= estimate / used <= 1.2, f"{estimate:,} estimated, {used:,} used"
    assert needed_bytes(validate_all("sized"), Path("results/sized")) == 0


def test_an_image_of_an_unknown_prior_counts_as_a_photograph(make_run):
    run = make_run()
    shipped = run.model_copy(update={"prior": PriorSettings(path=disk_estimate.SHIPPED, texture_size=16)})
    assert disk_estimate.look_of(shipped) == disk_estimate.PAINTED
    assert disk_estimate.look_of(run) == disk_estimate.PHOTOGRAPH
    assert disk_estimate.look_of(make_run(source="template")) == disk_estimate.GREY


def test_only_controls_with_true_colours_count_as_painted(make_run):
    looks = [disk_estimate.look_of(make_run(source=name)) for name in ("oracle", "true_texture", "true_shape")]
    assert looks == [disk_estimate.TRUTH, disk_estimate.TRUTH, disk_estimate.GREY]
