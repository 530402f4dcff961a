"""A run goes on whatever ended the one before, and makes just what is missing: the audit, and the real workflow."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avatargen.config.places import ROOT
from avatargen.runtime import launch
from avatargen.runtime.audit import Lacking, stale_manifests
from avatargen.runtime.job_inputs import inputs_changed, noting_inputs
from eval.on_disk import lacking_embeddings, lacking_measures, lacking_render
from tests.small_clip import write_clip
from tests.workflow.small_study import none_left_within, run, stamps, start

pytestmark = pytest.mark.slow

LACKING = Lacking(lacking_render, lacking_embeddings, lacking_measures)
RESULTS = "results/tiny"
STAGES = ("generate", "render", "embed", "collect", "plots", "report")
OUTPUTS = {
    **{stage: f"few/full/{stage}/0000.jsonl" for stage in STAGES[:3]},
    "collect": "tables/clip_r.csv",
    "plots": "plots/clip_r.svg",
    "report": "report/index.html",
}


def audit(monkeypatch, place, **changes):
    """Return (stage of full's manifest, damage) of everything that is stale."""
    monkeypatch.chdir(place)
    study = launch.study_of({"experiment": "tiny", "name": "tiny", **changes}, check_disk=False)
    stale = stale_manifests(study, RESULTS, LACKING)
    return [(manifest.removeprefix(f"{RESULTS}/few/").split("/")[:2], damage) for manifest, damage in stale]


def folder_of(place, method="full", number=0):
    return sorted((place / RESULTS / "few" / method / "avatars").glob("*-*"))[number]


def planned(place, *changes, options=()):
    """Return the rules that a dry run plans, with the number of jobs."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "2", "-n", *options]
    asked = [*command, "--config", "experiment=tiny", "name=tiny", *changes]
    found = subprocess.run(asked, cwd=place, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    rows = re.findall(r"^(\w+) +(\d+)$", found.stdout + found.stderr, re.MULTILINE)
    return {name: int(count) for name, count in rows if name not in ("total", "all")}


DAMAGE = {
    "a lost folder": ("generate", lambda folder: shutil.rmtree(folder)),
    "a lost avatar": ("generate", lambda folder: (folder / "avatar.safetensors").unlink()),
    "a cut avatar": ("generate", lambda folder: cut(folder / "avatar.safetensors")),
    "a cut texture": ("generate", lambda folder: cut(folder / "texture.png")),
    "a lost history": ("generate", lambda folder: (folder / "history.npz").unlink()),
    "an empty note": ("generate", lambda folder: (folder / "done.json").write_text("")),
    "lost views": ("render", lambda folder: (folder / "views.npz").unlink()),
    "a cut sheet": ("render", lambda folder: cut(folder / "sheet.png")),
    "an empty film": ("render", lambda folder: (folder / "turntable.mp4").write_bytes(b"")),
    "lost distances": ("render", lambda folder: (folder / "truth.json").unlink()),
    "cut embeddings": ("embed", lambda folder: cut(folder / "embeddings-mini.npz")),
}


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def test_a_finished_run_passes_the_audit(place, monkeypatch):
    assert audit(monkeypatch, place) == []


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(place, monkeypatch, damage):
    stage, do = DAMAGE[damage]
    folder = folder_of(place)
    do(folder)
    ((found, text),) = audit(monkeypatch, place)
    assert found == ["full", stage] and text.startswith(folder.name), (found, text)


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({"seeds": "1"}, "generate"),
        ({"overrides": {"phase1_steps": 3, "phase2_steps": 2, "mask_views": 1}}, "generate"),
        ({"evaluation": {"views": 3, "size": 32, "samples": 1}}, "render"),
        ({"judges": "guide"}, "embed"),
    ],
)
def test_what_is_asked_otherwise_is_found(place, monkeypatch, changes, stage):
    """Whatever Snakemake noted: after ``--touch`` it holds that all is current."""
    found = audit(monkeypatch, place, **changes)
    assert ["full", stage] in [one for one, _ in found] and not any(text for _, text in found)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_failed_runs_again(place, stage):
    """A failing job loses its outputs, whatever later stages have; without a change nothing else runs but what follows.

    Snakemake alone takes an intermediate output that is missing for one that nobody needs.
    """
    (place / RESULTS / OUTPUTS[stage]).unlink()
    earlier, followers = STAGES[: STAGES.index(stage)], STAGES[STAGES.index(stage) :]
    plan = planned(place)
    assert set(followers) - {"plots"} <= set(plan) if stage != "plots" else "plots" in plan
    assert not {*earlier} & {*plan} and {plan[name] for name in {*followers} & {*plan}} == {1}


def test_what_the_user_forces_runs_beside_what_is_lost(place):
    """As the documentation advises for avatars that ended in an error."""
    (place / RESULTS / OUTPUTS["embed"]).unlink()
    plan = planned(place, options=("--forcerun", "generate"))
    assert plan["generate"] == 2 and plan["embed"] == 2


def test_other_weights_of_a_judge_score_again(place):
    """Images, captions and controls: embeddings of two models do not compare."""
    folder = write_clip(place / "judge", seed=0)
    (place / "workflow/config/judges.yaml").write_text(f"own: {{model: {folder}, reason: a small judge}}\n")
    run(place, "judges=[own]")
    assert planned(place, "judges=[own]") == {}
    write_clip(folder, seed=1)
    plan = planned(place, "judges=[own]")
    assert {"embed", "embed_captions", "judge_controls", "collect"} <= {*plan} and not {"generate", "render"} & {*plan}
    assert plan["embed"] == 2


@pytest.mark.parametrize("stage", ["generate", "render", "embed"])
def test_a_stage_that_failed_after_a_change_runs_again(place, stage):
    """Its manifest is gone, and those of later stages are of the earlier settings."""
    change = "evaluation={views: 3, size: 32, samples: 1, turntable_frames: 4, turntable_size: 64}"
    (place / RESULTS / OUTPUTS[stage]).unlink()
    plan = planned(place, change)
    assert plan["render"] == plan["embed"] == 2 and plan["collect"] == plan["report"] == 1


def test_content_decides_and_not_time(place):
    """Inputs get newer than outputs, as in a careless copy; then a manifest changes, with a time in the past."""
    now = time.time()
    for age, path in enumerate((place / RESULTS / OUTPUTS[stage] for stage in STAGES), 1):
        os.utime(path, (now - age, now - age))
    assert planned(place) == {}
    manifest = place / RESULTS / OUTPUTS["embed"]
    manifest.write_text(manifest.read_text() + "\n")
    os.utime(manifest, (now - 10, now - 10))
    assert set(planned(place)) == {"collect", "plots", "report"}


def test_only_what_is_lost_is_made_again_and_alike(place):
    lost, damaged = folder_of(place), folder_of(place, number=1)
    before, files = stamps(place, "done.json"), ("avatar.safetensors", "views.npz", "sheet.png")
    content = {name: (lost / name).read_bytes() for name in files}
    shutil.rmtree(lost), cut(damaged / "sheet.png")
    output = run(place)
    assert f"{lost.name}: the avatar is missing or damaged" in output
    after = stamps(place, "done.json")
    assert {path for path in before if before[path] != after[path]} == {lost / "done.json"}
    assert {name: (lost / name).read_bytes() for name in files} == content
    assert (damaged / "sheet.png").read_bytes()[-8:-4] == b"IEND"
    assert "Nothing to be done" in run(place)


def test_touch_is_refused(place):
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1", "--touch"]
    asked = [*command, "--forceall", "--config", "experiment=tiny"]
    found = subprocess.run(asked, cwd=place, capture_output=True, text=True)
    assert found.returncode and "got --touch; expected a run without it" in found.stderr + found.stdout


def test_sigterm_ends_a_run_and_the_same_command_goes_on(place):
    """While it lives, a second run of the experiment is refused by name."""
    with (place / "prompts/few.tsv").open("a") as file:
        file.write("baby\ta baby\t\n")
    process = start(place)
    while len(stamps(place, "work.json")) == 4 and process.poll() is None:
        time.sleep(0.05)
    second = start(place)
    refused = second.communicate(timeout=100)[0]
    assert second.returncode and f"is being run in this folder already: process {process.pid}" in refused
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert none_left_within(place, 20) == []
    assert not list(place.glob(".snakemake/locks/*"))
    run(place)
    assert len(stamps(place, "done.json")) == 6


def test_jobs_note_the_content_that_they_read(workplace):
    Path("in.csv").write_text("1")
    with noting_inputs("out.csv", ["in.csv"]):
        Path("out.csv").write_text("1")
    assert not inputs_changed("out.csv", ["in.csv"])
    assert inputs_changed("out.csv", ["in.csv", "out.csv"]), "other inputs"
    Path("in.csv").write_text("2")
    assert inputs_changed("out.csv", ["in.csv"])
    with pytest.raises(ValueError, match="fails"), noting_inputs("out.csv", ["in.csv"]):
        raise ValueError("fails")
    assert inputs_changed("out.csv", ["in.csv"])
    Path("out.csv").unlink()
    assert not inputs_changed("out.csv", ["in.csv"]), "Snakemake sees that it is missing"
