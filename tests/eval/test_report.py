"""From files on disk to tables, plots and the report."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from avatargen.config.errors import InputError
from avatargen.config.experiment import Experiment, JudgeSettings
from avatargen.config.settings import MethodSettings
from avatargen.io.history import History
from eval.artifacts import write_facts
from eval.collect import collect
from eval.diagnosis import FINDINGS
from eval.embed import Judge
from eval.embeddings import embeddings_path, load_embeddings
from eval.images import KINDS, view_protocol
from eval.plots import write_plots
from eval.records import ProtocolError
from eval.report import ReportInputs, write_report
from eval.tables import read_table, to_latex, write_table

EVIL = "a <script>alert('x')</script> man & \"wife\""
NAMES = {"clip_r", "ranks", "convergence", "truth", "cost"}
TRUTH = {"geometry_mm": 2.0, "geometry_mm_p95": 5.0, "expression_error": 0.5, "colour_error": 0.1}


@pytest.fixture
def experiment() -> Experiment:
    return Experiment(experiment="tiny", lists=("tiny",), methods=("full", "template"), judges=("tiny",))


@pytest.fixture
def judge(clip_folder) -> Judge:
    return Judge.load("tiny", JudgeSettings(model=clip_folder.name), clip_folder.parent)


@pytest.fixture
def rows(make_row, experiment, prior_settings, judge, tmp_path):
    """Four prompts by two methods: `full` matches its captions but for a crash; `template` is constant."""
    prompts = {"a": EVIL, "b": "head b", "c": "head c", "d": "head d"}
    texts = judge.embed_texts(list(prompts.values()))
    protocol = json.dumps(view_protocol(experiment.evaluation, prior_settings))
    made = []
    for method in ("template", "full"):
        for number, (item, prompt) in enumerate(prompts.items()):
            failed = (method, item) == ("full", "d")
            status = {"status": "error", "message": "<b>boom</b>"} if failed else {}
            row = make_row(item, method, prompt=prompt, seconds=2.0, peak_memory_mb=512.0, **status)
            made.append(row)
            folder = tmp_path / row.folder
            distance = {"full": 1.0, "template": 3.0}[method]
            write_facts(
                folder,
                "truth.json",
                "t",
                score={**TRUTH, "geometry_mm": distance, "regions_mm": {"skin": 1.0}},
            )
            if not failed:
                found = {**dict.fromkeys(FINDINGS, 0.0), "masks": None, "flicker": 0.5 if item == "a" else 0.0}
                write_facts(folder, "render.json", "r", diagnosis=found)
                vector = texts[number if method == "full" else 1]
                kinds = {kind: np.tile(vector, (8, 1)) for kind in KINDS}
                write_embeddings(folder, kinds, protocol, write_history(folder, vector) if method == "full" else None)
    return made


def write_embeddings(folder, kinds, protocol, progress=None):
    progress = np.zeros((0, 16), np.float32) if progress is None else progress
    np.savez(embeddings_path(folder, "tiny"), protocol=protocol, fingerprint="e", progress=progress, **kinds)


def write_history(folder, vector):
    """Two entries, and two snapshots: the first one looks like nothing. Returns the embeddings of these."""
    losses = {"distillation": 1.0, "segmentation": float("nan"), "regularisation": float("nan"), "coverage": 0.3}
    image = np.zeros((4, 4, 3), np.uint8)
    History([(10, losses), (20, {**losses, "segmentation": 5.0})], [(10, image), (20, image)]).save(folder)
    return np.stack([0 * vector, vector])


@pytest.fixture
def collected(experiment, prior_settings, rows, judge, tmp_path):
    collect(experiment, prior_settings, rows, {"tiny": judge}, tmp_path, tmp_path / "tables", ["a hard negative"])
    return tmp_path


def test_tables_hold_what_was_made(collected):
    table = pd.read_csv(collected / "tables" / "clip_r.csv").set_index(["method", "track"])
    full, template = table.loc[("full", "texture")], table.loc[("template", "texture")]
    assert list(table.index.get_level_values(0).unique()) == [
        "full",
        "template",
    ]  # as the experiment lists them
    assert (full["n"], full["n_failed"], full["pool"], full["r_at_1"]) == (4, 1, 5, 0.75)
    assert (full["mean_rank"], full["r_at_1_baked"]) == ((1 + 1 + 1 + 5) / 4, 0.75)
    assert (template["r_at_1"], template["chance"]) == (0.25, 0.2)
    assert table.loc[("full", "geometry"), "pool"] == 4
    truth = pd.read_csv(collected / "tables" / "truth.csv").set_index("method")
    assert (truth.loc["full", "n"], truth.loc["full", "geometry_mm_mean"]) == (4, 1.0)
    paired = pd.read_csv(collected / "tables" / "paired.csv").set_index(["judge", "metric", "track"])
    assert paired.loc[("truth", "geometry_mm", "geometry"), "difference"] == 2.0
    assert paired.loc[("truth", "geometry_mm", "geometry"), "p"] == pytest.approx(2 / 2**4)
    hashes = json.loads((collected / "tables" / "protocols.json").read_text())
    assert set(hashes) == set(table["protocol"])
    assert {path.suffix for path in (collected / "tables").glob("clip_r.*")} == {".csv", ".md", ".tex"}


def test_findings_are_counted(collected):
    table = pd.read_csv(collected / "tables" / "diagnosis.csv").set_index("method")
    assert table.loc["full", "n"] == 3 and table.loc["full", "with_findings"] == pytest.approx(1 / 3)
    assert table.loc["template", "flicker"] == pytest.approx(0.125) and np.isnan(table.loc["template", "masks"])
    records = pd.read_csv(collected / "tables" / "diagnosis_records.csv", keep_default_na=False)
    assert records["findings"].tolist().count("flicker") == 2


def test_a_miss_says_what_it_was_taken_for(collected):
    records = read_table(collected / "tables", "records").set_index(["method", "track", "item"])
    assert records.loc[("template", "texture", "a"), "taken_for"] == "head b"
    assert (
        records.loc[("template", "texture", "b"), "taken_for"]
        == records.loc[("full", "texture", "d"), "taken_for"]
        == ""
    )
    assert records.loc[("full", "texture", "a"), "caption"] == EVIL
    assert read_table(collected / "tables", "confusions").empty  # no head of the head world


def test_convergence_is_by_method_measure_and_step(collected):
    table = pd.read_csv(collected / "tables" / "convergence.csv").set_index(["method", "measure", "step"])
    assert set(table.index.get_level_values("method")) == {"full"}
    score = table.loc[("full", "clip_score:tiny")]
    assert score["n"].tolist() == [3, 3] and score["mean"].tolist() == pytest.approx([0, 1], abs=1e-5)
    assert table.loc[("full", "segmentation")].index.tolist() == [20]
    assert table.loc[("full", "coverage", 10), "mean"] == pytest.approx(0.3)
    assert {name for _, name, _ in table.index} == {"clip_score:tiny", "distillation", "segmentation", "coverage"}


def test_a_guide_does_not_judge_what_it_guided(experiment, prior_settings, rows, judge, tmp_path):
    judges = {"tiny": judge, "other": replace(judge, name="other")}
    for row in rows:
        if row.status == "ok":
            shutil.copy(embeddings_path(tmp_path / row.folder, "tiny"), embeddings_path(tmp_path / row.folder, "other"))
    collect(
        experiment, prior_settings, rows, judges, tmp_path, tmp_path / "tables", guides={"template": ["other"]}
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "tables" / "clip_r.csv")
    assert set(zip(table.method, table.judge, strict=True)) == {
        ("full", "tiny"), ("full", "other"), ("template", "tiny")
    }  # fmt: skip


def test_a_guide_is_not_in_the_curves_of_what_it_guided(experiment, prior_settings, rows, judge, tmp_path):
    tables = tmp_path / "tables"
    collect(experiment, prior_settings, rows, {"tiny": judge}, tmp_path, tables, guides={"full": ["tiny"]})
    assert not pd.read_csv(tables / "convergence.csv")["measure"].str.startswith("clip_score").any()


def test_clay_does_not_know_the_prior(collected):
    found = json.loads((collected / "tables" / "protocols.json").read_text()).values()
    assert {facts["track"]: "latents" in facts["views"] for facts in found} == {"texture": True, "geometry": False}


def test_all_missing_embeddings_are_named(experiment, prior_settings, rows, judge, tmp_path):
    for row in rows[:2]:
        embeddings_path(tmp_path / row.folder, "tiny").unlink()
    with pytest.raises(InputError) as caught:
        collect(experiment, prior_settings, rows, {"tiny": judge}, tmp_path, tmp_path / "tables")
    assert len(caught.value.problems) == 2


def test_a_missing_distance_is_not_left_out_in_silence(experiment, prior_settings, rows, judge, tmp_path):
    (tmp_path / rows[0].folder / "truth.json").unlink()
    with pytest.raises(InputError, match="measure it first"):
        collect(experiment, prior_settings, rows, {"tiny": judge}, tmp_path, tmp_path / "tables")


def test_views_of_another_protocol_are_refused(experiment, prior_settings, rows, judge, tmp_path):
    folder = tmp_path / rows[0].folder
    kinds = load_embeddings(folder, "tiny").kinds
    write_embeddings(folder, kinds, '{"views": 3}')
    with pytest.raises(ProtocolError, match="template"):
        collect(experiment, prior_settings, rows, {"tiny": judge}, tmp_path, tmp_path / "tables")


def test_a_broken_render_is_a_failure(experiment, prior_settings, rows, judge, tmp_path):
    folder = tmp_path / rows[0].folder
    embeddings = load_embeddings(folder, "tiny")
    kinds = {kind: np.full_like(value, np.nan) for kind, value in embeddings.kinds.items()}
    write_embeddings(folder, kinds, json.dumps(embeddings.protocol))
    collect(experiment, prior_settings, rows, {"tiny": judge}, tmp_path, tmp_path / "tables")
    table = pd.read_csv(tmp_path / "tables" / "clip_r.csv").set_index(["method", "track"])
    assert (table.loc[("template", "texture"), "n"], table.loc[("template", "texture"), "n_failed"]) == (4, 1)


def test_plots_are_drawn(collected):
    assert set(write_plots(collected / "tables", collected / "plots")) == NAMES
    for name in NAMES:
        assert (collected / "plots" / f"{name}.png").stat().st_size > 5000
        assert "<path" in (collected / "plots" / f"{name}.svg").read_text()
    first = (collected / "plots" / "clip_r.svg").read_bytes()
    write_plots(collected / "tables", collected / "plots")
    assert (collected / "plots" / "clip_r.svg").read_bytes() == first


def test_plots_of_former_tables_are_removed(collected):
    tables, plots = collected / "tables", collected / "plots"
    write_plots(tables, plots)
    pd.read_csv(tables / "truth_records.csv").iloc[:0].to_csv(tables / "truth_records.csv", index=False)
    assert "truth" not in write_plots(tables, plots)
    assert not list(plots.glob("truth.*")) and (plots / "clip_r.png").is_file()


def test_an_id_that_reads_like_a_number_stays_text(tmp_path):
    write_table(pd.DataFrame({"item": ["001", "002"], "rank": [1, 2]}), tmp_path, "records")
    table = read_table(tmp_path, "records")
    assert table["item"].tolist() == ["001", "002"] and table["rank"].sum() == 3


def test_the_report_is_whole_and_escapes_what_comes_from_outside(collected, experiment, prior_settings, rows):
    write_plots(collected / "tables", collected / "plots")
    methods = {"full": MethodSettings(), "template": MethodSettings(source="template")}
    inputs = ReportInputs(
        experiment, rows, methods, prior_settings, collected, collected / "tables", collected / "plots",
        reasons={"full": "everything"}, versions={"torch": "<2>"},
        priors={"full": prior_settings, "template": prior_settings.model_copy(update={"guidance": 6.5})},
    )  # fmt: skip
    page = write_report(collected / "report" / "index.html", inputs).read_text(encoding="utf-8")
    assert "<script>alert" not in page and "<b>boom" not in page and "<2>" not in page
    assert "a &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; man &amp; &#34;wife&#34;" in page
    assert page.count("data:image/svg+xml;base64,") == len(NAMES)
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "Failure signatures" in page and '<span class="soft">flicker</span>' in page
    assert '<span class="soft" title="taken for: head b">texture #5</span>' in page
    assert "everything" in page and "borrowed" in page and "phase1_steps" in page
    assert re.search(r"prior\.guidance</code>.*6\.5", page) and "prior.weighting" not in page
    failed, unasked = '<div class="none">error: &lt;b&gt;boom', '<div class="none blank">not asked for</div>'
    assert failed in page and unasked not in page
    fewer = replace(inputs, rows=[row for row in rows if (row.method, row.item) != ("template", "c")])
    page = write_report(collected / "report" / "fewer.html", fewer).read_text(encoding="utf-8")
    assert failed in page and page.count(unasked) == 1


def test_captions_that_a_judge_does_not_read_whole_are_said(experiment, prior_settings, rows, judge, tmp_path):
    long, tables = "a head of " + "many " * 80 + "words", tmp_path / "tables"
    collect(experiment, prior_settings, rows, {"tiny": judge}, tmp_path, tables, ["short", long])
    found = json.loads((tables / "protocols.json").read_text()).values()
    assert {facts["track"]: facts["truncated"] for facts in found} == {"texture": [long], "geometry": []}
    write_plots(tables, tmp_path / "plots")
    rows = [row.model_copy(update={"truncated_by": ("prior <x>",)}) if row.item == "b" else row for row in rows]
    inputs = ReportInputs(experiment, rows, {}, prior_settings, tmp_path, tables, tmp_path / "plots")
    page = write_report(tmp_path / "report.html", inputs).read_text(encoding="utf-8")
    assert page.count('<p class="truncated">') == 1 and "prior &lt;x&gt; cuts <b>1 of 4</b> prompts, " in page
    assert "judge &#39;tiny&#39; cuts <b>1 of 6</b> captions of the texture pool" in page
    assert page.count('title="its end is not read by prior &lt;x&gt;">prompt truncated</span>') == 2
    assert (
        page.count(f'<li class="truncated" title="its end is not read">{long}</li>') == 1 and "<li>short</li>" in page
    )


def test_tables_escape_for_markdown_and_latex(tmp_path):
    table = pd.DataFrame({"prompt": ["100% | a_b & c", "NA"], "r_at_1": [0.5, np.nan], "n": [3, 4]})
    write_table(table, tmp_path, "odd")
    assert "100% \\| a_b & c" in (tmp_path / "odd.md").read_text()
    latex = (tmp_path / "odd.tex").read_text()
    assert r"100\% | a\_b \& c" in latex and r"r\_at\_1" in latex and "0.500" in latex and "–" in latex
    pd.testing.assert_frame_equal(read_table(tmp_path, "odd"), table)
    assert to_latex(pd.DataFrame({"a": []}), []).startswith("\\begin{tabular}{l}")
