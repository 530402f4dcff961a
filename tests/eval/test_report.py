"""Plots and the report."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from avatargen.config.settings import MethodSettings
from eval.glossary import term_of
from eval.plots import write_plots
from eval.questions.base import Answer, AnswerTable, Statement
from eval.questions.files import write_answer
from eval.report import TABLES, ReportInputs, write_report
from eval.results_file import ResultsFile
from eval.tables import MARKS, read_table
from eval.versions import versions

NAMES = {"clip_r", "ranks", "convergence", "truth", "cost"}


@pytest.fixture
def inputs(tables, experiment, prior_settings, rows, tmp_path) -> ReportInputs:
    write_plots(tables, tmp_path / "plots")
    return ReportInputs(
        experiment=experiment,
        rows=rows,
        methods={"full": MethodSettings(), "template": MethodSettings(source="template")},
        priors={"mini": prior_settings},
        root=tmp_path,
        tables=tables,
        plots=tmp_path / "plots",
        reasons={"full": "everything"},
        versions={"torch": "<2>"},
        run_priors={"full": prior_settings, "template": prior_settings.model_copy(update={"guidance": 6.5})},
    )


def page_of(inputs: ReportInputs) -> str:
    return write_report(inputs.root / "report" / "index.html", inputs).read_text(encoding="utf-8")


def test_plots_are_drawn_and_repeat(tables, tmp_path):
    plots = tmp_path / "plots"
    assert set(write_plots(tables, plots)) == NAMES
    for name in NAMES:
        assert (plots / f"{name}.png").stat().st_size > 5000
        assert "<path" in (plots / f"{name}.svg").read_text()
    first = (plots / "clip_r.svg").read_bytes()
    write_plots(tables, plots)
    assert (plots / "clip_r.svg").read_bytes() == first


def test_plots_of_earlier_tables_are_removed(tables, tmp_path):
    plots = tmp_path / "plots"
    write_plots(tables, plots)
    pd.read_csv(tables / "truth_records.csv").iloc[:0].to_csv(tables / "truth_records.csv", index=False)
    assert "truth" not in write_plots(tables, plots)
    assert not list(plots.glob("truth.*")) and (plots / "clip_r.png").is_file()


def test_curves_of_one_step_are_not_drawn(tables, tmp_path):
    """Each measure may have one step although the steps of all measures differ."""
    curves = pd.read_csv(tables / "convergence.csv")
    first = curves.groupby(["method", "measure"], as_index=False).first()
    first["step"] = range(len(first))
    first.to_csv(tables / "convergence.csv", index=False)
    assert "convergence" not in write_plots(tables, tmp_path / "plots")


def test_the_report_escapes_text_from_outside(inputs):
    page = page_of(inputs)
    assert "<script>alert" not in page and "<b>boom" not in page and "<2>" not in page
    assert "a &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; man &amp; &#34;wife&#34;" in page


class Page(HTMLParser):
    """What the tests ask about a page: addresses, places, scripts, tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses, self.ids, self.tables, self.headers = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        self.ids += [facts["id"]] if "id" in facts else []
        self.addresses += [facts[name] for name in ("src", "href") if name in facts]
        if tag == "table":
            self.tables.append(0)
        elif tag == "caption":
            self.tables[-1] += 1
        elif tag == "th":
            self.headers.append(facts.get("scope"))


def test_all_addresses_are_in_the_page_or_beside_it(inputs):
    page = Page(page_of(inputs))
    assert sum(address.startswith("data:image/svg+xml;base64,") for address in page.addresses) == len(NAMES)
    assert len(page.ids) == len(set(page.ids))
    links = [address for address in page.addresses if not address.startswith("data:")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(page.ids)
    files = [link for link in links if not link.startswith("#")]
    assert "../tables/records.csv" in files
    assert all((inputs.root / "report" / unquote(file)).is_file() for file in files)


def test_tables_have_captions_and_headers_have_scopes(inputs):
    page = Page(page_of(inputs))
    assert len(page.tables) > 8 and set(page.tables) == {1}
    assert set(page.headers) == {"row", "col"}


def test_the_report_shows_scores_and_settings(inputs):
    page = page_of(inputs)
    assert "Failure signatures" in page and '<span class="soft">flicker</span>' in page
    assert 'class="tip">texture #5<span class="bubble">taken for: head b</span></button>' in page
    assert "everything" in page and "borrowed" in page and "phase1_steps" in page
    assert re.search(r"prior\.guidance</code>.*6\.5", page) and "prior.weighting" not in page


def test_every_column_is_defined_where_it_is_used_first(inputs):
    page = page_of(inputs)
    for name in TABLES:
        table = read_table(inputs.tables, name)
        columns = [] if table.empty else [column for column in table.columns if column not in MARKS]
        assert {column for column in columns if term_of(column) is None} == set()
    places = re.findall(r'<dt id="(term-\w+)"', page)
    assert len(places) == len(set(places)) > 40
    assert (
        page.index('id="term-margin"') < page.index('<section id="gallery">') < page.index('id="term-geometry_mm_p95"')
    )


def test_the_top_says_what_was_found_and_by_whom(inputs):
    inputs = replace(inputs, judges={"tiny": "a/model"}, judge_reasons={"tiny": "a small judge"})
    top = page_of(inputs).partition('<section id="overview">')[2].partition("</section>")[0]
    assert "recognised in colour" in top and "of 4 avatars of full first among" in top and "Guessing reaches" in top
    assert "from the ground truth" in top and "which knows no prompt, is 3.0 mm away" in top
    assert "a small judge" in top and "<code>a/model</code>" in top


def test_the_report_says_how_to_make_it_again(inputs):
    page = page_of(inputs)
    assert "@article{bergman2023articulated" in page and "Resolved configuration" not in page
    facts = {
        "schema": 1,
        "experiment": "tiny",
        "results": [],
        "protocols": {},
        "versions": {},
        "hardware": {"cpu": "a chip"},
    }
    config = {"hash": "abc", "command": "snakemake --cores 2", "experiment": {"limit": 2}, "runs": {}, "judges": {}}
    time = {"made": "2026-01-01", "seconds_per_avatar": None, "seconds_total": None, "methods": []}
    made = {
        "method": "full",
        "n": 3,
        "batch_size": 6,
        "number_format": "bfloat16",
        "threads": 1,
        "torch": "2",
        "cpu": "a chip",
    }
    optimisation = [{**made, "cores": 2, "gpu": None}]
    judging = {"number_format": None, "noise_draws": None}
    results = ResultsFile.model_validate(
        {**facts, "config": config, "optimisation": optimisation, "judging": judging, "time": time}
    )
    page = page_of(replace(inputs, results=results))
    assert "snakemake --cores 2" in page and "limit: 2" in page and "configuration abc" in page
    assert "full, 3 made on</th>" in page and "a chip, 2 cores, 1 threads, batches of 6, bfloat16" in page


def test_the_answer_comes_first(inputs, tmp_path):
    """Statements with verdicts, plots, tables and pictures; text from outside is escaped."""
    figure = Figure()
    figure.subplots().plot([1, 2])
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    statements = (
        Statement("a <b>statement</b>", "1 mm, 2 mm", 8, 7, -1.0, -2.0, -0.5, 0.0078, 0.0078),
        Statement("another", "not measured"),
    )
    tables = (AnswerTable("Two numbers", "One each.", pd.DataFrame({"method": ["full"], "seconds": [1.25]})),)
    pictures = {Path("picture.png"): "a face", Path("missing.png"): "none"}
    found = Answer("Why?", "Because.", statements, tables, {"line": (figure, "a line")}, pictures)
    write_answer(found, inputs.tables, inputs.plots)
    page = page_of(replace(inputs, experiment=inputs.experiment.model_copy(update={"question": "cost"})))
    assert page.index('<section id="answer">') < page.index('<section id="results">')
    assert "<h2>Why?</h2>" in page and "a &lt;b&gt;statement&lt;/b&gt;" in page
    assert '<span class="verdict holds">holds</span>' in page and '<span class="verdict untestable">' in page
    assert "8 (7)" in page and "answer_two_numbers.csv" in page and "1.2</td>" in page
    assert 'alt="a line"' in page and 'alt="a face"' in page and 'alt="none"' not in page
    assert 'id="answer"' not in page_of(inputs)


def test_files_of_an_earlier_answer_are_removed(inputs):
    figure = Figure()
    first = Answer("Q", "A", (), (AnswerTable("One", "", pd.DataFrame({"n": [1]})),), {"line": (figure, "")})
    write_answer(first, inputs.tables, inputs.plots)
    assert (inputs.tables / "answer_one.csv").is_file() and (inputs.plots / "answer_line.svg").is_file()
    write_answer(Answer("Q", "B"), inputs.tables, inputs.plots)
    left = [*inputs.tables.glob("answer*"), *inputs.plots.glob("answer*")]
    assert sorted(file.name for file in left) == ["answer.json", "answers.csv", "answers.md", "answers.tex"]


def test_the_gallery_tells_failures_from_prompts_left_out(inputs):
    failed, unasked = '<div class="none">error: &lt;b&gt;boom', '<div class="none blank">not asked for</div>'
    page = page_of(inputs)
    assert failed in page and unasked not in page
    page = page_of(replace(inputs, rows=[r for r in inputs.rows if (r.method, r.item) != ("template", "c")]))
    assert failed in page and page.count(unasked) == 1


def test_the_report_names_a_guide_that_is_left_out(inputs):
    assert "left out" not in page_of(inputs)
    page = page_of(replace(inputs, guides={"full": ["one"], "template": []}))
    assert (
        "<b>full</b> is guided by <b>one</b>, so it is left out as its judge." in page and page.count("guided by") == 1
    )


def test_the_report_marks_judges_whose_ceiling_is_inverted(inputs, tables):
    assert "†" not in page_of(inputs)
    table = pd.read_csv(tables / "clip_r.csv")
    table.assign(ceiling_inverted=table["track"] == "texture").to_csv(tables / "clip_r.csv", index=False)
    page = page_of(inputs)
    assert page.count('<span class="tag">judge tiny †</span>') == page.count('<span class="tag">judge tiny</span>') == 1
    assert page.count("† This judge finds fewer of the ground-truth heads") == 2  # beside the judges, and the scores


def test_the_report_shows_corrected_and_least_p(inputs, tables):
    paired = pd.read_csv(tables / "paired.csv")
    paired.loc[0, ["p", "q", "p_at_floor"]] = [0.0001, 0.0007, True]
    paired.to_csv(tables / "paired.csv", index=False)
    page = page_of(inputs)
    assert '<td class="r">≤ 0.0001</td>' in page and '<td class="r">≤ 0.0007</td>' in page
    assert '<a href="#term-least_p">least p</a>' in page and "p_at_floor" not in page.partition('id="tables"')[2]


def test_the_report_marks_truncated_texts(run_collect, inputs):
    long = "a head of " + "many " * 80 + "words"
    run_collect(negatives=["short", long])
    rows = [r.model_copy(update={"truncated_by": ("prior <x>",)}) if r.item == "b" else r for r in inputs.rows]
    page = page_of(replace(inputs, rows=rows))
    assert page.count('<p class="truncated">') == 1 and "prior &lt;x&gt; truncates <b>1 of 4</b> prompts, " in page
    assert "judge &#39;tiny&#39; truncates <b>1 of 6</b> captions of the texture pool" in page
    assert page.count('prompt truncated<span class="bubble">prior &lt;x&gt; read only its beginning</span>') == 2
    assert page.count(f'<li class="truncated"><bdi>{long}</bdi> (truncated by the judge)</li>') == 1
    assert "<li><bdi>short</bdi></li>" in page


def test_versions_name_code_packages_and_machine():
    assert {"code", "python", "torch", "snakemake", "machine"} <= versions().keys()
