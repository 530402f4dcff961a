"""The report's section on diagnostics."""

from dataclasses import replace

import pytest
from PIL import Image

from avatargen.config.plugins import DIAGNOSTICS
from eval.diagnostics.files import Found, Products, write_found
from eval.embed_captions import embed_captions
from eval.embeddings import load_embeddings
from eval.measures import collect_measures
from eval.measures_section import Cell, measure_section
from eval.pools import build_pools
from eval.report import write_report
from eval.tables import write_table
from tests.eval.test_report import inputs  # noqa: F401


@pytest.fixture
def measured(rows, tables, judge, tmp_path, monkeypatch):
    """The folder of tables of a run with a diagnostic that raised an error on one avatar."""
    monkeypatch.setitem(DIAGNOSTICS, "small", DIAGNOSTICS["robustness"])
    for row in rows:
        if row.status != "ok":
            continue
        found = Found(
            [("", "size_mm", 2.5), ("", "faces", 1234.6), ("open", "stretch", 1.25), ("shut", "stretch", 1.0)]
        )
        found = replace(found, shown=[("open", 8), ("shut", 8)])
        if (row.method, row.item) == ("template", "b"):
            found = Found(error="ValueError: no <ears>")
        views = load_embeddings(tmp_path / row.folder, "tiny").kinds["texture"]
        embeddings = {} if found.error else {"tiny": views.repeat(2, axis=0)}
        products = Products({"swatch": Image.new("RGB", (2000, 10), "red")}, embeddings)
        write_found(tmp_path / row.folder, "small", "f", found, products, 0.1)
    pools = build_pools(rows)
    captions = {judge.name: embed_captions(judge, pools, [row.prompt for row in rows])}
    for name, table in collect_measures(rows, ["small"], pools, captions, tmp_path, {}).items():
        write_table(table, tables, name)
    return tables


def test_conditions_are_rows_and_methods_columns(rows, measured, tmp_path):
    section = measure_section(rows, ["small"], tmp_path, measured)
    (card,) = section.cards
    titles = [grid.title for grid in card.grids]
    assert titles == ["", "Stretch", "R@1, %, judge tiny", "Margin, judge tiny", "CLIP score, judge tiny"]
    plain, stretch, rate, *_ = card.grids
    assert plain.columns == ["Size, mm", "Faces"] and plain.lines[0] == ("full", [Cell("2.50"), Cell("1235")])
    assert stretch.first == "condition" and stretch.columns == ["full", "template"]
    assert stretch.lines == [("open", [Cell("1.25")] * 2), ("shut", [Cell("1.00")] * 2)]
    assert rate.lines[0][1][0] == Cell("75", "30 to 95")
    assert section.subset == ""


def test_pictures_of_the_first_prompts_are_shown(rows, measured, tmp_path):
    (card,) = measure_section(rows, ["small"], tmp_path, measured).cards
    assert len(card.pictures) == 4 and card.pictures[0].caption.startswith("full: ")
    assert all(picture.uri.startswith("data:image/webp;base64,") for picture in card.pictures)


def test_page_shows_the_section_and_escapes_what_is_foreign(rows, measured, inputs, tmp_path):  # noqa: F811
    experiment = inputs.experiment.model_copy(update={"diagnose": ("small",)})
    page = write_report(tmp_path / "report/index.html", replace(inputs, experiment=experiment)).read_text()
    assert '<section id="diagnostics">' in page and 'href="#diagnostics"' in page
    assert "no &lt;ears&gt;" in page and "<ears>" not in page and "<script>alert" not in page


def test_page_of_a_run_without_diagnostics_has_no_section(inputs):  # noqa: F811
    page = write_report(inputs.root / "report/index.html", inputs).read_text()
    assert "diagnostics" not in page.partition("</style>")[2]
