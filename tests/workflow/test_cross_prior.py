"""The real workflow with methods crossed with two small priors: one run, one table, one report."""

import json
import re

import pandas as pd
import pytest
import yaml

from avatargen.io.avatar_file import load_avatar
from avatargen.io.history import EVERY
from tests.small_prior import write_pipeline
from tests.workflow.test_end_to_end import EXPERIMENT, run, write_study

METHODS, PRIORS = ("full", "texture_only"), ("small", "large")
RUNS = [f"{method}@{prior}" for method in METHODS for prior in PRIORS]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """The folder of a study of two methods and two priors, beside the template, that has run."""
    folder = tmp_path_factory.mktemp("crossed") / "study"
    write_study(folder)
    priors = yaml.safe_load((folder / "workflow/config/priors.yaml").read_text())
    path = str(write_pipeline(folder / "large", "v_prediction"))
    priors["large"] = {**priors["small"], "path": path, "latent_size": 24, "texture_size": 48}
    (folder / "workflow/config/priors.yaml").write_text(yaml.safe_dump(priors))
    text = EXPERIMENT.replace("[full, template]", "[full, texture_only, template]")
    text = text.replace("phase1_steps: 2", f"phase1_steps: {EVERY}")  # shorter phases are not stored
    (folder / "workflow/config/tiny.yaml").write_text(text.replace("prior: small", "priors: [small, large]"))
    (folder / "output.txt").write_text(run(folder, "--quiet", "host"))
    return folder


def test_each_method_has_avatars_of_each_prior(crossed):
    avatars = {path.parent.parent.parent.name for path in crossed.glob("results/tiny/few/*/avatars/*/avatar.json")}
    assert avatars == {*RUNS, "template"}
    for name in RUNS:
        for folder in crossed.glob(f"results/tiny/few/{name}/avatars/*"):
            avatar = load_avatar(folder)
            assert (avatar.method, avatar.config["prior_name"]) == (name, name.partition("@")[2])
            assert avatar.latent_texture is not None
            assert avatar.latent_texture.shape[-1] == (48 if name.endswith("large") else 32)
    manifest = (crossed / "results/tiny/few/full@large/generate/0000.jsonl").read_text().splitlines()
    assert [(row["method"], row["prior"]) for row in map(json.loads, manifest)] == [("full@large", "large")] * 2


def test_jobs_of_one_prior_begin_after_those_of_another(crossed):
    """When they generate and when they render, so that workers load each prior once."""
    output = (crossed / "output.txt").read_text()
    for stage in ("generate", "render"):
        begun = re.findall(rf"output: results/tiny/few/([^/]+)/{stage}/", output)
        assert sorted(begun) == sorted([*RUNS, "template"])
        assert [name.endswith("@large") for name in begun] == [False] * 3 + [True] * 2, stage


def test_methods_share_phase_1_under_each_prior(crossed):
    """Two prompts and two priors; both methods resume from the same states."""
    assert len([*crossed.glob("results/tiny/few/.phase1/*/checkpoint.safetensors")]) == 4
    done = crossed.glob("results/tiny/few/*/avatars/*/done.json")
    fingerprints = [json.loads(path.read_text())["fingerprint"] for path in done]
    assert len(fingerprints) == len({*fingerprints}) == 10


def test_tables_have_columns_of_method_and_prior(crossed):
    tables = crossed / "results/tiny/tables"
    scores = pd.read_csv(tables / "clip_r.csv", keep_default_na=False)
    runs = {(method, prior) for method in METHODS for prior in PRIORS} | {("template", "")}
    assert set(zip(scores.method, scores.prior, strict=True)) == runs and (scores.n == 2).all()
    for name in ("cost", "diagnosis", "truth", "records", "convergence", "baked_gap"):
        table = pd.read_csv(tables / f"{name}.csv", keep_default_na=False)
        assert set(zip(table.method, table.prior, strict=True)) >= runs - {("template", "")}, name
    texture, geometry = (scores[scores.track == track] for track in ("texture", "geometry"))
    assert geometry.protocol.nunique() == 1 and texture.groupby("prior").protocol.nunique().eq(1).all()
    assert texture.protocol.nunique() == 2  # each prior decodes; the template is shown by the first
    paired = pd.read_csv(tables / "paired.csv", keep_default_na=False)
    assert set(zip(paired.method, paired.prior, paired.baseline, strict=True)) == {
        *(("texture_only", prior, f"full@{prior}") for prior in PRIORS),
        ("template", "", "full@small"),
    }


def test_one_table_tells_agreement_and_style(crossed):
    table = pd.read_csv(crossed / "results/tiny/tables/priors.csv")
    keys = set(zip(table.method, table.prior, table.track, strict=True))
    tracks = ("texture", "geometry")
    assert keys == {(method, prior, track) for method in METHODS for prior in ("all", *PRIORS) for track in tracks}
    assert (table.n == 2).all() and (table.prompts == 2).all() and table.agreement_low.isna().all()
    assert table.same_prompt.between(-1, 1).all() and table.agreement.notna().all()
    assert table.style_share[table.track == "texture"].between(-1, 1).all()
    assert "| full" in (crossed / "results/tiny/tables/priors.md").read_text()


def test_one_report_compares_the_priors(crossed):
    page = (crossed / "results/tiny/report/index.html").read_text()
    assert '<section id="priors">' in page and 'href="#priors"' in page
    sheet = page.partition("The same prompts")[2].partition("Consistency across priors")[0]
    assert sheet.count("<article") == 2 and sheet.count("data:image/webp") == 8
    assert "full@large" in page and "diffusion priors <b>small, large</b>" in page
    assert "full@small" in (crossed / "output.txt").read_text()


def test_another_run_with_one_prior_makes_nothing_twice(crossed):
    stamps = {path: path.stat().st_mtime_ns for path in crossed.glob("results/tiny/few/*/avatars/*/done.json")}
    assert "Nothing to be done" in run(crossed)
    run(crossed, "priors=[small]")
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    tables = crossed / "results/tiny/tables"
    assert set(pd.read_csv(tables / "clip_r.csv", keep_default_na=False).prior) == {"small", ""}
    assert pd.read_csv(tables / "priors.csv").empty
