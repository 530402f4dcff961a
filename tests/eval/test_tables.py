"""Tables as files."""

import csv

import numpy as np
import pandas as pd

from eval.tables import FOOTNOTE, numeric_columns, read_table, rounded, to_latex, write_table


def test_an_id_that_looks_like_a_number_stays_text(tmp_path):
    write_table(pd.DataFrame({"item": ["001", "002"], "rank": [1, 2]}), tmp_path, "records")
    table = read_table(tmp_path, "records")
    assert table["item"].tolist() == ["001", "002"] and table["rank"].sum() == 3


def test_tables_escape_for_markdown_and_latex(tmp_path):
    table = pd.DataFrame({"prompt": ["100% | a_b & c", "NA"], "r_at_1": [0.5, np.nan], "n": [3, 4]})
    write_table(table, tmp_path, "odd")
    assert "100% \\| a_b & c" in (tmp_path / "odd.md").read_text()
    latex = (tmp_path / "odd.tex").read_text()
    assert r"100\% | a\_b \& c" in latex and r"r\_at\_1" in latex and "0.500" in latex and "–" in latex
    pd.testing.assert_frame_equal(read_table(tmp_path, "odd"), table)
    assert to_latex(pd.DataFrame({"a": []}), []).startswith("\\begin{tabular}{l}")


def test_p_values_at_their_floor_are_bounds(tmp_path):
    table = pd.DataFrame({"p": [0.0001, 0.03, 1e-6], "q": [0.0004, 0.04, 2e-5], "p_at_floor": [True, False, False]})
    assert rounded(table).values.tolist() == [["≤ 0.0001", "≤ 0.0004"], ["0.0300", "0.0400"], ["≤ 0.0001", "≤ 0.0001"]]
    write_table(table, tmp_path, "paired")
    pd.testing.assert_frame_equal(read_table(tmp_path, "paired"), table)
    assert r"$\leq$ 0.0004" in (tmp_path / "paired.tex").read_text()


def test_inverted_judges_are_marked_with_a_footnote(tmp_path):
    table = pd.DataFrame(
        {"judge": ["a", "b"], "other": ["b", "c"]}
        | {"ceiling_inverted": [False, True], "other_ceiling_inverted": [True, False]}
    )
    assert rounded(table).values.tolist() == [["a", "b †"], ["b †", "c"]]
    assert numeric_columns(table) == []
    write_table(table, tmp_path, "judges")
    assert FOOTNOTE in (tmp_path / "judges.md").read_text() and FOOTNOTE in (tmp_path / "judges.tex").read_text()
    write_table(table.assign(ceiling_inverted=False, other_ceiling_inverted=False), tmp_path, "judges")
    assert "†" not in (tmp_path / "judges.md").read_text() + (tmp_path / "judges.tex").read_text()
    assert read_table(tmp_path, "judges")["ceiling_inverted"].tolist() == [False, False]


def test_no_cell_is_a_formula_to_a_spreadsheet(tmp_path):
    """What scripts read is what was written, also of texts that begin as the mark does."""
    texts = ['=HYPERLINK("http://x","y")', "@SUM(A1)", "-man", "+1", "-0.5", "\t=1", "'=x", "'", "a=b", "＝1", ""]
    table = pd.DataFrame({"prompt": texts, "margin": [-0.5] * len(texts)})
    write_table(table, tmp_path, "records")
    with (tmp_path / "records.csv").open(newline="") as file:
        cells = [row["prompt"] for row in csv.DictReader(file)]
    assert [cell[:2] for cell in cells] == ["'=", "'@", "'-", "+1", "-0", "'\t", "''", "'", "a=", "'＝", ""]
    assert read_table(tmp_path, "records")["prompt"].tolist() == texts
    assert read_table(tmp_path, "records")["margin"].tolist() == table["margin"].tolist()
