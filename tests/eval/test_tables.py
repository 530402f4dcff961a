"""Tables as files."""

import numpy as np
import pandas as pd

from eval.tables import read_table, to_latex, write_table


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
