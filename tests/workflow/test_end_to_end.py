"""The real workflow, small: real head, renderer, judge and Ray, an untrained prior; two prompts, few steps.

The study runs once. Each test goes on from a copy of its folder as a user would: run again, add a prompt, kill the run.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

import jsonschema
import numpy as np
import pandas as pd
import pytest
import trimesh
import yaml
from safetensors.torch import load_file, save_file

from avatargen.config.places import ROOT
from avatargen.exchange.gltf_writer import parse
from avatargen.preflight.plan import read_plan
from eval.images import unpacked
from eval.results_file import schema_text
from eval.views import RenderTools
from tests.other_systems import write_headstudio, write_magic3d
from tests.workflow.small_study import EXPERIMENT, none_left_within, run, stamps, start, write_study

COLUMNS = {
    *("method", "judge", "track", "n", "n_failed", "pool", "chance", "r_at_1", "r_at_1_low", "r_at_1_high"),
    *("r_at_5", "mean_rank", "clip_score", "protocol"),
}

pytestmark = pytest.mark.slow


def test_from_prompts_to_report(finished):
    place, output = finished, (finished / "output.txt").read_text()
    assert "generate · full · 2 avatars · " in output and "4 of 4 made" in output
    assert len(output.splitlines()) < 80 and not re.search("reason:|Select jobs|Execute", output)
    table, _, report = output.partition("judge 'mini'")[2].partition("Report: ")
    assert "full" in table and report.splitlines()[0] == "results/tiny/report/index.html"
    tables = place / "results/tiny/tables"
    clip_r = pd.read_csv(tables / "clip_r.csv")
    assert set(clip_r.columns) >= COLUMNS
    assert set(zip(clip_r.method, clip_r.track, strict=True)) == {
        (method, track) for method in ("full", "template") for track in ("texture", "geometry")
    }
    assert (clip_r.n == 2).all() and (clip_r.n_failed == 0).all()
    assert {"method", "baseline", "metric", "difference", "low", "high", "p"} <= set(pd.read_csv(tables / "paired.csv"))
    controls = pd.read_csv(tables / "judge_controls.csv")
    assert controls.empty and "followed_colour" in controls  # one of the two prompts has a ground-truth head
    page = (place / "results/tiny/report/index.html").read_text()
    assert "a young woman &lt;b&gt;&amp; more" in page and "<b>& more" not in page
    content = json.loads((place / "results/tiny/results.json").read_text(), parse_constant=pytest.fail)
    jsonschema.validate(content, json.loads(schema_text()))
    (made,) = [entry for entry in content["optimisation"] if entry["method"] == "full"]
    assert made["n"] == made["batch_size"] == 2 and made["cpu"] and made["torch"]
    assert content["config"]["command"].startswith("snakemake ")
    for folder in place.glob("results/tiny/few/*/avatars/*"):
        for name in (
            "avatar.safetensors",
            "avatar.json",
            "turntable.mp4",
            "sheet.png",
            "views.npz",
            "done.json",
        ):
            assert (folder / name).stat().st_size > 0
        assert not (folder / "checkpoint.safetensors").exists()
    assert none_left_within(place, 30) == []


def test_two_methods_of_a_run_are_compared(place):
    command = [sys.executable, "-m", "avatargen", "compare", "results/tiny:full", "results/tiny:template"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "method.source: optimise → template" in found.stdout and "geometry  CLIP score" in found.stdout
    page = (place / "compare.html").read_text()
    assert page.count('<img src="data:image/webp') == 4 and page.count("<video") == 4


def test_a_second_run_does_nothing(place):
    began = time.monotonic()
    assert "Nothing to be done" in run(place)
    assert time.monotonic() - began < 60  # 2 s where nothing else runs


def test_a_killed_run_resumes_and_makes_what_is_new(place):
    names = ("done.json", "render.json", "embeddings-mini.npz")
    before = {name: stamps(place, name) for name in names}
    with (place / "prompts/few.tsv").open("a") as file:
        file.write("baby\ta baby\t\n")
    process = start(place, "methods=full")
    while len(stamps(place, "work.json")) == 4 and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert none_left_within(place, 60) == []
    output = run(place, "methods=full")
    assert "Removed the lock of a run that was killed here" in output
    for name in names:
        after = stamps(place, name)
        assert len(after) == 5 and all(after[path] == when for path, when in before[name].items())
    assert (pd.read_csv(place / "results/tiny/tables/clip_r.csv").n == 3).all()


def test_diagnostics_of_a_finished_run_measure_and_nothing_else(place):
    names = ("done.json", "render.json", "embeddings-mini.npz")
    before = {name: stamps(place, name) for name in names}
    tables = place / "results/tiny/tables"
    assert not (tables / "measures.csv").exists()
    run(place, "diagnose=robustness")
    assert all(stamps(place, name) == when for name, when in before.items())
    means = pd.read_csv(tables / "measures.csv", keep_default_na=False)
    assert set(means.method) == {"full", "template"} and set(means.judge) == {"mini"}
    assert (means.n == 2).all() and (means.n_missing == 0).all() and means.condition.nunique() == 16
    assert pd.read_csv(tables / "measure_errors.csv").empty
    page = (place / "results/tiny/report/index.html").read_text()
    assert '<section id="diagnostics">' in page and "light above" in page
    content = json.loads((place / "results/tiny/results.json").read_text(), parse_constant=pytest.fail)
    jsonschema.validate(content, json.loads(schema_text()))
    assert len(content["measures"]) == len(means)
    measured = stamps(place, "diagnostics/robustness.json")
    assert len(measured) == 4 and "Nothing to be done" in run(place, "diagnose=robustness")
    next(iter(measured)).unlink()
    run(place, "diagnose=robustness", "evaluation={views: 2, size: 32, samples: 1, turntable_frames: 8}")
    after = stamps(place, "diagnostics/robustness.json")
    assert sum(after[path] == when for path, when in measured.items()) == 3, "the turntable decides no measure"
    run(place)
    assert not list(tables.glob("measure*")) and len(stamps(place, "diagnostics/robustness.json")) == 4


def test_a_run_that_shares_nothing_makes_its_own_avatars(place):
    run(place, "name=other", "share=false")
    rows = [json.loads(line) for path in place.glob("results/other/few/*/generate/*.jsonl") for line in path.open()]
    assert len(rows) == 4 and {row["status"] for row in rows} == {"ok"}
    assert not any(row.get("taken_from") for row in rows)


def test_a_run_in_which_too_many_avatars_failed_ends_with_their_reasons(place):
    """The prior's weights are not numbers."""
    (weights,) = place.glob("prior/model/unet/*.safetensors")
    save_file({name: value * float("nan") for name, value in load_file(weights).items()}, weights)
    priors = place / "workflow/config/priors.yaml"
    settings = yaml.safe_load(priors.read_text())
    priors.write_text(yaml.safe_dump({"small": {**settings["small"], "path": str(place / "prior/model")}}))
    process = start(place, "name=broken")
    output, _ = process.communicate(timeout=500)
    assert process.returncode and "2 of 2 avatars failed; expected at most a fraction of 0.5" in output
    assert "diverged" in output and "max_failed_fraction" in output


def test_one_avatar_is_made_and_shown_under_an_experiment(place):
    """As the experiment has them: two views of 32 pixels, and a film of four frames."""
    command = [sys.executable, "-m", "avatargen", "make", "a man", "--experiment", "tiny", "--out", "mine"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder,) = (place / "mine").glob("*")
    assert unpacked(np.load(folder / "views.npz")["texture"]).shape == (2, 32, 32, 3)
    scene, _ = parse((folder / "avatar.glb").read_bytes())
    assert scene["asset"]["extras"]["prompt"] == "a man"


def test_a_new_ablation_is_one_stanza(place):
    """Here with a head model of its own, too."""
    own = {"head": "anny_coarse", "overrides": {"shading_alpha": 0.1}}
    stanza = {"mine": {"reason": "an ablation of <my> own", **own}}
    (place / "workflow/config/methods.yaml").write_text(yaml.safe_dump(stanza))
    before = stamps(place, "done.json")
    run(place, "methods=[full,mine]")
    after = stamps(place, "done.json")
    assert len(after) == len(before) + 2 and all(after[path] == when for path, when in before.items())
    tables = place / "results/tiny/tables"
    for name in ("clip_r", "paired", "truth_records", "convergence", "diagnosis", "cost"):
        assert "mine" in set(pd.read_csv(tables / f"{name}.csv").method), name
    for path in (place / "results/tiny/plots").glob("*.svg"):
        assert path.stat().st_mtime_ns > max(before.values()), path.name
    page = (place / "results/tiny/report/index.html").read_text()
    assert "an ablation of &lt;my&gt; own" in page and "shading_alpha" in page
    heads = [file.name for file in (place / "results/tiny/report/heads").glob("*.js")]
    assert len([name for name in heads if name.startswith("few-mine-")]) == 2
    assert len([name for name in heads if name.startswith("shared-")]) == 2


def test_wrong_input_stops_before_any_work(tmp_path):
    place = tmp_path / "study"
    write_study(place)
    with (place / "prompts/few.tsv").open("a") as file:
        file.write("old\ta baby\t\n")
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "2", "--config"]
    asked = [*command, "experiment=tiny", "method=[full]", "prior=mni"]
    found = subprocess.run(asked, cwd=place, capture_output=True, text=True)
    assert found.returncode != 0 and "unknown key 'method'; did you mean 'methods'?" in found.stderr
    asked[-2:] = ["methods=[ful]", "prior=mni"]
    found = subprocess.run(asked, cwd=place, capture_output=True, text=True)
    assert found.returncode != 0
    for part in ("few.tsv:4: duplicate id 'old'", "did you mean 'full'?", "did you mean 'mini'?"):
        assert part in found.stderr


def test_the_example_of_two_other_systems_runs(place):
    """Its table has a mesh and a turn of views beside ours; views are scored in colour alone, and there as ours are."""
    ours = sorted(place.glob("results/tiny/few/template/avatars/*"))
    study = read_plan(str(place / "results/tiny/plan.json"))
    tools = RenderTools.load("anny", "warp", study.prior_of("template"), place)
    write_magic3d(place / "theirs/magic3d", ours)
    write_headstudio(place / "theirs/headstudio", ours, tools, study.experiment.evaluation, views=9)
    example = (ROOT / "docs/other-systems.md").read_text().split("```yaml\n")[1].partition("```")[0]
    (place / "workflow/config/methods.yaml").write_text(example)
    with (place / "prompts/few.tsv").open("a") as file:
        file.write("none\ta man\t\n")
    asked = ("methods=[template,magic3d,headstudio]", "diagnose=robustness")
    process = start(place, *asked)
    output = process.communicate(timeout=100)[0]
    assert process.returncode and output.count("map.csv: no row for none; expected one for each item") == 2
    with (place / "theirs/magic3d/map.csv").open("a") as file:
        file.write("none.ply,a man\n")
    (place / "theirs/magic3d/none.ply").touch()  # both systems failed
    with (place / "theirs/headstudio/map.csv").open("a") as file:
        file.write("none,a man\n")
    (place / "theirs/headstudio/none").mkdir()
    assert "headstudio: frames: rendered views have no mesh" in run(place, *asked)
    tables = place / "results/tiny/tables"
    clip_r = pd.read_csv(tables / "clip_r.csv").set_index(["method", "track"])
    assert set(clip_r.loc["headstudio"].index) == {"texture"}
    assert set(clip_r.loc["magic3d"].index) == {"texture", "geometry"}
    assert (clip_r.n == 3).all() and (clip_r.loc[["magic3d", "headstudio"]].n_failed == 1).all()
    records = pd.read_csv(tables / "records.csv").query("item != 'none' and track == 'texture'")
    colour = records.set_index(["method", "item"]).sort_index()[["rank_baked", "view_hits_baked", "clip_score_baked"]]
    assert np.allclose(colour.loc["headstudio"], colour.loc["template"], atol=1e-5)
    failures = pd.read_csv(tables / "failures.csv")
    assert set(failures.item) == {"none"} and failures.message.str.contains("stands for a failure").all()
    assert set(pd.read_csv(tables / "measures.csv").method) == {"template", "magic3d"}
    page = (place / "results/tiny/report/index.html").read_text()
    assert page.count("since rendered views have no surface: headstudio.") == 1


def test_meshes_of_another_system_are_scored_too(place):
    (place / "theirs").mkdir()
    two = (trimesh.creation.icosphere(subdivisions=2), trimesh.creation.box().apply_translation((2, 0, 0)))
    trimesh.Scene(two).export(place / "theirs/old.glb")
    (place / "theirs/girl.ply").touch()  # their system failed at these two
    (place / "theirs/boy.ply").touch()
    overrides = {"source": "imported", "meshes": {"folder": str(place / "theirs")}}
    stanza = {"theirs": {"reason": "another system's", "overrides": overrides}}
    (place / "workflow/config/methods.yaml").write_text(yaml.safe_dump(stanza))
    (place / "workflow/config/others.yaml").write_text(EXPERIMENT.replace("[few]", "[four]"))
    heads = "".join(f"{name}\ta {name}\t\n" for name in ("old", "girl", "boy", "baby"))  # three with a true head
    (place / "prompts/four.tsv").write_text(f"id\tprompt\ttags\n{heads}")
    changes = ("experiment=others", "methods=[theirs,template]")
    process = start(place, *changes)
    assert "no mesh for baby" in process.communicate(timeout=100)[0] and process.returncode
    trimesh.creation.box().export(place / "theirs/baby.obj")
    run(place, *changes)
    tables = place / "results/others/tables"
    clip_r = pd.read_csv(tables / "clip_r.csv").set_index("method")
    assert (clip_r.n == 4).all()
    assert (clip_r.n_failed["theirs"] == 2).all() and (clip_r.n_failed["template"] == 0).all()
    failures = pd.read_csv(tables / "failures.csv")
    assert set(failures.item) == {"girl", "boy"} and failures.message.str.contains("stands for a failure").all()
    assert pd.read_csv(tables / "truth.csv").method.tolist() == ["template"]
    assert "theirs" in (place / "results/others/report/index.html").read_text()
