"""From files on disk to tables."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from avatargen.config.errors import InputError
from eval.collect import collect
from eval.embed_captions import embed_captions
from eval.embeddings import embeddings_path, load_embeddings
from eval.plots import plot_ranks
from eval.pools import build_pools, in_method_order
from eval.records import ProtocolError
from eval.summaries import baked_gap, truth_regions
from eval.tables import read_table
from tests.eval.conftest import EVIL, write_embeddings


def test_clip_r_counts_hits_and_failures(tables):
    table = pd.read_csv(tables / "clip_r.csv").set_index(["method", "track"])
    full, template = table.loc[("full", "texture")], table.loc[("template", "texture")]
    assert list(table.index.get_level_values(0).unique()) == ["full", "template"]
    assert (full["n"], full["n_failed"], full["pool"], full["r_at_1"]) == (4, 1, 5, 0.75)
    assert (full["mean_rank"], full["r_at_1_baked"]) == ((1 + 1 + 1 + 5) / 4, 0.75)
    assert (template["r_at_1"], template["chance"]) == (0.25, 0.2)
    assert table.loc[("full", "geometry"), "pool"] == 4
    assert set(json.loads((tables / "protocols.json").read_text())) == set(table["protocol"])
    assert {path.suffix for path in tables.glob("clip_r.*")} == {".csv", ".md", ".tex"}


def test_regions_are_averaged_in_each_subset():
    avatars = [("full", "all 1x1", 1.0, 8.0), ("full", "all", 3.0, 2.0), ("bare", "1x1", 7.0, 0.0)]
    table = truth_regions(pd.DataFrame(avatars, columns=["method", "subset", "mm_face", "mm_neck"]))
    expected = [["full", "all", 2.0, 5.0], ["full", "1x1", 1.0, 8.0], ["bare", "1x1", 7.0, 0.0]]
    assert table.values.tolist() == expected and list(table.columns) == ["method", "subset", "mm_face", "mm_neck"]


def test_the_gap_is_what_the_export_loses(tables):
    table = read_table(tables, "clip_r")
    changed = table.assign(r_at_1=0.75, r_at_1_baked=0.5, clip_score=0.25, clip_score_baked=0.375)
    gap = baked_gap(changed)
    assert {*gap["track"]} == {"texture"} and {*gap["r_at_1_gap"]} == {0.25} and {*gap["clip_score_gap"]} == {-0.125}
    assert len(gap) == (table["track"] != "geometry").sum() == 2


def test_distances_are_averaged_and_paired(tables):
    truth = pd.read_csv(tables / "truth.csv").set_index("method")
    assert (truth.loc["full", "n"], truth.loc["full", "geometry_mm_mean"]) == (4, 1.0)
    paired = pd.read_csv(tables / "paired.csv").set_index(["judge", "metric", "track"])
    assert paired.loc[("truth", "geometry_mm", "geometry"), "difference"] == 2.0
    assert paired.loc[("truth", "geometry_mm", "geometry"), "p"] == pytest.approx(2 / 2**4)


def test_findings_are_counted(tables):
    table = pd.read_csv(tables / "diagnosis.csv").set_index("method")
    assert table.loc["full", "n"] == 3 and table.loc["full", "with_findings"] == pytest.approx(1 / 3)
    assert table.loc["template", "flicker"] == pytest.approx(0.125) and np.isnan(table.loc["template", "masks"])
    records = pd.read_csv(tables / "diagnosis_records.csv", keep_default_na=False)
    assert records["findings"].tolist().count("flicker") == 2


def test_a_confusion_names_the_caption_it_was_taken_for(tables):
    records = read_table(tables, "records").set_index(["method", "track", "item"])
    assert records.loc[("template", "texture", "a"), "taken_for"] == "head b"
    hit, failed = ("template", "texture", "b"), ("full", "texture", "d")
    assert records.loc[hit, "taken_for"] == records.loc[failed, "taken_for"] == ""
    assert records.loc[("full", "texture", "a"), "caption"] == EVIL
    assert read_table(tables, "confusions").empty  # no caption is of the head world


def test_convergence_is_by_method_measure_and_step(tables):
    table = pd.read_csv(tables / "convergence.csv").set_index(["method", "measure", "step"]).sort_index()
    assert set(table.index.get_level_values("method")) == {"full"}
    score = table.loc[("full", "clip_score:tiny")]
    assert score["n"].tolist() == [3, 3] and score["mean"].tolist() == pytest.approx([0, 1], abs=1e-5)
    assert table.loc[("full", "segmentation")].index.tolist() == [20]
    assert table.loc[("full", "coverage", 10), "mean"] == pytest.approx(0.3)
    assert {name for _, name, _ in table.index} == {"clip_score:tiny", "distillation", "segmentation", "coverage"}


def test_geometry_protocols_leave_out_the_prior(tables):
    found = json.loads((tables / "protocols.json").read_text()).values()
    assert {facts["track"]: "latents" in facts["views"] for facts in found} == {"texture": True, "geometry": False}


def test_protocols_name_truncated_captions(run_collect):
    long = "a head of " + "many " * 80 + "words"
    found = json.loads((run_collect(negatives=["short", long]) / "protocols.json").read_text()).values()
    assert {facts["track"]: facts["truncated"] for facts in found} == {"texture": [long], "geometry": []}


def test_a_guide_does_not_judge_its_method(run_collect, judge, rows, tmp_path):
    for row in rows:
        if row.status == "ok":
            shutil.copy(embeddings_path(tmp_path / row.folder, "tiny"), embeddings_path(tmp_path / row.folder, "other"))
    tables = run_collect([judge, replace(judge, name="other")], guides={"template": ["other"]})
    found = pd.read_csv(tables / "clip_r.csv")
    judged = {("full", "tiny"), ("full", "other"), ("template", "tiny")}
    assert set(zip(found.method, found.judge, strict=True)) == judged


def test_avatars_without_a_surface_have_no_geometry(run_collect, rows):
    """Not even as failures, of which `full` has one; where a subset has no others, its plot has an empty panel."""
    tables = run_collect(flat={"full"})
    records = read_table(tables, "records")
    tracks = records.groupby("method")["track"].agg(set).to_dict()
    assert tracks == {"full": {"texture"}, "template": {"texture", "geometry"}}
    assert pd.read_csv(tables / "clip_r.csv").set_index(["method", "track"]).n_failed["full", "texture"] == 1
    records.loc[records["method"] == "full", "subset"] = "alone"
    panels = plot_ranks(records, ["full", "template"]).axes
    assert [bool(panel.lines) for panel in panels] == [True, False, True, True]


def test_records_are_grouped_by_judge(run_collect, judge, rows, tmp_path):
    """Groups of the tables are in the order of the records."""
    for row in rows:
        if row.status == "ok":
            shutil.copy(embeddings_path(tmp_path / row.folder, "tiny"), embeddings_path(tmp_path / row.folder, "other"))
    records = pd.read_csv(run_collect([judge, replace(judge, name="other")]) / "records.csv")
    assert records["judge"].tolist() == ["tiny"] * 16 + ["other"] * 16
    assert records["track"].tolist() == ["texture", "geometry"] * 16


def test_a_guide_has_no_curve_of_its_method(run_collect):
    tables = run_collect(guides={"full": ["tiny"]})
    assert not pd.read_csv(tables / "convergence.csv")["measure"].str.startswith("clip_score").any()


def test_all_missing_embeddings_are_reported(run_collect, rows, tmp_path):
    for row in rows[:2]:
        embeddings_path(tmp_path / row.folder, "tiny").unlink()
    with pytest.raises(InputError) as caught:
        run_collect()
    assert len(caught.value.problems) == 2


def test_a_missing_distance_is_an_error(run_collect, rows, tmp_path):
    (tmp_path / rows[0].folder / "truth.json").unlink()
    with pytest.raises(InputError, match="measure it first"):
        run_collect()


def test_views_of_another_protocol_are_refused(run_collect, rows, tmp_path):
    folder = tmp_path / rows[-1].folder
    write_embeddings(folder, load_embeddings(folder, "tiny").kinds, '{"views": 3}')
    with pytest.raises(ProtocolError, match="template"):
        run_collect()


@pytest.mark.parametrize("broken", [("texture", "baked", "geometry"), ("baked",), ("texture",)])
def test_a_broken_render_is_a_failure(run_collect, rows, tmp_path, broken):
    folder = tmp_path / rows[-1].folder
    embeddings = load_embeddings(folder, "tiny")
    kinds = {kind: np.full_like(value, np.nan) if kind in broken else value for kind, value in embeddings.kinds.items()}
    write_embeddings(folder, kinds, json.dumps(embeddings.protocol))
    tables = run_collect()
    table = pd.read_csv(tables / "clip_r.csv").set_index(["method", "track"])
    assert (table.loc[("template", "texture"), "n"], table.loc[("template", "texture"), "n_failed"]) == (4, 1)
    records = pd.read_csv(tables / "records.csv")
    lost = records[(records["method"] == "template") & (records["item"] == rows[-1].item)]
    assert (lost[["rank", "rank_baked"]].min(axis=1) == lost["pool_size"]).all()  # in no kind of image is it found
    failures = pd.read_csv(tables / "failures.csv").set_index("method")
    assert failures.loc["template", "status"] == "not_finite" and "tiny" in failures.loc["template", "message"]
    costs = pd.read_csv(tables / "cost.csv").set_index("method")
    assert costs.loc["template", "n_failed"] == 1


def test_methods_come_in_the_order_of_the_experiment(make_row):
    rows = [make_row(item, method) for method in ("template", "full") for item in "ba"]
    ordered = in_method_order(rows, ["full", "template"])
    assert [(row.method, row.item) for row in ordered] == [
        ("full", "b"),
        ("full", "a"),
        ("template", "b"),
        ("template", "a"),
    ]


def test_embeddings_of_other_captions_are_refused(experiment, prior_settings, rows, judge, tmp_path):
    captions = embed_captions(judge, build_pools(rows), [row.prompt for row in rows])
    other, priors = build_pools(rows, ["one more"]), {row.method: prior_settings for row in rows}
    with pytest.raises(InputError, match=r"judge 'tiny': got embeddings of other captions .*texture pool"):
        collect(experiment, priors, rows, other, {"tiny": captions}, tmp_path, tmp_path / "tables")
    fewer = replace(captions, prompts={EVIL: captions.prompts[EVIL]})
    with pytest.raises(InputError, match="prompt 'head b'"):
        fewer.check("tiny", build_pools(rows), ["head b"])
