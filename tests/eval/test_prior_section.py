"""Tables, plots and report of methods that are crossed with priors, from files on disk."""

import json

import numpy as np
import pandas as pd
import pytest

from avatargen.config.experiment import Experiment
from avatargen.config.settings import MethodSettings
from eval.artifacts import TRUTH_FACTS, write_facts
from eval.collect import collect
from eval.embed_captions import embed_captions
from eval.embeddings import load_embeddings
from eval.images import KINDS, view_protocol
from eval.judge_controls import to_frame
from eval.judge_section import TABLE
from eval.plot_style import PALETTE, colour_of, line_style
from eval.plots import write_plots
from eval.pools import build_pools
from eval.prior_section import prior_section
from eval.records import ProtocolError
from eval.report import ReportInputs, write_report
from eval.tables import read_table, write_table
from tests.eval.conftest import TRUTH, write_embeddings, write_history

RUNS = ("full@one", "full@two", "no_shading_cue@one", "no_shading_cue@two", "template")
PROMPTS = {item: f"head {item}" for item in "abcd"}


@pytest.fixture
def crossed() -> Experiment:
    methods = ("full", "no_shading_cue", "template")
    return Experiment(experiment="tiny", lists=("tiny",), methods=methods, judges=("tiny",), priors=("one", "two"))


@pytest.fixture
def priors(prior_settings):
    """Two priors of different sizes."""
    return {"one": prior_settings, "two": prior_settings.model_copy(update={"latent_size": 32, "guidance": 50.0})}


@pytest.fixture
def crossed_rows(make_row, crossed, priors, judge, tmp_path):
    """Avatars that match their captions; those of prior `two` lean to one side; one of `full@two` failed."""
    vectors = dict(zip(PROMPTS, judge.embed_texts(list(PROMPTS.values())), strict=True))
    side = judge.embed_texts(["another style"])[0]
    rows = []
    for run in RUNS:
        prior = run.partition("@")[2]
        protocol = json.dumps(view_protocol(crossed.evaluation, priors[prior or "one"], crossed.head, crossed.renderer))
        for item, prompt in PROMPTS.items():
            failed = {"status": "diverged"} if (run, item) == ("full@two", "d") else {}
            row = make_row(item, run, prompt=prompt, prior=prior, seconds=len(rows), peak_memory_mb=512.0, **failed)
            rows.append(row)
            folder = tmp_path / row.folder
            distance = 2.0 if run.startswith("no_shading_cue") else 1.0
            score = {**TRUTH, "geometry_mm": distance, "regions_mm": {"skin": 1.0}}
            write_facts(folder, TRUTH_FACTS, "t", score=score)
            if failed:
                continue
            vector = vectors["a" if run == "template" else item] + (0.4 * side if prior == "two" else 0)
            vector = vector / np.linalg.norm(vector)
            progress = write_history(folder, vector) if prior else None
            write_embeddings(folder, {kind: np.tile(vector, (8, 1)) for kind in KINDS}, protocol, progress)
            pictures = np.full((8, 16, 16, 3), 90, np.uint8)
            np.savez(folder / "views.npz", texture=pictures, geometry=pictures)
    return rows


@pytest.fixture
def gather(crossed, priors, crossed_rows, judge, tmp_path):
    """A function that collects the tables; returns their folder."""

    def run(experiment=crossed, rows=crossed_rows):
        pools = build_pools(rows)
        captions = {"tiny": embed_captions(judge, pools, [row.prompt for row in rows])}
        shown = {name: priors[name.partition("@")[2] or "one"] for name in (*RUNS, "full")}
        collect(experiment, shown, rows, pools, captions, tmp_path, tmp_path / "tables")
        write_table(to_frame([]), tmp_path / "tables", TABLE)
        return tmp_path / "tables"

    return run


@pytest.fixture
def page(gather, crossed, priors, crossed_rows, tmp_path):
    tables = gather()
    write_plots(tables, tmp_path / "plots")
    settings = {name: MethodSettings() for name in RUNS[:2]}
    settings |= {name: MethodSettings(shading_alpha=0) for name in RUNS[2:4]}
    inputs = ReportInputs(
        experiment=crossed,
        rows=crossed_rows,
        methods=settings | {"template": MethodSettings(source="template")},
        priors=priors,
        run_priors={name: priors[name.partition("@")[2] or "one"] for name in RUNS},
        root=tmp_path,
        tables=tables,
        plots=tmp_path / "plots",
        reasons={"full": "everything"},
    )
    return write_report(tmp_path / "report/index.html", inputs).read_text(encoding="utf-8")


def test_tables_tell_method_and_prior_apart(gather):
    tables = gather()
    scores = pd.read_csv(tables / "clip_r.csv", keep_default_na=False)
    assert list(scores.columns[:3]) == ["method", "prior", "judge"]
    found = set(zip(scores.method, scores.prior, strict=True))
    assert found == {(run.partition("@")[0], run.partition("@")[2]) for run in RUNS}
    assert set(read_table(tables, "clip_r")["method"]) == set(RUNS)
    assert list(read_table(tables, "cost")["method"]) == list(RUNS)
    assert "| full" in (tables / "clip_r.md").read_text() and "full@" not in (tables / "clip_r.md").read_text()
    failures = pd.read_csv(tables / "failures.csv")
    assert failures[["method", "prior", "item"]].values.tolist() == [["full", "two", "d"]]


def test_methods_are_compared_under_the_same_prior(gather):
    tables = gather()
    paired = read_table(tables, "paired")
    assert dict(zip(paired["method"], paired["baseline"], strict=True)) == {
        "no_shading_cue@one": "full@one",
        "no_shading_cue@two": "full@two",
        "template": "full@one",
    }
    claims = pd.read_csv(tables / "claims.csv")
    assert set(zip(claims.method, claims.prior, strict=True)) == {("no_shading_cue", "one"), ("no_shading_cue", "two")}
    distance = claims[claims.metric == "geometry_mm"]
    assert (distance.difference == 1.0).all() and distance.prior.tolist() == ["one", "two"]


def test_consistency_counts_whole_prompts_and_sees_the_style(gather):
    table = pd.read_csv(gather() / "priors.csv").set_index(["method", "track", "prior"])
    assert table.loc[("full", "texture", "all"), ["n", "prompts"]].tolist() == [3, 4]
    assert table.loc[("no_shading_cue", "texture", "all"), ["n", "prompts"]].tolist() == [4, 4]
    share = table.loc[("no_shading_cue", "geometry", "all"), "style_share"]
    assert share > 0.5 and table.loc[("no_shading_cue", "geometry", "one"), "style_share"] == pytest.approx(share)
    assert (table["agreement"] > 0).all()


def test_each_decoder_has_a_protocol_and_no_more(gather, crossed_rows, tmp_path):
    tables = gather()
    facts = json.loads((tables / "protocols.json").read_text()).values()
    assert sorted((fact["track"], tuple(fact.get("priors", ()))) for fact in facts) == [
        ("geometry", ()),
        ("texture", ("one",)),
        ("texture", ("two",)),
    ]
    row = next(row for row in crossed_rows if row.method == "full@two")
    kinds = load_embeddings(tmp_path / row.folder, "tiny").kinds
    write_embeddings(tmp_path / row.folder, kinds, '{"views": 8}')
    with pytest.raises(ProtocolError, match="scores of 2 protocols"):
        gather()


def test_tables_of_several_priors_go_with_them(gather, crossed, crossed_rows):
    tables = gather()
    assert (tables / "priors.csv").is_file()
    alone = [row.model_copy(update={"method": "full"}) for row in crossed_rows if row.method == "full@one"]
    single = Experiment(experiment="tiny", lists=("tiny",), methods=("full",), judges=("tiny",))
    gather(single, alone)
    assert not list(tables.glob("priors.*")) and "prior" not in pd.read_csv(tables / "clip_r.csv").columns


def test_the_section_shows_grid_sheet_and_style(gather, crossed, crossed_rows, tmp_path):
    section = prior_section(crossed_rows, crossed.priors, "tiny", tmp_path, gather())
    assert (section.priors, section.once) == (["one", "two"], ["template"])
    full, bare = section.grid
    assert (full.method, bare.method) == ("full", "no_shading_cue")
    one, two = full.cells
    assert (one.texture, one.geometry, one.seconds, one.memory) == (
        "100 % (51–100)",
        "100 % (51–100)",
        "1.5 s",
        "512 MB",
    )
    assert (one.failed, two.failed) == ("", "1 of 4") and two.texture.startswith("75 %")
    assert [entry.prompt for entry in section.sheet] == list(PROMPTS.values())
    last = section.sheet[-1].lines[0].pictures
    assert last[0].uri and (last[1].uri, last[1].status) == (None, "diverged")
    assert section.styles[0].prompts == "3 of 4" and " to " in section.styles[0].agreement


def test_the_report_has_one_section_on_priors(page):
    assert 'href="#priors"' in page and page.count('<section id="priors">') == 1
    assert "diffusion priors <b>one, two</b>" in page and "<b>3</b>methods" in page and "<b>2</b>priors" in page
    assert "<b>template</b> uses none" in page and "1 of 4 failed" in page and "3 of 4" in page
    settings = page.partition('<section id="hyperparameters">')[2]
    names = "".join(f'<th scope="col">{name}</th>' for name in ("full", "no_shading_cue", "template"))
    assert names in settings and "full@one" not in settings
    assert '<td>16</td><td class="changed">32</td>' in settings
    texture = page.partition("Texture track")[2].partition("</summary>")[0]
    assert texture.count("<code>") == 3 and "(one), " in texture and "(two)" in texture


def test_plots_give_a_method_one_colour_and_each_prior_a_line():
    assert [colour_of(name, RUNS) for name in RUNS] == [PALETTE[0], PALETTE[0], PALETTE[1], PALETTE[1], PALETTE[2]]
    lines = [line_style(name, RUNS) for name in RUNS]
    assert len({(line["color"], str(line["ls"])) for line in lines}) == 5
    assert lines[0]["ls"] == lines[2]["ls"] != lines[1]["ls"] == lines[3]["ls"]


def test_two_prompts_have_no_interval_in_the_section(gather, crossed, crossed_rows, tmp_path):
    few = [row for row in crossed_rows if row.item in "ab"]
    section = prior_section(few, crossed.priors, "tiny", tmp_path, gather(rows=few))
    assert all("(" not in line.agreement and "(" not in line.style for line in section.styles)
